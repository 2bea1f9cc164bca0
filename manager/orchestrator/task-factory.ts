/** New tasks, from a service's present words and the cluster's. */
import type { TaskId } from '../../common/model/ids.ts';
import { UNSTAMPED } from '../../common/model/objects.ts';
import { plainEndpointOf } from '../../common/model/plain-endpoint.ts';
import type { LogDriver, Service } from '../../common/model/service.ts';
import type { Task } from '../../common/model/task.ts';
import type { DesiredState } from '../../common/model/task-state.ts';
import type { SeatPlace } from './world.ts';

export interface NewTaskDefaults {
  /** wall clock */
  readonly nowMs: number;
  /** of tasks whose service names none; null = their node's */
  readonly logDriver: LogDriver | null;
}

/**
 * It waits for the allocator (`new`), or, when its service needs nothing of that, for the scheduler (`pending`):
 * docs/decisions/0215.
 */
export function newTask(
  taskId: TaskId,
  service: Service,
  place: SeatPlace,
  desiredState: DesiredState,
  { nowMs, logDriver }: NewTaskDefaults,
): Task {
  const endpoint = plainEndpointOf(service.spec);
  return {
    id: taskId,
    meta: UNSTAMPED,
    serviceId: service.id,
    slot: place.slot,
    nodeId: place.nodeId,
    spec: service.spec.task,
    specVersion: service.specVersion,
    serviceAnnotations: { name: service.spec.name, labels: service.spec.labels },
    status: {
      state: endpoint ? 'pending' : 'new',
      timestampMs: nowMs,
      message: endpoint ? 'pending task scheduling' : 'created',
      err: '',
      container: null,
      hostPorts: [],
      localAddresses: [],
      appliedAtMs: 0,
    },
    desiredState,
    networks: [],
    endpoint,
    logDriver: service.spec.task.logDriver ?? logDriver,
    assignedGenericResources: [],
    jobIteration: service.jobStatus?.iteration ?? null,
    moving: null,
    hasForerunnersPlace: false,
  };
}

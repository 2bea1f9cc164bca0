/** A running task as a busy cluster has them; encoded it is about a kilobyte. */
import type { NodeId, ServiceId, TaskId } from '../../common/model/ids.ts';
import { UNSTAMPED } from '../../common/model/objects.ts';
import { ANYWHERE, NO_RESOURCES } from '../../common/model/service.ts';
import type { Task } from '../../common/model/task.ts';
import { aContainerSpec } from '../../test/support/builders.ts';

const TASKS_PER_SERVICE = 100;
const NODES = 1_000;

export function benchTask(number: number): Task {
  const service = Math.floor(number / TASKS_PER_SERVICE);
  const name = `team-${service % 20}_service-${service}`;
  const env = Array.from({ length: 12 }, (_, i) => `SETTING_${i}=value of setting ${i} of ${name}`);
  const labels = { 'com.example.team': `team-${service % 20}`, 'com.example.stack': 'shop' };
  return {
    id: benchTaskId(number),
    meta: UNSTAMPED,
    serviceId: id<ServiceId>('s', service),
    slot: (number % TASKS_PER_SERVICE) + 1,
    nodeId: id<NodeId>('n', number % NODES),
    spec: {
      container: aContainerSpec({
        image: `registry.example.com/shop/${name}:1.27.3`,
        labels,
        args: ['--listen', '0.0.0.0:8080', '--log-level', 'info'],
        env,
        workdir: '/srv',
        user: '1000:1000',
        readOnly: true,
        init: true,
        stopSignal: 'SIGTERM',
        stopGracePeriodNanos: 10e9,
      }),
      resources: NO_RESOURCES,
      restart: null,
      placement: ANYWHERE,
      networks: [],
      logDriver: null,
      forceUpdate: 0,
      runtime: 'container',
    },
    specVersion: 1,
    serviceAnnotations: { name, labels },
    status: {
      state: 'running',
      timestampMs: 1_700_000_000_000 + number,
      message: 'started',
      err: '',
      container: null,
      hostPorts: [],
      localAddresses: [],
      appliedAtMs: 1_700_000_000_000 + number,
    },
    desiredState: 'running',
    networks: [],
    endpoint: null,
    logDriver: null,
    assignedGenericResources: [],
    jobIteration: null,
    moving: null,
    hasForerunnersPlace: false,
  };
}

export function benchTaskId(number: number): TaskId {
  return id<TaskId>('t', number);
}

function id<T extends string>(letter: string, number: number): T {
  return `${letter}${String(number).padStart(24, '0')}` as T;
}

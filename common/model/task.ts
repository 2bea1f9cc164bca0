/** Task: one run of a service's container in a slot (or on a node). Ends once, never runs again. */
import type { NetworkId, NodeId, ServiceId, TaskId } from './ids.ts';
import type { Annotations, Meta } from './objects.ts';
import type { Endpoint, GenericResource, LogDriver, PortConfig, TaskSpec } from './service.ts';
import type { DesiredState, TaskState } from './task-state.ts';

/** A task's seat in one network. Written by the allocator. */
export interface NetworkAttachment {
  readonly networkId: NetworkId;
  /** CIDR notation, e.g. `10.0.1.5/24`; the first is the IPv4 one; empty = the node gives one */
  readonly addresses: readonly string[];
  readonly aliases: readonly string[];
}

/** What a node gave the task in a network whose links each node makes itself. */
export interface LocalAddress {
  readonly networkId: NetworkId;
  /** CIDR notation */
  readonly address: string;
}

export interface ContainerStatus {
  readonly containerId: string;
  /** host pid of the container's init; 0 when it has ended */
  readonly pid: number;
  readonly exitCode: number;
  readonly oomKilled: boolean;
}

export interface TaskStatus {
  readonly state: TaskState;
  /** when the state was observed, by the clock of whoever wrote it */
  readonly timestampMs: number;
  readonly message: string;
  /** empty = no error */
  readonly err: string;
  readonly container: ContainerStatus | null;
  /** host-mode ports as bound */
  readonly hostPorts: readonly PortConfig[];
  /** of its seats that the allocator gave no address, while it has them */
  readonly localAddresses: readonly LocalAddress[];
  /** manager's clock when the dispatcher stored it; 0 = not from an agent */
  readonly appliedAtMs: number;
}

export interface Task {
  readonly id: TaskId;
  readonly meta: Meta;
  readonly serviceId: ServiceId;
  /** 1.. for replicated services, 0.. for replicated jobs; null for global services and jobs */
  readonly slot: number | null;
  /** null until scheduled; set at creation for global services and jobs */
  readonly nodeId: NodeId | null;
  /** copies of the service's words at creation */
  readonly spec: TaskSpec;
  readonly specVersion: number;
  readonly serviceAnnotations: Annotations;
  readonly status: TaskStatus;
  readonly desiredState: DesiredState;
  readonly networks: readonly NetworkAttachment[];
  /** the service's endpoint at allocation: its VIPs and ports; null until allocated */
  readonly endpoint: Endpoint | null;
  readonly logDriver: LogDriver | null;
  readonly assignedGenericResources: readonly GenericResource[];
  readonly jobIteration: number | null;
  /** somebody wants it elsewhere: a task takes its place on another node, in this order; null = it stays */
  readonly moving: MoveOrder | null;
  /** its room on its node is that of others of its seat: it does not run before they have ended, whatever the order in force */
  readonly hasForerunnersPlace: boolean;
}

export type MoveOrder = 'start-first' | 'stop-first';

/** What changes in the life of a task. */
type TaskChanges = Partial<
  Pick<
    Task,
    | 'meta'
    | 'nodeId'
    | 'status'
    | 'desiredState'
    | 'networks'
    | 'endpoint'
    | 'assignedGenericResources'
    | 'moving'
    | 'hasForerunnersPlace'
  >
>;

/**
 * A copy of `task` with some fields changed. By name and not by spreading: V8 copies a frozen object
 * several times slower, and into several times the memory, than it fills one whose fields it sees.
 */
export function taskWith(task: Task, changes: TaskChanges): Task {
  const { nodeId, endpoint, moving } = changes;
  return {
    id: task.id,
    meta: changes.meta ?? task.meta,
    serviceId: task.serviceId,
    slot: task.slot,
    nodeId: nodeId === undefined ? task.nodeId : nodeId,
    spec: task.spec,
    specVersion: task.specVersion,
    serviceAnnotations: task.serviceAnnotations,
    status: changes.status ?? task.status,
    desiredState: changes.desiredState ?? task.desiredState,
    networks: changes.networks ?? task.networks,
    endpoint: endpoint === undefined ? task.endpoint : endpoint,
    logDriver: task.logDriver,
    assignedGenericResources: changes.assignedGenericResources ?? task.assignedGenericResources,
    jobIteration: task.jobIteration,
    moving: moving === undefined ? task.moving : moving,
    hasForerunnersPlace: changes.hasForerunnersPlace ?? task.hasForerunnersPlace,
  };
}

/** `service.slot.taskId`, or `service.nodeId.taskId` where there is no slot: also the container's name. */
export function taskName(
  task: Pick<Task, 'id' | 'slot' | 'nodeId' | 'serviceAnnotations'>,
): string {
  const seat = task.slot ?? task.nodeId ?? '';
  return `${task.serviceAnnotations.name}.${seat}.${task.id}`;
}

/** CIDR notation; of the allocator, or else what the node gave; empty = none yet */
export function addressesIn(
  { networks, status }: Pick<Task, 'networks' | 'status'>,
  networkId: NetworkId,
): readonly string[] {
  const given = networks.find((one) => one.networkId === networkId)?.addresses ?? [];
  if (given.length > 0) return given;
  return status.localAddresses
    .filter((one) => one.networkId === networkId)
    .map(({ address }) => address);
}

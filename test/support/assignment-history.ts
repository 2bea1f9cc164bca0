/** Random histories of everything that assignment sets are made of, over a few objects of each kind. */
import fc from 'fast-check';
import type { AssignmentChange } from '../../common/model/assignment.ts';
import type { ConfigId, NetworkId, NodeId, SecretId, ServiceId } from '../../common/model/ids.ts';
import type { Node } from '../../common/model/node.ts';
import type { Task } from '../../common/model/task.ts';
import { TASK_STATES, type TaskState } from '../../common/model/task-state.ts';
import type { TaskChange } from '../../manager/dispatcher/node-assignments.ts';
import type { StoreChange, WriteTx } from '../../manager/store/types.ts';
import {
  aCluster,
  aConfig,
  aContainerAttachment,
  aContainerSpec,
  aNetwork,
  aNetworkSpec,
  aNetworkTarget,
  aNode,
  aNodeDescription,
  aPort,
  aSecret,
  aService,
  aServiceSpec,
  aTask,
  aTaskSpec,
  aTaskStatus,
  idOf,
  NO_PORTS,
} from './builders.ts';
import type { TestStore } from './store.ts';

const label =
  <T extends string>(word: string) =>
  (i: number): T =>
    idOf(`${word}${i}`) as unknown as T;
export const nodeIds = [0, 1, 2].map(label<NodeId>('nod'));
/** the last is the ingress network */
export const networkIds = [0, 1, 2].map(label<NetworkId>('net'));
const serviceIds = [0, 1, 2].map(label<ServiceId>('svc'));
const taskIds = [0, 1, 2, 3, 4].map(label<Task['id']>('tsk'));
const secretIds = [0, 1].map(label<SecretId>('sec'));
const configIds = [0, 1].map(label<ConfigId>('cfg'));
const publishedPorts = [8080, 8081];

export type Op =
  | {
      readonly op: 'task';
      readonly id: Task['id'];
      readonly serviceId: ServiceId;
      readonly nodeId: NodeId | null;
      readonly state: TaskState;
      readonly desiredState: Task['desiredState'];
      readonly networks: readonly NetworkId[];
      readonly secrets: readonly SecretId[];
      readonly configs: readonly ConfigId[];
    }
  /** of a task that is there: its status alone changes */
  | { readonly op: 'report'; readonly id: Task['id']; readonly state: TaskState }
  | {
      readonly op: 'service';
      readonly id: ServiceId;
      readonly networks: readonly NetworkId[];
      readonly vips: boolean;
    }
  /** the port goes to this service from whoever had it */
  | { readonly op: 'port'; readonly port: number; readonly owner: ServiceId | null }
  | {
      readonly op: 'node';
      readonly id: NodeId;
      readonly address: string | null;
      readonly state: Node['status']['state'];
      readonly attachments: readonly NetworkId[];
      /** with a container outside of services in them */
      readonly containers: readonly NetworkId[];
      readonly areAllocated: boolean;
    }
  | { readonly op: 'network'; readonly id: NetworkId; readonly vxlanId: number | null }
  | { readonly op: 'remove'; readonly kind: 'task' | 'service' | 'node' | 'network'; id: string };

const some = <T>(items: readonly T[]) => fc.subarray([...items]);
const oneOf = <T>(items: readonly T[]) => fc.constantFrom(...items);

const op: fc.Arbitrary<Op> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      op: fc.constant('task' as const),
      id: oneOf(taskIds),
      serviceId: oneOf(serviceIds),
      nodeId: fc.option(oneOf(nodeIds), { nil: null, freq: 6 }),
      state: oneOf<TaskState>(['running', 'running', 'running', ...TASK_STATES]),
      desiredState: oneOf(['running', 'running', 'shutdown', 'complete'] as const),
      networks: some(networkIds),
      secrets: some(secretIds),
      configs: some(configIds),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      op: fc.constant('report' as const),
      id: oneOf(taskIds),
      state: oneOf<TaskState>(['running', 'complete', ...TASK_STATES]),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      op: fc.constant('service' as const),
      id: oneOf(serviceIds),
      networks: some(networkIds),
      vips: fc.boolean(),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      op: fc.constant('port' as const),
      port: oneOf(publishedPorts),
      owner: fc.option(oneOf(serviceIds), { nil: null }),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      op: fc.constant('node' as const),
      id: oneOf(nodeIds),
      address: oneOf(['192.0.2.1:2377', '192.0.2.2:2377', null]),
      state: oneOf(['ready', 'down', 'unknown'] as const),
      attachments: some(networkIds),
      containers: some(networkIds),
      areAllocated: fc.boolean(),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      op: fc.constant('network' as const),
      id: oneOf(networkIds),
      vxlanId: oneOf([4096, 4097, null]),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.oneof(
      ...(
        [
          ['task', taskIds],
          ['service', serviceIds],
          ['node', nodeIds],
          ['network', networkIds],
        ] as const
      ).map(([kind, ids]) =>
        fc.record({
          op: fc.constant('remove' as const),
          kind: fc.constant(kind),
          id: oneOf<string>(ids),
        }),
      ),
    ),
  },
);

/** Batches of transactions; a follower sees the store after each batch. */
export const histories: fc.Arbitrary<Op[][][]> = fc.array(
  fc.array(fc.array(op, { minLength: 1, maxLength: 4 }), { minLength: 1, maxLength: 3 }),
  { minLength: 1, maxLength: 12 },
);

/** A cluster, its secrets, configs and networks; no node, service or task yet. */
export async function setScene({ create }: TestStore): Promise<void> {
  await create('cluster', aCluster());
  await create('secret', ...secretIds.map((id) => aSecret({ id })));
  await create('config', ...configIds.map((id) => aConfig({ id })));
  await create('network', ...networkIds.map((id) => networkOf(id, 4096)));
}

function networkOf(id: NetworkId, vxlanId: number | null) {
  const ingress = id === networkIds.at(-1);
  const ipam = [{ subnet: '10.0.1.0/24', gateway: '10.0.1.1', range: '', reserved: {} }];
  return aNetwork({ id, vxlanId, ipam, spec: aNetworkSpec({ name: `name-${id}`, ingress }) });
}

/** Creates or replaces; removing what is not there does nothing, nor does a report of it. */
export function perform(tx: WriteTx, step: Op): void {
  if (step.op === 'task') put(tx, 'task', taskOf(step));
  else if (step.op === 'report') report(tx, step.id, step.state);
  else if (step.op === 'service') put(tx, 'service', serviceOf(tx, step));
  else if (step.op === 'port') movePort(tx, step.port, step.owner);
  else if (step.op === 'node') put(tx, 'node', nodeOf(step));
  else if (step.op === 'network') put(tx, 'network', networkOf(step.id, step.vxlanId));
  else if (tx.get(step.kind, step.id)) tx.remove(step.kind, step.id);
}

function put<K extends 'task' | 'service' | 'node' | 'network'>(
  tx: WriteTx,
  kind: K,
  object: Parameters<typeof tx.create<K>>[1],
): void {
  if (tx.get(kind, object.id)) tx.update(kind, object);
  else tx.create(kind, object);
}

function taskOf(step: Extract<Op, { op: 'task' }>): Task {
  const file = { name: 'f', uid: '0', gid: '0', mode: 0o444 };
  return aTask({
    id: step.id,
    serviceId: step.serviceId,
    nodeId: step.nodeId,
    status: aTaskStatus({ state: step.state }),
    desiredState: step.desiredState,
    networks: step.networks.map((networkId, i) => ({
      networkId,
      addresses: [`10.0.${i}.${10 + taskIds.indexOf(step.id)}/24`],
      aliases: [],
    })),
    spec: aTaskSpec({
      container: aContainerSpec({
        secrets: step.secrets.map((secretId) => ({ secretId, secretName: 's', file })),
        configs: step.configs.map((configId) => ({ configId, configName: 'c', file })),
      }),
    }),
  });
}

function report(tx: WriteTx, id: Task['id'], state: TaskState): void {
  const task = tx.get('task', id);
  if (task) tx.update('task', { ...task, status: aTaskStatus({ state }) });
}

function serviceOf(tx: WriteTx, step: Extract<Op, { op: 'service' }>) {
  const known = tx.get('service', step.id);
  const networks = step.networks.map((target) => aNetworkTarget({ target }));
  return aService({
    id: step.id,
    spec: aServiceSpec({ name: `name-${step.id}`, task: aTaskSpec({ networks }) }),
    endpoint: {
      spec: NO_PORTS,
      ports: known?.endpoint?.ports ?? [],
      virtualIps: step.vips
        ? step.networks.map((networkId) => ({ networkId, address: '10.0.1.2/24' }))
        : [],
    },
  });
}

function movePort(tx: WriteTx, publishedPort: number, owner: ServiceId | null): void {
  for (const service of tx.list('service')) {
    const endpoint = service.endpoint ?? { spec: NO_PORTS, ports: [], virtualIps: [] };
    const others = endpoint.ports.filter((port) => port.publishedPort !== publishedPort);
    const had = others.length < endpoint.ports.length;
    const gets = service.id === owner;
    if (had === gets) continue;
    const ports = gets ? [...others, aPort({ publishedPort })] : others;
    tx.update('service', { ...service, endpoint: { ...endpoint, ports } });
  }
}

function nodeOf(step: Extract<Op, { op: 'node' }>): Node {
  return aNode({
    id: step.id,
    description:
      step.address === null ? null : aNodeDescription({ hostname: 'h', address: step.address }),
    status: { state: step.state, message: '', address: '' },
    attachments: step.attachments.map((networkId) => ({ networkId, address: '10.0.0.3/24' })),
    containerAttachments: step.containers.map((networkId) =>
      aContainerAttachment({
        networkId,
        // A container is on one node.
        containerId: Buffer.from(step.id).toString('hex').padEnd(64, '0').slice(0, 64),
        address: step.areAllocated ? '10.0.0.9/24' : '',
      }),
    ),
  });
}

export function ofTasks(changes: readonly StoreChange[]): TaskChange[] {
  return changes.filter((change): change is TaskChange => change.kind === 'task');
}

export type ItemSet = Map<string, unknown>;

/** What a node holds after these changes. Of tasks it keeps what concerns an agent. */
export function applyTo(set: ItemSet, changes: readonly AssignmentChange[]): ItemSet {
  for (const change of changes) {
    const key = `${change.kind} ${change.key}`;
    if (change.action === 'remove') set.delete(key);
    else if (change.kind === 'task') set.set(key, { ...change.item, status: null, meta: null });
    else set.set(key, change.item);
  }
  return set;
}

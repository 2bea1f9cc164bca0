import { describe, expect, test } from 'vitest';
import type { NodeId } from '../../../common/model/ids.ts';
import type { Node } from '../../../common/model/node.ts';
import type { PlacementExplanation } from '../../../common/model/placement.ts';
import {
  ANYWHERE,
  NO_RESOURCES,
  type Placement,
  type Resources,
  type Service,
} from '../../../common/model/service.ts';
import type { Task } from '../../../common/model/task.ts';
import { PlacementExplainer } from '../../../manager/scheduler/explain-placement.ts';
import {
  aNetworkTarget,
  aNode,
  aNodeDescription,
  aNodeSpec,
  aPort,
  aService,
  aServiceSpec,
  aTaskOf,
  aTaskSpec,
  aTaskStatus,
  idOf,
} from '../../support/builders.ts';
import { makeStore } from '../../support/store.ts';

const MIB = 2 ** 20;
const GIB = 2 ** 30;

const host = (hostname: string, overrides: Partial<Node> = {}): Node =>
  aNode({
    id: idOf<NodeId>(hostname),
    description: aNodeDescription({ hostname }),
    ...overrides,
  });
const wanting = (
  reservations: Partial<Resources>,
  placement: Partial<Placement> = {},
  overrides: Partial<Service> = {},
): Service =>
  aService({
    spec: aServiceSpec({
      name: 'web',
      task: aTaskSpec({
        placement: { ...ANYWHERE, ...placement },
        resources: {
          ...NO_RESOURCES,
          reservations: { ...NO_RESOURCES.reservations, ...reservations },
        },
      }),
    }),
    ...overrides,
  });
const runningOn = (service: Service, node: Node, overrides: Partial<Task> = {}): Task =>
  aTaskOf(service, { nodeId: node.id, status: aTaskStatus({ state: 'running' }), ...overrides });

async function explain(
  service: Service,
  nodes: readonly Node[],
  tasks: readonly Task[] = [],
): Promise<PlacementExplanation> {
  const t = makeStore();
  await t.create('node', ...nodes);
  await t.create('task', ...tasks);
  return new PlacementExplainer(t).explain(service);
}

/** The only node's refusals, as `filter: detail`. */
async function said(
  service: Service,
  node: Node,
  tasks: readonly Task[] = [],
): Promise<readonly string[]> {
  const { nodes } = await explain(service, [node], tasks);
  return nodes[0]!.refusals.map(({ filter, detail }) => `${filter}: ${detail}`);
}

describe('explanation of a placement', () => {
  test('names every filter that refuses, and by how much', async () => {
    const service = wanting(
      { memoryBytes: GIB, nanoCpus: 1.5e9 },
      { constraints: ['node.labels.disk==ssd'] },
    );
    const [big, small, labelled] = [
      host('big', { spec: aNodeSpec({ labels: { disk: 'ssd' } }) }),
      host('small', {
        description: aNodeDescription({ hostname: 'small', nanoCpus: 1e9, memoryBytes: 512 * MIB }),
      }),
      host('gone', { status: { state: 'down', message: '', address: '' } }),
    ];
    const { nodes, nearest } = await explain(service, [big, small, labelled]);
    expect(nodes.map(({ hostname, refusals }) => [hostname, refusals])).toEqual([
      ['big', []],
      [
        'small',
        [
          {
            filter: 'resource',
            detail:
              'CPUs short by 0.50 (needs 1.50, 1.00 free); memory short by 512 MiB (needs 1 GiB, 512 MiB free)',
            remedy: 'reserve at most 1.00 of CPUs and 512 MiB of memory', // it will never have more
            shortBy: { NanoCPUs: 5e8, MemoryBytes: 512 * MIB },
          },
          {
            filter: 'constraint',
            detail: 'does not meet node.labels.disk==ssd (it has none)',
            remedy: 'skep node update --label-add disk=ssd small',
            shortBy: {},
          },
        ],
      ],
      [
        'gone',
        [
          {
            filter: 'ready',
            detail: 'state down, availability active',
            remedy: 'bring the node back: its state is down',
            shortBy: {},
          },
          expect.objectContaining({ filter: 'constraint' }),
        ],
      ],
    ]);
    expect(nearest).toBeNull(); // one will do as it is
  });

  test.each<[string, Service, Partial<Node>, string]>([
    [
      'availability',
      wanting({}),
      { spec: aNodeSpec({ availability: 'drain' }) },
      'ready: state ready, availability drain',
    ],
    [
      'a constraint on what the node is',
      wanting({}, { constraints: ['node.hostname==b'] }),
      {},
      'constraint: does not meet node.hostname==b (it is a)',
    ],
    [
      'a key that no node has',
      wanting({}, { constraints: ['node.colour==red'] }),
      {},
      'constraint: does not meet node.colour==red (no node has such a key)',
    ],
    [
      'platform',
      wanting({}, { platforms: [{ architecture: 'arm64', os: 'linux' }] }),
      {},
      'platform: needs linux/arm64, is linux/amd64',
    ],
    [
      'generic resources',
      wanting({ generic: [{ kind: 'gpu', value: 3 }] }),
      { description: aNodeDescription({ generic: [{ kind: 'gpu', value: 1 }] }) },
      'resource: gpu short by 2 (needs 3, 1 free)',
    ],
  ])('says what is wrong with %s', async (_, service, node, text) => {
    expect(await said(service, host('a', node))).toEqual([text]);
  });

  test('says what is wrong with ports and the limit for each node', async () => {
    const ports = [aPort({ publishMode: 'host', publishedPort: 80 })];
    const endpoint = { spec: { mode: 'vip' as const, ports }, ports, virtualIps: [] };
    const service = wanting({}, { maxReplicas: 1 }, { endpoint });
    const node = host('a');
    expect(await said(service, node, [runningOn(service, node)])).toEqual([
      'host-port: tcp/80 in use',
      'max-replicas: has 1 of 1 tasks allowed for each node',
    ]);
  });

  test('counts what other tasks hold, and the plugins of the networks', async () => {
    const service = wanting({ memoryBytes: 8 * GIB });
    const other = wanting({ memoryBytes: 512 * MIB });
    const node = host('a');
    const tasks = [runningOn(other, node)];
    expect(await said(service, node, tasks)).toEqual([
      'resource: memory short by 512 MiB (needs 8 GiB, 7.50 GiB free)',
    ]);
    expect((await explain(service, [node], tasks)).nearest?.changes).toEqual([
      'reserve at most 7.50 GiB of memory, or free 512 MiB of memory there',
    ]);
    const networks = [aNetworkTarget({ target: 'weave' })];
    const attached = aService({ spec: aServiceSpec({ task: aTaskSpec({ networks }) }) });
    expect(await said(attached, node)).toEqual([]); // the network is not known
  });

  test('the nearest change is the smallest one', async () => {
    const service = wanting({ memoryBytes: 16 * GIB }, { constraints: ['node.labels.disk==ssd'] });
    const nearly = host('nearly', {
      spec: aNodeSpec({ labels: { disk: 'ssd' } }),
      description: aNodeDescription({ hostname: 'nearly', memoryBytes: 15 * GIB }),
    });
    const dead = host('dead', {
      spec: aNodeSpec({ labels: { disk: 'ssd' } }),
      status: { state: 'down', message: '', address: '' },
      description: aNodeDescription({ hostname: 'dead', memoryBytes: 64 * GIB }),
    });
    const both = await explain(service, [host('small'), dead, nearly]);
    expect(both.nearest).toEqual({
      nodeId: nearly.id,
      hostname: 'nearly',
      changes: ['reserve at most 15 GiB of memory'],
    });
    const label = host('label', {
      description: aNodeDescription({ hostname: 'label', memoryBytes: 64 * GIB }),
    });
    const three = await explain(service, [dead, nearly, label]);
    expect(three.nearest?.changes).toEqual(['skep node update --label-add disk=ssd label']);
  });

  test('lists the tasks that wait, with their reasons, by slot', async () => {
    const service = wanting({});
    const waits = (slot: number, state: 'new' | 'pending' | 'running', err: string): Task =>
      aTaskOf(service, { slot, status: aTaskStatus({ state, err }) });
    const stopped = { ...waits(4, 'pending', 'x'), desiredState: 'shutdown' as const };
    const tasks = [waits(2, 'new', 'no address'), waits(1, 'pending', 'no node'), stopped];
    const { waiting, waitingCount } = await explain(
      service,
      [],
      [...tasks, waits(3, 'running', '')],
    );
    expect(waiting.map(({ slot, state, reason }) => [slot, state, reason])).toEqual([
      [1, 'pending', 'no node'],
      [2, 'new', 'no address'],
    ]);
    expect(waitingCount).toBe(2);
    const many = Array.from({ length: 150 }, (_, i) => waits(i + 1, 'pending', ''));
    const crowd = await explain(service, [], many);
    expect([crowd.waiting.length, crowd.waitingCount]).toEqual([100, 150]);
  });

  test('a node that has its task of a global service will do', async () => {
    const service = aService({
      spec: aServiceSpec({
        mode: { kind: 'global' },
        task: wanting({ nanoCpus: 3e9 }).spec.task,
      }),
    });
    const [served, short] = [host('served'), host('short')];
    const other = wanting({ nanoCpus: 2e9 });
    const tasks = [runningOn(service, served, { slot: null }), runningOn(other, short)];
    const { nodes } = await explain(service, [served, short], tasks);
    expect(nodes.map(({ tasks, refusals }) => [tasks, refusals.length])).toEqual([
      [1, 0],
      [0, 1],
    ]);
  });
});

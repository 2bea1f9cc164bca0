import fc from 'fast-check';
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

const UNIT_BYTES: Readonly<Record<string, number>> = {
  ...{ bytes: 1, KiB: 2 ** 10, MiB: MIB, GiB: GIB },
};

/** What a person has who did as told. */
function afterwards(
  service: Service,
  nodes: readonly Node[],
  { nodeId, changes }: NonNullable<PlacementExplanation['nearest']>,
): { readonly service: Service; readonly nodes: readonly Node[] } {
  const words = changes.join(' and ');
  const all = (pattern: RegExp): RegExpExecArray[] => [...words.matchAll(pattern)] as never;
  const dropped = all(/drop the constraint (.+?)(?= and (?:drop|skep|allow|reserve)|$)/g);
  const added = all(/--label-add (?:'([^']+)'|(\S+))/g).map(([, a, b]) => (a ?? b)!.split('='));
  const removed = all(/--label-rm (\S+)/g).map(([, label]) => label);
  const { task } = service.spec;
  const { reservations } = task.resources;
  const [, cpus] = /([\d.]+) of CPUs/.exec(words) ?? [];
  const [, memory, unit] = /([\d.]+) (\w+) of memory/.exec(words) ?? [];
  const kept = words.includes('reserve');
  const constraints = task.placement.constraints.filter(
    (text) => !dropped.some(([, gone]) => gone === text),
  );
  const maxReplicas = Number(/allow (\d+) tasks/.exec(words)?.[1] ?? task.placement.maxReplicas);
  const next = wanting(
    {
      nanoCpus: cpus ? Number(cpus) * 1e9 : /no CPUs/.test(words) ? 0 : reservations.nanoCpus,
      memoryBytes: memory
        ? Math.floor(Number(memory) * UNIT_BYTES[unit!]!)
        : kept && /no memory/.test(words)
          ? 0
          : reservations.memoryBytes,
    },
    { constraints, maxReplicas },
  );
  return {
    service: { ...service, spec: next.spec },
    nodes: nodes.map((node) => {
      if (node.id !== nodeId) return node;
      const labels = Object.fromEntries([
        ...Object.entries(node.spec.labels).filter(([label]) => !removed.includes(label)),
        ...added,
      ]);
      const isActive = words.includes('--availability active');
      const isBack = words.includes('bring the node back');
      const availability = isActive ? ('active' as const) : node.spec.availability;
      const state = isBack ? ('ready' as const) : node.status.state;
      return {
        ...node,
        spec: { ...node.spec, labels, availability },
        status: { ...node.status, state },
      };
    }),
  };
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

  test.each<[string, readonly string[], Readonly<Record<string, string>>, string]>([
    [
      'two values of one label',
      ['node.labels.a==x', 'node.labels.a==y'],
      {},
      'skep node update --label-add a=x n and drop the constraint node.labels.a==y',
    ],
    [
      'two values of one label, of which it has one',
      ['node.labels.a==x', 'node.labels.a==y'],
      { a: 'y' },
      'drop the constraint node.labels.a==x',
    ],
    [
      'a value and not that value',
      ['node.labels.a==x', 'node.labels.a!=X'],
      { a: 'x' },
      'drop the constraint node.labels.a!=X',
    ],
    [
      'two labels',
      ['node.labels.a==x', 'node.labels.b!=y'],
      { b: 'y' },
      'skep node update --label-add a=x --label-rm b n',
    ],
    [
      'a label of several words, and a name',
      ['node.labels.a==x y', 'node.hostname==other'],
      {},
      "skep node update --label-add 'a=x y' n and drop the constraint node.hostname==other",
    ],
  ])('the remedy meets all constraints at once: %s', async (_, constraints, labels, remedy) => {
    const node = host('n', { spec: aNodeSpec({ labels }) });
    const { nearest } = await explain(wanting({}, { constraints }), [node]);
    expect(nearest?.changes).toEqual([remedy]);
  });

  test.each<['vip' | 'dnsrr', string, string]>([
    ['vip', 'net', 'publish another port than tcp/80, or publish it in mode ingress'],
    ['dnsrr', 'net', 'publish another port than tcp/80'],
    ['vip', 'host', 'stop what has tcp/80 there'],
  ])(
    'the remedy for a port is one that may be asked for: %s, network %s',
    async (mode, target, remedy) => {
      const ports = [aPort({ publishMode: 'host', publishedPort: 80, targetPort: 80 })];
      const endpoint = { spec: { mode, ports }, ports, virtualIps: [] };
      const task = aTaskSpec({ networks: [aNetworkTarget({ target })] });
      const service = aService({ spec: aServiceSpec({ task }), endpoint });
      const node = host('n');
      const { nearest } = await explain(service, [node], [runningOn(service, node)]);
      expect(nearest?.changes).toEqual([remedy]);
    },
  );

  test('the nearest node will do after what is told to change, and nothing else', async () => {
    const value = fc.constantFrom('x', 'X', 'y', 'x y');
    const text = fc
      .tuple(
        fc.constantFrom('node.labels.a', 'Node.Labels.b', 'node.hostname', 'engine.labels.c'),
        fc.constantFrom('==', '!='),
        value,
      )
      .map((parts) => parts.join(''));
    const free = { nanoCpus: fc.nat(2e9), memoryBytes: fc.nat(GIB) };
    const scene = fc.record({
      constraints: fc.array(text, { maxLength: 5 }),
      reserved: fc.record(free),
      maxReplicas: fc.nat(2),
      nodes: fc.array(
        fc.record({
          labels: fc.dictionary(fc.constantFrom('a', 'b', 'c'), value),
          availability: fc.constantFrom('active', 'pause', 'drain'),
          state: fc.constantFrom('ready', 'ready', 'down'),
          free: fc.record(free),
          tasks: fc.nat(2),
        }),
        { minLength: 1, maxLength: 3 },
      ),
    });
    await fc.assert(
      fc.asyncProperty(scene, async ({ constraints, reserved, maxReplicas, nodes: drawn }) => {
        const service = wanting(reserved, { constraints, maxReplicas });
        const nodes = drawn.map(({ labels, availability, state, free }, at) =>
          host(`n${at}`, {
            spec: aNodeSpec({ labels, availability: availability as Node['spec']['availability'] }),
            status: { state: state as 'ready' | 'down', message: '', address: '' },
            description: aNodeDescription({ hostname: `n${at}`, ...free }),
          }),
        );
        const small = wanting({}).spec.task;
        const tasks = nodes.flatMap((node, at) =>
          Array.from({ length: drawn[at]!.tasks }, () => runningOn(service, node, { spec: small })),
        );
        const { nearest, nodes: verdicts } = await explain(service, nodes, tasks);
        if (verdicts.some(({ refusals }) => refusals.length === 0)) {
          expect(nearest).toBeNull();
          return;
        }
        const changed = afterwards(service, nodes, nearest!);
        const then = await explain(changed.service, changed.nodes, tasks);
        const verdict = then.nodes.find(({ nodeId }) => nodeId === nearest!.nodeId);
        expect(verdict?.refusals, nearest!.changes.join('\n')).toEqual([]);
      }),
      { numRuns: 300 },
    );
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

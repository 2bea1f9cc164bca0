/**
 * The scheduler's table, caches and heaps against a scheduler without any: it looks at every node and
 * every task for each decision, and knows the rules only from what Swarm does and control-plane.md says.
 */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { NetworkId, NodeId, ServiceId, TaskId } from '../../../common/model/ids.ts';
import type { Node } from '../../../common/model/node.ts';
import {
  ANYWHERE,
  DEFAULT_ISOLATION,
  type GenericResource,
  type Isolation,
  type Mount,
  NO_RESOURCES,
  type Platform,
} from '../../../common/model/service.ts';
import type { Task } from '../../../common/model/task.ts';
import { NodeTable } from '../../../manager/scheduler/node-table.ts';
import { type Decision, planGroup } from '../../../manager/scheduler/plan-placement.ts';
import {
  aContainerSpec,
  aNode,
  aNodeDescription,
  aNodeSpec,
  aPort,
  aTask,
  aTaskSpec,
  aTaskStatus,
  idOf,
} from '../../support/builders.ts';

const ZONES = ['', 'a', 'b'];
const RACKS = ['', '1', '2'];
const NETWORK_PLUGIN = 'weave';
/** Of the node whose hostname is `h` and this digit. */
const nodeId = (pick: number): NodeId => idOf(`n${pick}`);
const networkId = idOf<NetworkId>('net');
/** Two words for each. */
const SAME_ARCHITECTURE: Readonly<Record<string, string>> = {
  x86_64: 'amd64',
  amd64: 'x86_64',
  aarch64: 'arm64',
  arm64: 'aarch64',
};
const NOW_MS = 1_000;
const GIB = 2 ** 30;

/** A world without caches. */
class Naive {
  readonly nodes = new Map<NodeId, Node>();
  readonly placed = new Map<TaskId, Task>();
  /** failures within the window, by node and service */
  readonly failures = new Map<string, number>();

  on(nodeId: NodeId): Task[] {
    return [...this.placed.values()].filter((task) => task.nodeId === nodeId);
  }

  ofService(nodeId: NodeId, serviceId: ServiceId): number {
    return this.on(nodeId).filter((task) => task.serviceId === serviceId && wanted(task)).length;
  }

  /** Name of the first filter that refuses; null = the node will do. */
  refusal(task: Task, node: Node): string | null {
    const there = this.on(node.id);
    const { placement, resources } = task.spec;
    if (node.status.state !== 'ready' || node.spec.availability !== 'active') return 'ready';
    for (const name of ['nanoCpus', 'memoryBytes'] as const) {
      const wanted = resources.reservations[name];
      const used = there.reduce((sum, one) => sum + one.spec.resources.reservations[name], 0);
      if (wanted > 0 && used + wanted > node.description![name]) return 'resource';
    }
    for (const { kind, value } of resources.reservations.generic) {
      const used = there.flatMap((one) => one.assignedGenericResources);
      if (amount(used, kind) + Number(value) > amount(node.description!.generic, kind)) {
        return 'resource';
      }
    }
    if (!needsOf(task).every((need) => hasPlugin(node, need))) return 'plugin';
    const devices = task.spec.container.isolation?.devices ?? [];
    if (!devices.every(({ hostPath }) => hasDevice(node, hostPath))) return 'device';
    if (!placement.constraints.every((text) => isTrueOf(node, text))) return 'constraint';
    const { platforms } = placement;
    const { platform } = node.description!;
    if (platforms.length > 0 && !platforms.some((one) => isMet(one, platform))) return 'platform';
    const ports = (of: Task): number[] => (of.endpoint?.ports ?? []).map((it) => it.publishedPort);
    if (there.some((one) => ports(one).some((port) => ports(task).includes(port)))) {
      return 'host-port';
    }
    const limit = placement.maxReplicas;
    if (limit > 0 && this.ofService(node.id, task.serviceId) >= limit) return 'max-replicas';
    return null;
  }

  /** Nodes that are as good as any other that will do; of branches that tie, the best of each. */
  best(
    task: Task,
    branch: readonly Node[] = [...this.nodes.values()],
    preferences = task.spec.placement.preferences,
  ): Set<NodeId> {
    const [preference, ...deeper] = preferences;
    if (!preference) return this.#leastLoaded(task, branch);
    const label = preference.spreadOver.slice('node.labels.'.length);
    const labelOf = (node: Node): string => node.spec.labels[label] ?? '';
    const open = [...new Set(branch.map(labelOf))]
      .map((value) => branch.filter((node) => labelOf(node) === value))
      .filter((members) => members.some((node) => this.refusal(task, node) === null));
    const load = (members: readonly Node[]): number =>
      members.reduce((sum, { id }) => sum + this.ofService(id, task.serviceId), 0);
    const least = Math.min(...open.map(load));
    const chosen = open.filter((members) => load(members) === least);
    return new Set(chosen.flatMap((members) => [...this.best(task, members, deeper)]));
  }

  #leastLoaded(task: Task, branch: readonly Node[]): Set<NodeId> {
    const rank = ({ id }: Node): number[] => {
      const failed = this.failures.get(`${id} ${task.serviceId}`) ?? 0;
      const ofService = this.ofService(id, task.serviceId);
      return [failed >= 5 ? failed : 0, ofService, this.on(id).filter(wanted).length];
    };
    const order = (a: Node, b: Node): number => {
      const [left, right] = [rank(a), rank(b)];
      return left.map((value, i) => value - right[i]!).find((difference) => difference !== 0) ?? 0;
    };
    const fit = branch.filter((node) => this.refusal(task, node) === null).sort(order);
    return new Set(fit.filter((node) => order(node, fit[0]!) === 0).map(({ id }) => id));
  }

  /** Filter -> nodes that it refused first. */
  reasons(task: Task): Record<string, number> {
    const counts: Record<string, number> = {};
    for (const node of this.nodes.values()) {
      const filter = this.refusal(task, node);
      if (filter) counts[filter] = (counts[filter] ?? 0) + 1;
    }
    return counts;
  }
}

/** Of a kind that is counted, or the values of one that is named. */
function amount(resources: readonly GenericResource[], kind: string): number {
  return resources
    .filter((one) => one.kind === kind)
    .reduce((sum, { value }) => sum + (typeof value === 'number' ? value : 1), 0);
}

/** `Volume:nfs`: of its volumes, its network, its log. */
function needsOf({ spec, networks, logDriver }: Task): string[] {
  const drivers = spec.container.mounts.map(({ volume }) => volume?.driver ?? '');
  const needs = drivers.filter((name) => name !== '' && name !== 'local');
  const logs = [logDriver?.name ?? 'none'].filter((name) => name !== 'none');
  return [
    ...needs.map((name) => `Volume:${name}`),
    ...networks.map(() => `Network:${NETWORK_PLUGIN}`),
    ...logs.map((name) => `Log:${name}`),
  ];
}

/** Nodes tell all of their plugins or none; older ones no log plugins. */
function hasPlugin({ description }: Node, need: string): boolean {
  const names = description!.plugins.map(({ type, name }) => `${type}:${name}`);
  const isTold = need.startsWith('Log:')
    ? names.some((name) => name.startsWith('Log:'))
    : names.length > 0;
  return !isTold || names.includes(need) || names.includes(`${need}:latest`);
}

/** Nodes tell all devices that not every machine has, or none; a folder is there with what is in it. */
function hasDevice({ description }: Node, path: string): boolean {
  const { devices } = description!;
  const isToldOf = path.startsWith('/dev/') && path !== '/dev/null';
  if (devices.length === 0 || !isToldOf) return true;
  return devices.some((name) => `/dev/${name}/`.startsWith(`${path}/`));
}

function isTrueOf({ id, spec, description, status, role }: Node, text: string): boolean {
  const [, key = '', operator, value] = /^(.+)([!=])=(.*)$/.exec(text)!;
  const { platform, hostname, engineLabels } = description!;
  const values: Readonly<Record<string, string>> = {
    'node.id': id,
    'node.hostname': hostname,
    'node.ip': status.address,
    'node.role': role,
    'node.platform.os': platform.os,
    'node.platform.arch': platform.architecture,
    'node.labels.zone': spec.labels['zone'] ?? '',
    'engine.labels.disk': engineLabels['disk'] ?? '',
  };
  // Nobody meets what is said of a thing that is none.
  return key in values && (values[key] === value) === (operator === '=');
}

function isMet(asked: Platform, actual: Platform): boolean {
  const { architecture } = asked;
  const isOne = ['', actual.architecture, SAME_ARCHITECTURE[actual.architecture]];
  return isOne.includes(architecture) && ['', actual.os].includes(asked.os);
}

function wanted(task: Task): boolean {
  return task.desiredState === 'running';
}

const nodeShape = fc.record({
  zone: fc.constantFrom(...ZONES),
  rack: fc.constantFrom(...RACKS),
  cpus: fc.integer({ min: 1, max: 6 }),
  memory: fc.integer({ min: 1, max: 6 }),
  gpus: fc.nat(3),
  disks: fc.nat(4),
  plugins: fc.constantFrom(
    [],
    ['Volume:nfs', 'Network:weave'],
    ['Volume:nfs:latest', 'Log:gelf'],
    ['Network:weave', 'Log:local'],
  ),
  devices: fc.constantFrom([], ['kvm'], ['dri/card0', 'ttyUSB0'], ['kvm', 'dri/renderD128']),
  engineDisk: fc.constantFrom('', 'ssd', 'hdd'),
  ip: fc.constantFrom('192.0.2.1', '192.0.2.2'),
  role: fc.constantFrom('worker', 'manager' as const),
  platform: fc.constantFrom('linux/x86_64', 'linux/amd64', 'linux/aarch64', 'windows/amd64'),
  state: fc.constantFrom('ready', 'ready', 'ready', 'down' as const),
  availability: fc.constantFrom('active', 'active', 'active', 'drain' as const),
});
type NodeShape = typeof nodeShape extends fc.Arbitrary<infer T> ? T : never;

const groupShape = fc.record({
  count: fc.integer({ min: 1, max: 9 }),
  service: fc.nat(3),
  cpus: fc.nat(2),
  memory: fc.nat(2),
  gpus: fc.constantFrom(0, 0, 1, 2),
  disks: fc.constantFrom(0, 0, 1, 3),
  volume: fc.constantFrom('', '', 'local', 'nfs'),
  log: fc.constantFrom('none', 'none', 'gelf', 'local'),
  isNetworked: fc.constantFrom(false, false, true),
  platforms: fc.constantFrom([], [], ['linux/'], ['/arm64'], ['linux/x86_64', 'windows/amd64']),
  device: fc.constantFrom('', '', '/dev/kvm', '/dev/dri', '/dev/ttyUSB0', '/dev/null', '/srv/pipe'),
  constraints: fc.constantFrom(
    ...[[], [], [], ['node.labels.zone==a'], ['node.labels.zone!=b']],
    ...[['engine.labels.disk==ssd'], ['engine.labels.disk!=hdd', 'node.role==worker']],
    ...[
      [`node.id==${nodeId(0)}`],
      [`node.id!=${nodeId(1)}`, 'node.hostname!=h2'],
      ['node.hostname==h0'],
    ],
    ...[['node.ip==192.0.2.1'], ['node.ip!=192.0.2.1', 'node.role!=manager']],
    ...[['node.platform.os==linux', 'node.platform.arch!=aarch64']],
    ...[['node.nothing==a'], ['node.nothing!=a']],
  ),
  preferences: fc.constantFrom([], [], ['zone'], ['zone', 'rack']),
  port: fc.constantFrom(0, 0, 0, 80, 81),
  maxReplicas: fc.constantFrom(0, 0, 1, 2),
});
type GroupShape = typeof groupShape extends fc.Arbitrary<infer T> ? T : never;

const step = fc.oneof(
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('group' as const), group: groupShape }) },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('node' as const),
      pick: fc.nat(9),
      shape: nodeShape,
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('remove' as const), pick: fc.nat(9) }) },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constantFrom('end' as const, 'stop' as const, 'fail' as const),
      pick: fc.nat(99),
    }),
  },
);
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

function nodeOf(id: NodeId, shape: NodeShape): Node {
  const { zone, rack, cpus, memory, gpus, disks, state, availability } = shape;
  const { devices, engineDisk, ip, role } = shape;
  return aNode({
    id,
    spec: aNodeSpec({ labels: { ...(zone && { zone }), ...(rack && { rack }) }, availability }),
    status: { state, message: '', address: ip },
    role,
    description: aNodeDescription({
      hostname: `h${id[1]}`,
      engineLabels: engineDisk === '' ? {} : { disk: engineDisk },
      devices,
      nanoCpus: cpus * 1e9,
      memoryBytes: memory * GIB,
      generic: [
        ...Array.from({ length: gpus }, (_, i) => ({ kind: 'gpu', value: `g${i}` })),
        ...(disks > 0 ? [{ kind: 'disk', value: disks }] : []),
      ],
      plugins: shape.plugins.map((text) => {
        const [type = '', ...name] = text.split(':');
        return { type, name: name.join(':') };
      }),
      platform: platformOf(shape.platform),
    }),
  });
}

function platformOf(text: string): Platform {
  const [os = '', architecture = ''] = text.split('/');
  return { os, architecture };
}

function mountOf(driver: string): Mount {
  const volume = { noCopy: false, labels: {}, driver, driverOptions: {}, subpath: '' };
  const none = { readOnly: false, bind: null, tmpfs: null };
  return { type: 'volume', source: 'v', target: '/v', ...none, volume };
}

function withDevice(path: string): Isolation {
  const device = { hostPath: path, containerPath: path, permissions: 'rwm' };
  return { ...DEFAULT_ISOLATION, devices: [device] };
}

function groupOf(shape: GroupShape): Task[] {
  const ports = shape.port === 0 ? [] : [aPort({ publishMode: 'host', publishedPort: shape.port })];
  const spec = aTaskSpec({
    placement: {
      ...ANYWHERE,
      constraints: shape.constraints,
      preferences: shape.preferences.map((label) => ({ spreadOver: `node.labels.${label}` })),
      maxReplicas: shape.maxReplicas,
      platforms: shape.platforms.map(platformOf),
    },
    container: aContainerSpec({
      mounts: shape.volume === '' ? [] : [mountOf(shape.volume)],
      isolation: shape.device === '' ? null : withDevice(shape.device),
    }),
    resources: {
      ...NO_RESOURCES,
      reservations: {
        nanoCpus: shape.cpus * 1e9,
        memoryBytes: shape.memory * GIB,
        generic: [
          ...(shape.gpus > 0 ? [{ kind: 'gpu', value: shape.gpus }] : []),
          ...(shape.disks > 0 ? [{ kind: 'disk', value: shape.disks }] : []),
        ],
      },
    },
  });
  return Array.from({ length: shape.count }, () =>
    aTask({
      serviceId: idOf<ServiceId>(`s${shape.service}`),
      spec,
      endpoint: { spec: { mode: 'vip', ports }, ports, virtualIps: [] },
      networks: shape.isNetworked ? [{ networkId, addresses: [], aliases: [] }] : [],
      logDriver: { name: shape.log, options: {} },
      status: aTaskStatus({ state: 'pending' }),
    }),
  );
}

/** One history, told to both. */
class Both {
  readonly table = new NodeTable();
  readonly naive = new Naive();

  constructor() {
    this.table.networkPlugins.set(networkId, [NETWORK_PLUGIN]);
  }

  act(one: Step): void {
    switch (one.kind) {
      case 'group':
        this.#decide(groupOf(one.group));
        return;
      case 'node':
        this.#putNode(nodeOf(nodeId(one.pick), one.shape));
        return;
      case 'remove': {
        const id = nodeId(one.pick);
        this.naive.nodes.delete(id);
        for (const task of this.naive.on(id)) this.naive.placed.delete(task.id);
        for (const key of this.naive.failures.keys()) {
          if (key.startsWith(id)) this.naive.failures.delete(key);
        }
        this.table.removeNode(id);
        return;
      }
      default:
        this.#taskGoes(one.kind, one.pick);
    }
  }

  #putNode(node: Node): void {
    // A node may not take back a named resource that it has given: the naive count would not see it.
    const given = this.naive.on(node.id).flatMap((task) => task.assignedGenericResources);
    const generic = [...node.description!.generic];
    for (const one of given.filter(({ value }) => typeof value === 'string')) {
      if (!generic.some(({ value }) => value === one.value)) generic.push(one);
    }
    const whole = { ...node, description: { ...node.description!, generic } };
    this.naive.nodes.set(node.id, whole);
    this.table.putNode(whole);
  }

  #taskGoes(kind: 'end' | 'stop' | 'fail', pick: number): void {
    const tasks = [...this.naive.placed.values()];
    const task = tasks[pick % Math.max(1, tasks.length)];
    if (!task) return;
    if (kind === 'stop') {
      const stopped = { ...task, desiredState: 'shutdown' as const };
      this.naive.placed.set(task.id, stopped);
      this.table.putTask(stopped);
      return;
    }
    this.naive.placed.delete(task.id);
    this.table.putTask({ ...task, status: aTaskStatus({ state: 'failed' }) });
    if (kind === 'end') return;
    for (let i = 0; i < 5; i++) {
      const key = `${task.nodeId} ${task.serviceId}`;
      this.naive.failures.set(key, (this.naive.failures.get(key) ?? 0) + 1);
      const index = this.table.indexOf(task.nodeId!)!;
      this.table.failures.note(`${task.serviceId}/${task.specVersion}`, index, NOW_MS - 1);
    }
  }

  #decide(tasks: readonly Task[]): void {
    const { decisions, refusals } = planGroup(this.table, tasks, NOW_MS);
    expect(decisions.map(({ task }) => task.id)).toEqual(tasks.map(({ id }) => id));
    for (const decision of decisions) this.#judge(decision);
    if (!refusals) return;
    const told = Object.fromEntries(refusals.reasons().map((one) => [one.filter, one.nodes]));
    expect(told).toEqual(this.naive.reasons(tasks[0]!));
  }

  #judge(decision: Decision): void {
    const { task } = decision;
    const best = this.naive.best(task);
    if (decision.kind !== 'place') {
      expect([...best]).toEqual([]);
      return;
    }
    expect([...best]).toContain(decision.nodeId);
    const status = aTaskStatus({ state: 'assigned' });
    const { nodeId, assignedGenericResources } = decision;
    const placed = { ...task, nodeId, assignedGenericResources, status };
    const values = this.naive
      .on(nodeId)
      .flatMap((one) => one.assignedGenericResources.map(({ value }) => value));
    for (const { value } of assignedGenericResources) {
      if (typeof value === 'string') expect(values).not.toContain(value);
    }
    for (const { kind, value } of task.spec.resources.reservations.generic) {
      expect(amount(assignedGenericResources, kind)).toBe(value);
    }
    this.naive.placed.set(task.id, placed);
    this.table.putTask(placed);
  }
}

describe('scheduler against the naive one', () => {
  test('over any history each task gets a node that is as good as any, or the same refusals', () => {
    fc.assert(
      fc.property(
        fc.array(nodeShape, { minLength: 1, maxLength: 7 }),
        fc.array(step, { minLength: 1, maxLength: 25 }),
        (nodes, history) => {
          const both = new Both();
          for (const [pick, shape] of nodes.entries()) both.act({ kind: 'node', pick, shape });
          for (const one of history) both.act(one);
        },
      ),
      { numRuns: 300 },
    );
  });
});

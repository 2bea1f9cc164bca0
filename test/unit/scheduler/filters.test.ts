import { describe, expect, test } from 'vitest';
import type { NetworkId } from '../../../common/model/ids.ts';
import { networkPlugins } from '../../../common/model/network.ts';
import type { Node } from '../../../common/model/node.ts';
import {
  ANYWHERE,
  DEFAULT_ISOLATION,
  NO_RESOURCES,
  type PortConfig,
} from '../../../common/model/service.ts';
import type { Task } from '../../../common/model/task.ts';
import { NodeTable } from '../../../manager/scheduler/node-table.ts';
import { planGroup, planPreassigned } from '../../../manager/scheduler/plan-placement.ts';
import {
  aContainerSpec,
  aNetwork,
  aNode,
  aNodeDescription,
  aNodeSpec,
  aPort,
  aTask,
  aTaskSpec,
  aTaskStatus,
  idOf,
} from '../../support/builders.ts';

const pending = (overrides: Partial<Task> = {}): Task =>
  aTask({ status: aTaskStatus({ state: 'pending' }), ...overrides });
const tableOf = (...nodes: Node[]): NodeTable => {
  const table = new NodeTable();
  for (const node of nodes) table.putNode(node);
  return table;
};
const reserving = (nanoCpus: number, memoryBytes = 0, gpus = 0): Task =>
  pending({
    spec: aTaskSpec({
      resources: {
        ...NO_RESOURCES,
        reservations: {
          nanoCpus,
          memoryBytes,
          generic: gpus > 0 ? [{ kind: 'gpu', value: gpus }] : [],
        },
      },
    }),
  });
const placing = (placement: Partial<typeof ANYWHERE>): Task =>
  pending({ spec: aTaskSpec({ placement: { ...ANYWHERE, ...placement } }) });
const publishing = (port: Partial<PortConfig>): Task => {
  const ports = [aPort({ publishMode: 'host', ...port })];
  return pending({ endpoint: { spec: { mode: 'vip', ports }, ports, virtualIps: [] } });
};
const plugins = (...names: string[]): Node =>
  aNode({
    description: aNodeDescription({
      plugins: names.map((name) => ({ type: name.split(':')[0]!, name: name.split(':')[1]! })),
    }),
  });

/** Whether one task fits on one node that holds `others`. */
function fits(task: Task, node: Node, ...others: Task[]): boolean {
  const table = tableOf(node);
  for (const other of others) {
    const status = aTaskStatus({
      state: other.status.state === 'pending' ? 'running' : 'shutdown',
    });
    table.putTask({ ...other, nodeId: node.id, status });
  }
  return planGroup(table, [task], 0).decisions[0]!.kind === 'place';
}

describe('filters', () => {
  test.each([
    ['ready', 'active', true],
    ['ready', 'pause', false],
    ['ready', 'drain', false],
    ['down', 'active', false],
    ['unknown', 'active', false],
    ['disconnected', 'active', false],
  ] as const)('ready: %s and %s: %s', (state, availability, expected) => {
    const status = { state, message: '', address: '' };
    expect(fits(pending(), aNode({ status, spec: aNodeSpec({ availability }) }))).toBe(expected);
  });

  test.each([
    ['4 CPUs of 4', reserving(4e9), true],
    ['a trace more', reserving(4e9 + 1), false],
    ['all memory', reserving(0, 8 * 2 ** 30), true],
    ['a byte more', reserving(0, 8 * 2 ** 30 + 1), false],
    ['a kind that the node lacks', reserving(0, 0, 1), false],
  ])('resource: %s', (_, task, expected) => {
    expect(fits(task, aNode())).toBe(expected);
  });

  const asking = (...paths: string[]): Task => {
    const devices = paths.map((hostPath) => ({
      ...{ hostPath, containerPath: hostPath, permissions: 'rwm' },
    }));
    const container = aContainerSpec({ isolation: { ...DEFAULT_ISOLATION, devices } });
    return pending({ spec: aTaskSpec({ container }) });
  };

  test.each([
    ['that is there', ['/dev/fuse', '/dev/net/tun'], true],
    ['that is not', ['/dev/fuse', '/dev/kvm'], false],
    ['a folder with some', ['/dev/snd/'], true],
    ['a folder without', ['/dev/dri'], false],
    ['that nodes do not tell of', ['/dev/null', '/dev/loop7', '/dev/pts/0', '/srv/own'], true],
  ])('device: %s: %j', (_, paths, expected) => {
    const devices = ['fuse', 'net/tun', 'snd/timer'];
    expect(fits(asking(...paths), aNode({ description: aNodeDescription({ devices }) }))).toBe(
      expected,
    );
    expect(fits(asking(...paths), aNode())).toBe(true);
  });

  test('resource: what other tasks reserve is taken until they have ended', () => {
    expect(fits(reserving(3e9), aNode(), reserving(2e9))).toBe(false);
    const stopping = { ...reserving(2e9), desiredState: 'shutdown' as const };
    expect(fits(reserving(3e9), aNode(), stopping)).toBe(false);
    const ended = { ...stopping, status: aTaskStatus({ state: 'failed' }) };
    expect(fits(reserving(3e9), aNode(), ended)).toBe(true);
  });

  test('resource: named values are handed out one by one, and come back', () => {
    const generic = ['a', 'b', 'c'].map((value) => ({ kind: 'gpu', value }));
    const node = aNode({ description: aNodeDescription({ generic }) });
    const table = tableOf(node);
    const [first] = planGroup(table, [reserving(0, 0, 2)], 0).decisions;
    expect(first).toMatchObject({ assignedGenericResources: generic.slice(0, 2) });
    const two = reserving(0, 0, 2);
    expect(planGroup(table, [two], 0).decisions[0]!.kind).toBe('refuse');
    table.removeTask(first!.task.id);
    expect(planGroup(table, [two], 0).decisions[0]!.kind).toBe('place');
  });

  test('resource: discrete kinds are counted, also over a new description of the node', () => {
    const generic = [{ kind: 'gpu', value: 3 }];
    const node = aNode({ description: aNodeDescription({ generic }) });
    const table = tableOf(node);
    const [first] = planGroup(table, [reserving(0, 0, 2)], 0).decisions;
    expect(first).toMatchObject({ assignedGenericResources: [{ kind: 'gpu', value: 2 }] });
    table.putNode({ ...node, role: 'manager' });
    expect(planGroup(table, [reserving(0, 0, 2)], 0).decisions[0]!.kind).toBe('refuse');
    expect(planGroup(table, [reserving(0, 0, 1)], 0).decisions[0]!.kind).toBe('place');
  });

  test('resource: a named value that the node no longer has is not given again', () => {
    const generic = ['a', 'b'].map((value) => ({ kind: 'gpu', value }));
    const node = aNode({ description: aNodeDescription({ generic }) });
    const table = tableOf(node);
    const [first] = planGroup(table, [reserving(0, 0, 1)], 0).decisions;
    expect(first).toMatchObject({ assignedGenericResources: [{ kind: 'gpu', value: 'a' }] });
    const less = aNodeDescription({ generic: [{ kind: 'gpu', value: 'b' }] });
    table.putNode({ ...node, description: less });
    table.removeTask(first!.task.id);
    const [second] = planGroup(table, [reserving(0, 0, 1)], 0).decisions;
    expect(second).toMatchObject({ assignedGenericResources: [{ kind: 'gpu', value: 'b' }] });
    expect(planGroup(table, [reserving(0, 0, 1)], 0).decisions[0]!.kind).toBe('refuse');
  });

  const volume = (driver: string): Task =>
    pending({
      spec: aTaskSpec({
        container: aContainerSpec({
          mounts: [
            {
              type: 'volume',
              source: 'v',
              target: '/v',
              readOnly: false,
              bind: null,
              tmpfs: null,
              volume: { noCopy: false, labels: {}, driver, driverOptions: {}, subpath: '' },
            },
          ],
        }),
      }),
    });
  const logging = (name: string): Task => pending({ logDriver: { name, options: {} } });
  test.each([
    ['a local volume', volume('local'), plugins('Network:overlay'), true],
    ['a driver it has', volume('nfs'), plugins('Volume:nfs'), true],
    ['a driver it has as latest', volume('nfs'), plugins('Volume:nfs:latest'), true],
    ['a driver it lacks', volume('nfs'), plugins('Network:overlay'), false],
    ['a node without a description', volume('nfs'), aNode({ description: null }), true],
    ['a node that names no plugins', volume('nfs'), aNode(), true],
    ['a log driver it lacks', logging('gelf'), plugins('Log:local'), false],
    ['no log plugins at all', logging('gelf'), plugins('Network:overlay'), true],
    ['the log driver none', logging('none'), plugins('Log:local'), true],
  ])('plugin: %s', (_, task, node, expected) => {
    const described = node.description?.plugins.map((it) =>
      it.name === 'nfs' ? { ...it, name: 'nfs:latest' } : it,
    );
    expect(fits(task, node)).toBe(expected);
    if (described && expected) {
      const latest = { ...node, description: { ...node.description!, plugins: described } };
      expect(fits(task, latest)).toBe(true);
    }
  });

  test('plugin: the driver of each network counts', () => {
    const id = idOf<NetworkId>('weave');
    const task = pending({ networks: [{ networkId: id, addresses: [], aliases: [] }] });
    const table = tableOf(plugins('Network:overlay'));
    table.networkPlugins.set(id, ['weave']);
    expect(planGroup(table, [task], 0).decisions[0]).toMatchObject({
      explanation: 'no suitable node (missing plugin on 1 node)',
    });
  });

  test('plugin: an encrypted network is for nodes with WireGuard', () => {
    const id = idOf<NetworkId>('secret');
    const task = pending({ networks: [{ networkId: id, addresses: [], aliases: [] }] });
    const { spec } = aNetwork();
    const needs = networkPlugins({ ...spec, driverOptions: { encrypted: '' } });
    for (const [node, expected] of [
      [plugins('Network:overlay'), 0],
      [plugins('Network:overlay', 'Network:wireguard'), 1],
    ] as const) {
      const table = tableOf(node);
      table.networkPlugins.set(id, needs);
      const placed = planGroup(table, [task], 0).decisions.filter((it) => 'nodeId' in it);
      expect(placed).toHaveLength(expected);
    }
    expect(networkPlugins({ ...spec, driverOptions: { encrypted: 'false' } })).toEqual(['overlay']);
  });

  test.each([
    ['', '', true],
    ['amd64', 'linux', true],
    ['x86_64', 'linux', true],
    ['arm64', 'linux', false],
    ['amd64', 'windows', false],
    ['amd64', '', true],
  ])('platform: %s/%s on x86_64: %s', (architecture, os, expected) => {
    const task = placing({ platforms: [{ architecture, os }] });
    expect(fits(task, aNode())).toBe(expected);
    expect(fits(task, aNode({ description: null }))).toBe(false);
  });

  test.each([
    [{ publishedPort: 80 }, { publishedPort: 80 }, false],
    [{ publishedPort: 80 }, { publishedPort: 81 }, true],
    [{ publishedPort: 80 }, { publishedPort: 80, protocol: 'udp' as const }, true],
    [{ publishedPort: 0 }, { publishedPort: 0 }, true],
    [{ publishedPort: 80, hostIp: '10.0.0.5' }, { publishedPort: 80 }, false],
    [{ publishedPort: 80 }, { publishedPort: 80, hostIp: '10.0.0.5' }, false],
    [{ publishedPort: 80, hostIp: '10.0.0.5' }, { publishedPort: 80, hostIp: '10.0.0.5' }, false],
    [{ publishedPort: 80, hostIp: '10.0.0.5' }, { publishedPort: 80, hostIp: '127.0.0.1' }, true],
  ])('host-port: %o beside %o: %s', (mine, other, expected) => {
    expect(fits(publishing(mine), aNode(), publishing(other))).toBe(expected);
  });

  test('max-replicas: wanted tasks of the service count', () => {
    const task = placing({ maxReplicas: 1 });
    expect(fits(task, aNode(), pending({ serviceId: idOf('other') }))).toBe(true);
    expect(fits(task, aNode(), pending())).toBe(false);
    expect(fits(task, aNode(), pending({ desiredState: 'shutdown' }))).toBe(true);
  });

  const beside = (name: string): Task => {
    const networks = [{ target: `service:${name}`, aliases: [], driverOptions: {}, addresses: [] }];
    return pending({ serviceId: idOf('beside'), spec: aTaskSpec({ networks }) });
  };
  const called = (name: string, more: Partial<Task> = {}): Task =>
    pending({ serviceAnnotations: { name, labels: {} }, ...more });

  test('companion: a wanted task of the service whose namespace it shares is there', () => {
    expect(fits(beside('db'), aNode(), called('db'))).toBe(true);
    expect(fits(beside('db'), aNode(), called('web'))).toBe(false);
    expect(fits(beside('db'), aNode(), called('db', { desiredState: 'shutdown' }))).toBe(false);
    expect(fits(beside('db'), aNode())).toBe(false);
  });

  test('companion: one that is thought away for a moment is there again', () => {
    const node = aNode();
    const table = tableOf(node);
    const db = called('db', { nodeId: node.id, status: aTaskStatus({ state: 'running' }) });
    table.putTask(db);
    const decide = () => planGroup(table, [beside('db')], 0).decisions[0]!.kind;
    expect(table.without([db.id], decide)).toBe('refuse');
    expect(decide()).toBe('place');
  });

  test('companion: its node is looked at again when it comes', () => {
    const [far, near] = [aNode(), aNode()];
    const table = tableOf(far, near);
    const task = beside('db');
    expect(planGroup(table, [task], 0).decisions[0]).toMatchObject({
      explanation:
        'no suitable node (no task of the service whose namespaces it shares on 2 nodes)',
    });
    table.relieved.clear();
    table.putTask(called('db', { nodeId: near.id, status: aTaskStatus({ state: 'assigned' }) }));
    expect([...table.relieved]).toEqual([table.indexOf(near.id)]);
    expect(planGroup(table, [task], 0).decisions[0]).toMatchObject({ nodeId: near.id });
  });
});

describe('explanations', () => {
  const down = (): Node => aNode({ status: { state: 'down', message: '', address: '' } });
  const explain = (task: Task, ...nodes: Node[]): unknown =>
    planGroup(tableOf(...nodes), [task], 0).decisions[0];

  test.each([
    ['no nodes', pending(), [], 'no suitable node'],
    ['one', pending(), [down()], 'no suitable node (1 node not available for new tasks)'],
    ['two', pending(), [down(), down()], 'no suitable node (2 nodes not available for new tasks)'],
    [
      'constraints',
      placing({ constraints: ['node.labels.a==b'] }),
      [aNode(), aNode()],
      'no suitable node (scheduling constraints not satisfied on 2 nodes)',
    ],
    [
      'most refusals first',
      placing({ constraints: ['node.labels.a==b'] }),
      [down(), aNode(), aNode()],
      'no suitable node (scheduling constraints not satisfied on 2 nodes; 1 node not available for new tasks)',
    ],
    [
      'equal refusals in the order of the filters',
      placing({ constraints: ['node.labels.a==b'] }),
      [aNode(), down()],
      'no suitable node (1 node not available for new tasks; scheduling constraints not satisfied on 1 node)',
    ],
    ['resources', reserving(5e9), [aNode()], 'no suitable node (insufficient resources on 1 node)'],
    [
      'platform',
      placing({ platforms: [{ architecture: 'arm64', os: 'linux' }] }),
      [aNode()],
      'no suitable node (unsupported platform on 1 node)',
    ],
  ])('%s', (_, task, nodes, explanation) => {
    expect(explain(task, ...nodes)).toMatchObject({ kind: 'refuse', explanation });
  });

  test('what the group itself filled is counted', () => {
    const tasks = Array.from({ length: 3 }, () => placing({ maxReplicas: 1 }));
    const { decisions } = planGroup(tableOf(aNode(), aNode()), tasks, 0);
    expect(decisions.map(({ kind }) => kind)).toEqual(['place', 'place', 'refuse']);
    expect(decisions[2]).toMatchObject({
      explanation: 'no suitable node (max replicas per node limit exceed)',
    });
    const ports = Array.from({ length: 2 }, () => publishing({ publishedPort: 80 }));
    expect(planGroup(tableOf(aNode()), ports, 0).decisions[1]).toMatchObject({
      explanation: 'no suitable node (host-mode port already in use on 1 node)',
    });
  });

  test('a preassigned task is told only the explanation', () => {
    const node = aNode();
    const task = { ...reserving(5e9), nodeId: node.id };
    expect(planPreassigned(tableOf(node, aNode()), task)).toMatchObject({
      explanation: 'insufficient resources on 1 node',
    });
    expect(planPreassigned(tableOf(aNode()), task)).toBeNull();
  });
});

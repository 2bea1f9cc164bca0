import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { AssignedEndpoint, AssignmentChange } from '../../../common/model/assignment.ts';
import type { NodeId } from '../../../common/model/ids.ts';
import type { Network } from '../../../common/model/network.ts';
import type { Node } from '../../../common/model/node.ts';
import type { Task } from '../../../common/model/task.ts';
import { TASK_STATES, type TaskState } from '../../../common/model/task-state.ts';
import {
  hostAddressOf,
  NetworkTables,
  type TableChanges,
} from '../../../manager/dispatcher/network-tables.ts';
import type { WriteTx } from '../../../manager/store/types.ts';
import {
  applyTo,
  histories,
  type ItemSet,
  networkIds,
  perform,
  setScene,
} from '../../support/assignment-history.ts';
import {
  aNetwork,
  aNetworkSpec,
  aNode,
  aNodeDescription,
  aPort,
  aService,
  aServiceSpec,
  aTask,
  aTaskStatus,
  idOf,
  NO_PORTS,
} from '../../support/builders.ts';
import { makeStore, type TestStore } from '../../support/store.ts';

const [networkId] = networkIds as [(typeof networkIds)[number]];

function everything(tables: NetworkTables): ItemSet {
  const networks = networkIds.flatMap((id) => [...tables.items(id), ...tables.peers(id, null)]);
  return applyTo(new Map(), [...networks, ...tables.ports()]);
}

function allOf({ byNetwork, ports }: TableChanges): AssignmentChange[] {
  const networks = [...byNetwork.values()].flatMap(({ items, peers }) => [
    ...items,
    ...peers.values(),
  ]);
  return [...networks, ...ports];
}

async function scene(): Promise<TestStore> {
  const test = makeStore();
  await setScene(test);
  return test;
}

/** Tables over a store, and the changes of each write. */
async function followed(test: TestStore) {
  const watch = test.store.watch();
  const tables = test.store.view((view) => new NetworkTables(view));
  const write = async (change: (tx: WriteTx) => void): Promise<AssignmentChange[]> => {
    await test.store.update(change);
    const changes = watch.poll().flatMap((commit) => commit.changes);
    const { byNetwork, ports } = test.store.view((view) => tables.apply(view, changes));
    return allOf({ byNetwork, ports });
  };
  return { tables, write };
}

describe('network tables', () => {
  test('built whole at a revision they equal tables that followed each commit', async () => {
    await fc.assert(
      fc.asyncProperty(histories, async (history) => {
        const { store, ...rest } = await scene();
        void rest;
        const watch = store.watch();
        const tables = store.view((view) => new NetworkTables(view));
        const held = everything(tables);
        for (const batch of history) {
          for (const ops of batch) {
            await store.update((tx) => {
              for (const op of ops) perform(tx, op);
            });
          }
          const changes = watch.poll().flatMap((commit) => commit.changes);
          const { byNetwork, ports } = store.view((view) => tables.apply(view, changes));
          const whole = everything(store.view((view) => new NetworkTables(view)));
          expect(everything(tables)).toEqual(whole);
          // Who applies the recorded changes holds the same.
          applyTo(held, allOf({ byNetwork, ports }));
          expect(held).toEqual(whole);
        }
      }),
      { numRuns: 150 },
    );
  });

  test.each([
    ['an encrypted network', { encrypted: '' }, true, 'key'],
    ['any other', {}, false, ''],
  ])('peers of %s have the keys of their nodes', async (_, driverOptions, encrypted, key) => {
    const test = await scene();
    const [{ id }] = (await test.create(
      'network',
      aNetwork({
        spec: aNetworkSpec({ driverOptions, ipv6: true }),
        ipam: ['10.7.0.0/24', 'fd00:7::/64'].map((subnet) => ({
          ...{ subnet, gateway: '', range: '', reserved: {} },
        })),
        vxlanId: 4444,
      }),
    )) as [Network];
    const [node] = (await test.create(
      'node',
      aNode({
        description: aNodeDescription({ encryptionKey: 'key' }),
        attachments: [{ networkId: id, address: '10.7.0.3/24' }],
      }),
    )) as [Node];
    const { tables, write } = await followed(test);
    expect(tables.items(id)).toMatchObject([{ item: { encrypted, subnet6: 'fd00:7::/64' } }]);
    expect(tables.peers(id, null)).toMatchObject([{ item: { encryptionKey: key } }]);
    const description = aNodeDescription({ ...node.description, encryptionKey: 'other' });
    const changes = await write((tx) => tx.update('node', { ...node, description }));
    expect(changes).toMatchObject(encrypted ? [{ item: { encryptionKey: 'other' } }] : []);
  });

  test('of a network that each node makes itself nodes know what it is made of, and tasks by the addresses that nodes gave', async () => {
    const test = await scene();
    const driverOptions = { 'com.docker.network.bridge.enable_icc': 'false' };
    const [{ id }] = (await test.create(
      'network',
      aNetwork({
        spec: aNetworkSpec({ driver: 'macvlan', driverOptions, configFrom: 'conf' }),
      }),
    )) as [Network];
    const [node] = (await test.create('node', aNode())) as [Node];
    const seats = { networks: [{ networkId: id, addresses: [], aliases: ['db'] }] };
    const status = aTaskStatus({ state: 'starting' });
    const [task] = (await test.create('task', aTask({ nodeId: node.id, ...seats, status }))) as [
      Task,
    ];
    const { tables, write } = await followed(test);
    expect(tables.items(id)).toMatchObject([
      {
        item: {
          ...{ driver: 'macvlan', vxlanId: 0, subnet: '', gateway: '' },
          local: { driverOptions, configFrom: 'conf', ipam: [] },
        },
      },
    ]);
    const localAddresses = [{ networkId: id, address: '192.168.7.9/24' }];
    const running = { ...status, state: 'running' as const, localAddresses };
    expect(await write((tx) => tx.update('task', { ...task, status: running }))).toMatchObject([
      { kind: 'endpoint', item: { address: '192.168.7.9', aliases: ['db'], serving: true } },
    ]);
  });

  test('with the first node that is chosen as a gateway the others are none, until the last', async () => {
    const test = await scene();
    const network = aNetwork({ spec: aNetworkSpec({ ingress: true }), vxlanId: 4445 });
    const [{ id }] = (await test.create('network', network)) as [Network];
    const seat = (last: number) => ({
      attachments: [{ networkId: id, address: `10.0.0.${last}/24` }],
    });
    const nodes = (await test.create('node', aNode(seat(2)), aNode(seat(3)))) as [Node, Node];
    const { tables, write } = await followed(test);
    const masquerading = () =>
      tables
        .peers(id, null)
        .map((it) => ('item' in it && it.kind === 'peer' ? it.item.masquerades : null));
    expect(masquerading()).toEqual([false, false]);
    const label = (node: Node, value: string) => (tx: WriteTx) => {
      const before = tx.get('node', node.id) as Node;
      tx.update('node', {
        ...before,
        spec: { ...before.spec, labels: { 'com.skep.ingress': value } },
      });
    };
    const changes = await write(label(nodes[0], 'gateway'));
    expect(changes).toMatchObject([{ item: { nodeId: nodes[1].id, masquerades: true } }]);
    expect(masquerading()).toEqual([false, true]);
    await write(label(nodes[1], 'gateway'));
    await write(label(nodes[0], ''));
    expect(masquerading()).toEqual([true, false]);
    await write((tx) => tx.remove('node', nodes[1].id));
    expect(masquerading()).toEqual([false]);
  });

  test.each([1, 1279])(
    'an MTU of %i that a node tells of takes overlays from nobody',
    async (low) => {
      const test = await scene();
      await test.create(
        'node',
        ...[low, 1500].map((underlayMtu) =>
          aNode({ description: aNodeDescription({ underlayMtu }) }),
        ),
      );
      const { tables } = await followed(test);
      expect(tables.items(networkId)).toMatchObject([
        { kind: 'network', item: { underlayMtu: 1500 } },
      ]);
    },
  );

  test('networks know the lowest MTU that a node tells of, and when it is another', async () => {
    const test = await scene();
    const nodes = await test.create(
      'node',
      ...[9000, 1500, 1500, 0].map((underlayMtu) =>
        aNode({ description: aNodeDescription({ underlayMtu }) }),
      ),
    );
    const { tables, write } = await followed(test);
    const mtus = () =>
      tables
        .items(networkId)
        .flatMap((it) => (it.kind === 'network' && it.action === 'set' ? it.item.underlayMtu : []));
    expect(mtus()).toEqual([1500]);
    expect(await write((tx) => tx.remove('node', nodes[1]!.id))).toEqual([]);
    const changes = await write((tx) => tx.remove('node', nodes[2]!.id));
    expect(changes.map(({ kind }) => kind)).toContain('network');
    expect(mtus()).toEqual([9000]);
    await write((tx) => tx.remove('node', nodes[0]!.id));
    expect(mtus()).toEqual([0]);
  });

  test.each([
    ['192.0.2.1:2377', '192.0.2.1'],
    ['[fd77::1]:2377', 'fd77::1'],
    ['', null],
    ['192.0.2.1', null],
    ['192.0.2.1:99999', null],
  ])('packets for tasks of a node at %s go to %s', (address, expected) => {
    const description = aNodeDescription({ address });
    expect(hostAddressOf(aNode({ description }))).toBe(expected);
  });

  test('or to the address that it has for traffic between tasks', () => {
    const description = aNodeDescription({ dataPathAddress: '198.51.100.1' });
    expect(hostAddressOf(aNode({ description }))).toBe('198.51.100.1');
  });

  describe('an endpoint', () => {
    const nodeId = idOf<NodeId>('nod');

    async function endpointOf(task: Partial<Task>, node: Partial<Node> = {}) {
      const test = await scene();
      await test.create('node', aNode({ id: nodeId, ...node }));
      await test.create(
        'task',
        aTask({
          nodeId,
          status: aTaskStatus({ state: 'running' }),
          networks: [{ networkId, addresses: ['10.0.1.5/24'], aliases: ['db'] }],
          ...task,
        }),
      );
      const tables = test.store.view((view) => new NetworkTables(view));
      const change = tables.items(networkId).find(({ kind }) => kind === 'endpoint');
      return change?.action === 'set' ? (change.item as AssignedEndpoint) : null;
    }

    test('has its address without prefix, its node and its aliases', async () => {
      expect(await endpointOf({})).toMatchObject({
        address: '10.0.1.5',
        hostAddress: '192.0.2.1',
        nodeId,
        aliases: ['db'],
        serving: true,
      });
    });

    test.each(
      TASK_STATES.map((state): [TaskState, boolean | null] => {
        if (state === 'running') return [state, true];
        const waiting = ['new', 'pending'].includes(state);
        const live = ['assigned', 'accepted', 'preparing', 'ready', 'starting'].includes(state);
        return [state, live && !waiting ? false : null];
      }),
    )('of a task that is %s serves: %s', async (state, serving) => {
      const endpoint = await endpointOf({ status: aTaskStatus({ state }) });
      expect(endpoint?.serving ?? null).toBe(serving);
    });

    test.each([
      ['running', true],
      ['complete', true],
      ['ready', false],
      ['shutdown', false],
      ['remove', false],
    ] as const)('of a running task that is wanted %s serves: %s', async (desiredState, serving) => {
      expect((await endpointOf({ desiredState }))?.serving).toBe(serving);
    });

    test.each([
      ['ready', true],
      ['unknown', true],
      ['down', false],
    ] as const)('on a node that is %s serves: %s', async (state, serving) => {
      const status = { state, message: '', address: '' };
      expect((await endpointOf({}, { status }))?.serving).toBe(serving);
    });

    test('is absent while its node has not said where it is reached', async () => {
      expect(await endpointOf({}, { description: null })).toBeNull();
    });

    test('follows its node to another address, and stops serving when the node goes down', async () => {
      const test = await scene();
      const [node] = await test.create('node', aNode({ id: nodeId }));
      await test.create(
        'task',
        aTask({
          nodeId,
          status: aTaskStatus({ state: 'running' }),
          networks: [{ networkId, addresses: ['10.0.1.5/24'], aliases: [] }],
        }),
      );
      const { write } = await followed(test);
      const description = aNodeDescription({ address: '192.0.2.9:2377' });
      expect(await write((tx) => tx.update('node', { ...node!, description }))).toEqual([
        expect.objectContaining({ item: expect.objectContaining({ hostAddress: '192.0.2.9' }) }),
      ]);
      const status = { state: 'down', message: '', address: '' } as const;
      expect(await write((tx) => tx.update('node', { ...node!, description, status }))).toEqual([
        expect.objectContaining({ item: expect.objectContaining({ serving: false }) }),
      ]);
      expect(await write((tx) => tx.remove('node', nodeId))).toEqual([
        expect.objectContaining({ action: 'remove', kind: 'endpoint' }),
      ]);
    });
  });

  test('a status that changes nothing for others is no change', async () => {
    const test = await scene();
    await test.create('node', aNode({ id: idOf('nod') }));
    const [task] = await test.create(
      'task',
      aTask({
        nodeId: idOf('nod'),
        status: aTaskStatus({ state: 'preparing' }),
        networks: [{ networkId, addresses: ['10.0.1.5/24'], aliases: [] }],
      }),
    );
    const { write } = await followed(test);
    const status = aTaskStatus({ state: 'starting', message: 'on its way' });
    expect(await write((tx) => tx.update('task', { ...task!, status }))).toEqual([]);
  });

  test('a published port goes from one service to another in one transaction', async () => {
    const test = await scene();
    const endpoint = { spec: NO_PORTS, ports: [aPort({ publishedPort: 80 })], virtualIps: [] };
    const [from, to] = await test.create('service', aService({ endpoint }), aService());
    const { tables, write } = await followed(test);
    const changes = await write((tx) => {
      tx.update('service', { ...to!, endpoint });
      tx.update('service', { ...from!, endpoint: { ...endpoint, ports: [] } });
    });
    const expected = { kind: 'port', key: 'tcp/80', item: { serviceId: to!.id } };
    expect(changes.at(-1)).toMatchObject({ action: 'set', ...expected });
    expect(tables.ports()).toMatchObject([expected]);
  });

  test('host-mode ports and those without a number are not published by every node', async () => {
    const test = await scene();
    const ports = [aPort({ publishedPort: 0 }), aPort({ publishedPort: 81, publishMode: 'host' })];
    await test.create('service', aService({ endpoint: { spec: NO_PORTS, ports, virtualIps: [] } }));
    expect(test.store.view((view) => new NetworkTables(view).ports())).toEqual([]);
  });

  test('host-mode ports are told with the names of their service', async () => {
    const test = await scene();
    const port = aPort({ name: 'stats', targetPort: 9113, publishMode: 'host' });
    const spec = aServiceSpec();
    const networks = [{ target: networkId, aliases: [], driverOptions: {}, addresses: [] }];
    const endpoint = { ...spec.endpoint, ports: [port, aPort({ publishedPort: 81 })] };
    const asked = { ...spec, endpoint, task: { ...spec.task, networks } };
    await test.create('service', aService({ spec: asked }));
    const items = test.store.view((view) => new NetworkTables(view).items(networkId));
    const hostPorts = [{ protocol: 'tcp', name: 'stats', targetPort: 9113 }];
    expect(items.find(({ kind }) => kind === 'serviceEntry')).toMatchObject({
      item: { hostPorts },
    });
  });
});

import { afterEach, describe, expect, test } from 'vitest';
import { SkepError } from '../../../common/base/errors.ts';
import type { NodeId } from '../../../common/model/ids.ts';
import type { ServiceSpec } from '../../../common/model/service.ts';
import { isTerminal } from '../../../common/model/task-state.ts';
import {
  aNetwork,
  aNetworkSpec,
  aNetworkTarget,
  aNode,
  aPort,
  aTaskSpec,
} from '../../support/builders.ts';
import { ControlRooms } from '../../support/control-rooms.ts';
import { settle } from '../../support/fake-clock.ts';

describe('the way of a task through the rooms', () => {
  let rooms: ControlRooms;
  afterEach(() => rooms.stop());

  test('a service becomes running tasks with addresses, spread over the nodes', async () => {
    rooms = await ControlRooms.start(3);
    const ingress = rooms.test.store.view((view) => view.byName('network', 'ingress'))[0]!;
    expect(ingress.ipam[0]).toMatchObject({ subnet: '10.0.0.0/24', gateway: '10.0.0.1' });
    expect(ingress.vxlanId).toBe(4096);

    const { id } = await rooms.deploy({
      mode: { kind: 'replicated', replicas: 6 },
      endpoint: { mode: 'vip', ports: [aPort({ publishedPort: 8080 })] },
    });

    const tasks = rooms.tasks(id);
    expect(tasks.map(({ slot }) => slot)).toEqual([1, 2, 3, 4, 5, 6]);
    expect(tasks.every(({ status }) => status.state === 'running')).toBe(true);
    for (const node of rooms.nodes()) {
      expect(tasks.filter(({ nodeId }) => nodeId === node.id)).toHaveLength(2);
      expect(node.attachments.map(({ networkId }) => networkId)).toEqual([ingress.id]);
    }
    const service = rooms.service(id);
    expect(service.endpoint?.ports).toEqual([aPort({ publishedPort: 8080 })]);
    const addresses = [
      ...service.endpoint!.virtualIps.map(({ address }) => address),
      ...tasks.flatMap(({ networks }) => networks.flatMap((network) => network.addresses)),
      ...rooms.nodes().flatMap(({ attachments }) => attachments.map(({ address }) => address)),
    ];
    expect(new Set(addresses).size).toBe(addresses.length);
    expect(addresses).toHaveLength(1 + 6 + 3);
    expect(tasks.every(({ endpoint }) => endpoint?.ports[0]?.publishedPort === 8080)).toBe(true);
  });

  describe('that has an address of its own', () => {
    /** A service of one task; the address that this has in its network, and where it runs. */
    const addressed = async () => {
      rooms = await ControlRooms.start(2);
      const configs = [{ subnet: '10.9.0.0/24', gateway: '', range: '', reserved: {} }];
      const ipam = { driver: 'default', options: {}, configs };
      const [{ id: networkId } = fail()] = await rooms.test.create(
        'network',
        aNetwork({ spec: aNetworkSpec({ ipam }) }),
      );
      const networks = [aNetworkTarget({ target: networkId, addresses: ['10.9.0.77'] })];
      const mode = { kind: 'replicated', replicas: 1 } as const;
      const { id } = await rooms.deploy({ task: aTaskSpec({ networks }), mode });
      const now = () => {
        const [task, ...others] = rooms.running(id);
        expect(others).toEqual([]);
        const held = rooms
          .tasks(id)
          .filter(({ status }) => !isTerminal(status.state))
          .flatMap((one) => one.networks.flatMap(({ addresses }) => addresses));
        expect(held).toEqual(['10.9.0.77/24']);
        expect(task!.networks[0]!.addresses).toEqual(['10.9.0.77/24']);
        return task!;
      };
      return { id, now, first: now() };
    };
    const fail = (): never => expect.unreachable('no network');

    test('has it again after an update', async () => {
      const { id, now, first } = await addressed();
      await rooms.change(id, (spec) => ({ ...spec, task: { ...spec.task, forceUpdate: 1 } }));
      await rooms.pass(10_000);
      expect(now().id).not.toBe(first.id);
      expect(rooms.service(id).updateStatus?.state).toBe('completed');
    });

    test('has it on another node when its own is drained, or is to give it up start-first', async () => {
      const { now, first } = await addressed();
      const setNode = (id: NodeId, availability: 'active' | 'pause' | 'drain') =>
        rooms.setNode(id, (node) => ({ ...node, spec: { ...node.spec, availability } }));
      await setNode(first.nodeId!, 'pause'); // as `skep node drain` does
      await rooms.test.store.update((tx) =>
        tx.update('task', { ...tx.require('task', first.id), moving: 'start-first' }),
      );
      await rooms.pass(5_000);
      const second = now();
      expect(second.nodeId).not.toBe(first.nodeId);
      await setNode(first.nodeId!, 'active');
      await setNode(second.nodeId!, 'drain');
      await rooms.pass(5_000);
      expect(now().nodeId).toBe(first.nodeId);
    });

    test('has it on another node when its own is lost, and its forerunner has none', async () => {
      const { now, first } = await addressed();
      const lost = first.nodeId!;
      rooms.silent.add(lost);
      const status = (state: 'down' | 'ready') =>
        rooms.setNode(lost, (node) => ({ ...node, status: { ...node.status, state } }));
      await status('down');
      await rooms.pass(1_000);
      expect(now().nodeId).not.toBe(lost);
      expect(rooms.test.get('task', first.id)).toMatchObject({
        ...{ networks: [], desiredState: 'shutdown', status: { state: 'running' } },
      });
      // It comes back, and ends what it was told to end.
      rooms.silent.clear();
      await status('ready');
      await rooms.pass(1_000);
      expect(now().nodeId).not.toBe(lost);
      expect(rooms.test.get('task', first.id).status.state).toBe('shutdown');
    });
  });

  describe('each station writes its own message', () => {
    /** What the task of a service was said to be, write by write. */
    const stations = async (spec: Partial<ServiceSpec>): Promise<string[]> => {
      const seen: string[] = [];
      const watch = rooms.test.store.watch();
      await rooms.deploy(spec);
      for (const { changes } of (await watch.next()) ?? []) {
        for (const change of changes) {
          if (change.kind === 'task' && change.action !== 'remove') {
            const { state, message } = change.object.status;
            seen.push(`${state}: ${message}`);
          }
        }
      }
      watch.close();
      return seen.slice(0, 3);
    };

    test('of a task that needs an address', async () => {
      rooms = await ControlRooms.start(1);
      expect(await stations({ endpoint: { mode: 'vip', ports: [aPort()] } })).toEqual([
        'new: created',
        'pending: pending task scheduling',
        'assigned: scheduler assigned task to node',
      ]);
    });

    test('of one that needs nothing of the allocator', async () => {
      rooms = await ControlRooms.start(1);
      const seen = await stations({});
      expect(seen.slice(0, 2)).toEqual([
        'pending: pending task scheduling',
        'assigned: scheduler assigned task to node',
      ]);
    });
  });

  test('a global service runs once on every node, also on one that joins later', async () => {
    rooms = await ControlRooms.start(2);
    const { id } = await rooms.deploy({ mode: { kind: 'global' } });
    expect(rooms.running(id)).toHaveLength(2);
    await rooms.test.create('node', aNode());
    await rooms.rest();
    expect(new Set(rooms.running(id).map(({ nodeId }) => nodeId)).size).toBe(3);
    expect(rooms.running(id).every(({ slot }) => slot === null)).toBe(true);
  });

  test('a task waits in NEW, with the reason, while its network does not exist', async () => {
    rooms = await ControlRooms.start(1);
    const task = aTaskSpec({ networks: [aNetworkTarget({ target: 'missing' })] });
    const { id } = await rooms.deploy({ task });
    expect(rooms.tasks(id)[0]!.status).toMatchObject({
      state: 'new',
      err: 'network missing not found',
    });
  });

  test('the rooms end quietly when leadership is lost', async () => {
    rooms = await ControlRooms.start(1);
    rooms.test.proposer.hold = true;
    void rooms.deploy().catch(() => {});
    await settle();
    rooms.test.proposer.fail(new SkepError('not-leader', 'lost'));
    await settle();
    expect(rooms.failures).toEqual([]);
  });
});

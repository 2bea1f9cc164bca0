import { afterEach, describe, expect, test } from 'vitest';
import { SkepError } from '../../../common/base/errors.ts';
import { aNetworkTarget, aNode, aPort, aTaskSpec } from '../../support/builders.ts';
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

  test('each station writes its own message', async () => {
    rooms = await ControlRooms.start(1);
    const seen: string[] = [];
    const watch = rooms.test.store.watch();
    await rooms.deploy();
    for (const { changes } of (await watch.next()) ?? []) {
      for (const change of changes) {
        if (change.kind === 'task' && change.action !== 'remove') {
          const { state, message } = change.object.status;
          seen.push(`${state}: ${message}`);
        }
      }
    }
    expect(seen.slice(0, 3)).toEqual([
      'new: created',
      'pending: pending task scheduling',
      'assigned: scheduler assigned task to node',
    ]);
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

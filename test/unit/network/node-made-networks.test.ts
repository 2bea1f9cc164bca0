import { describe, expect, test } from 'vitest';
import { asId, type NodeId } from '../../../common/model/ids.ts';
import { ClusterTables } from '../../../worker/network/cluster-tables.ts';
import { withoutFarSeats } from '../../../worker/network/node-made-networks.ts';
import { checkRequest, hasGateway, madeWishes } from '../../../worker/network/task-request.ts';
import { attachRequest, endpoint, network, set } from '../../support/network-scene.ts';

const HERE = { nodeId: 'n1', address: '172.30.0.1' };
const THERE = { nodeId: 'n2', address: '172.30.0.2' };
const local = { driverOptions: {}, configFrom: '', ipam: [] };
const made = (name: string, driver: string, internal = false) =>
  network(name, 0, 0, { driver, subnet: '', gateway: '', internal, local });
const NEAR = made('near', 'bridge');
const LAN = made('lan', 'macvlan');
const SHUT = made('shut', 'bridge', true);
const FRONT = network('front', 4096, 1);
const BACK = network('back', 4097, 2, { internal: true });
const INGRESS = network('ingress', 4095, 0, { ingress: true });
const ALL = [NEAR, LAN, SHUT, FRONT, BACK, INGRESS];

function tables(): ClusterTables {
  const known = new ClusterTables();
  known.apply(
    ALL.map((item) => set('network', item)),
    true,
  );
  return known;
}

test('in networks that do not join nodes there is nobody of other nodes', () => {
  const seats = [NEAR, LAN, FRONT].flatMap((where) => [
    set('endpoint', endpoint(where, 'web', 1, HERE, '10.9.0.2')),
    set('endpoint', endpoint(where, 'web', 2, THERE, '10.9.0.3')),
  ]);
  const own = asId<NodeId>(HERE.nodeId);
  const wanted = seats.filter((_, i) => i !== 1);
  expect(withoutFarSeats(seats, tables(), own)).toEqual(wanted);
  // Told at once with the network.
  const first = set('network', NEAR);
  expect(withoutFarSeats([first, ...seats], new ClusterTables(), own)).toEqual([first, ...wanted]);
});

describe('the way out of a task', () => {
  test.each([
    ['none but the mesh', [INGRESS], true],
    ['an overlay', [FRONT], true],
    ['a bridge', [NEAR], true],
    ['macvlan', [LAN], false],
    ['macvlan, and the mesh', [INGRESS, LAN], false],
    ['macvlan, and an overlay', [LAN, FRONT], true],
    ['macvlan, and internal ones', [BACK, LAN, SHUT], false],
    ['internal ones', [BACK, SHUT], false],
  ])('in %s goes by the gateway bridge: that is so or not', (_, networks, expected) => {
    const ids = networks.map(({ id }) => id);
    expect(hasGateway(tables(), ids)).toBe(expected);
  });

  test('links stand in the order of the networks, each by whoever makes it', () => {
    const seat = endpoint(INGRESS, 'web', 1, HERE, '10.0.0.9');
    const request = attachRequest([seat], { netns: '/nowhere' });
    const attachments = [
      ...request.attachments,
      ...[LAN, NEAR].map(({ id }) => ({ networkId: id, addresses: [], aliases: [] })),
    ];
    expect(madeWishes(tables(), { ...request, attachments })).toEqual([
      { network: LAN, link: 'eth1', isWayOut: false },
      { network: NEAR, link: 'eth2', isWayOut: false },
    ]);
    const alone = { ...request, attachments: attachments.slice(0, 2) };
    expect(madeWishes(tables(), alone)).toEqual([{ network: LAN, link: 'eth1', isWayOut: true }]);
  });

  test.each([
    [LAN, 'publish port 80 on the host: the way out of the task passes the host by'],
    [SHUT, 'publish port 80 on the host: the task has internal networks only'],
  ])('that passes the host by has no ports there', ({ id }, words) => {
    const request = {
      ...attachRequest([endpoint(FRONT, 'web', 1, HERE, '10.0.1.9')], { netns: '/nowhere' }),
      attachments: [{ networkId: id, addresses: [], aliases: [] }],
    };
    checkRequest(tables(), request);
    const port = { name: '', protocol: 'tcp', targetPort: 80, publishedPort: 80 } as const;
    const hostPorts = [{ ...port, publishMode: 'host', hostIp: '' } as const];
    expect(() => checkRequest(tables(), { ...request, hostPorts })).toThrow(words);
  });
});

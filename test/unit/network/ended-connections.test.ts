import { describe, expect, test } from 'vitest';
import { addressBytes } from '../../../native/ffi/net/address.ts';
import type { EndedConnections } from '../../../native/ffi/net/conntrack.ts';
import { ClusterTables } from '../../../worker/network/cluster-tables.ts';
import { endedInSteps, endedUnseen } from '../../../worker/network/ended-connections.ts';
import { endpoint, ingressPeers, network, set } from '../../support/network-scene.ts';

const NODE = { nodeId: 'n1', address: '172.30.0.1' };
const FRONT = network('front', 4096, 1, { subnet6: 'fd61::/64' });
const INGRESS = network('ingress', 4095, 0, { ingress: true });

function tables(): ClusterTables {
  const made = new ClusterTables();
  made.apply(
    [
      ...[FRONT, INGRESS].map((item) => set('network', item)),
      ...ingressPeers(INGRESS, [NODE]),
      set('endpoint', endpoint(FRONT, 'web', 1, NODE, '10.0.1.11')),
      set('endpoint', endpoint(FRONT, 'web', 2, NODE, '10.0.1.12', { serving: false })),
      set('endpoint', endpoint(INGRESS, 'web', 1, NODE, '10.0.0.11')),
    ],
    true,
  );
  return made;
}

/** Of connections answered by `address`, whether those of UDP and of TCP are forgotten. */
const meant = ({ areMeant }: EndedConnections, address: string) =>
  [true, false].map((isUdp) => areMeant(addressBytes(address).toString('hex'), isUdp));
const BOTH = [true, true];
const UDP_ALONE = [true, false];
const NONE = [false, false];

describe('connections to what ended', () => {
  test('in steps: those of who is gone, of UDP those of who serves no more, in both families', () => {
    const gone = new Map([[FRONT.id, new Set(['10.0.1.20', '10.0.1.11'])]]);
    const unserved = new Map([[FRONT.id, new Set(['10.0.1.12', '10.0.1.11'])]]);
    const found = endedInSteps(tables(), { gone, unserved });
    expect(found.map(({ networkId }) => networkId)).toEqual([FRONT.id, FRONT.id]);
    const [first, second] = found.map(({ connections }) => connections);
    expect(meant(first!, '10.0.1.20')).toEqual(BOTH);
    expect(meant(first!, 'fd61::a00:114')).toEqual(BOTH);
    expect(meant(first!, '10.0.1.11')).toEqual(NONE); // it has another holder by now
    expect(meant(second!, '10.0.1.12')).toEqual(UDP_ALONE);
    expect(meant(second!, '10.0.1.11')).toEqual(NONE); // it serves again
  });

  test('nothing is looked for where nothing ended', () => {
    const unserved = new Map([[FRONT.id, new Set(['10.0.1.11'])]]);
    expect(endedInSteps(tables(), { gone: new Map(), unserved })).toEqual([]);
  });

  test.each([
    ['serves', '10.0.1.11', NONE],
    ['serves, in IPv6', 'fd61::a00:10b', NONE],
    ['serves no more', '10.0.1.12', UDP_ALONE],
    ['is gone', '10.0.1.13', BOTH],
    ['is gone, in IPv6', 'fd61::a00:10d', BOTH],
    ['is in another network', '10.0.0.99', NONE],
    ['is outside', '192.0.2.1', NONE],
    ['is outside, in IPv6', '2001:db8::1', NONE],
  ])('unseen: who %s', (_, address, expected) => {
    expect(meant(endedUnseen(tables(), [FRONT.id]), address)).toEqual(expected);
  });

  test('a host looks at the ingress network alone', () => {
    const ended = endedUnseen(tables(), [INGRESS.id]);
    expect(ended.families).toHaveLength(1);
    expect(meant(ended, '10.0.0.12')).toEqual(BOTH);
    expect(meant(ended, '10.0.0.11')).toEqual(NONE);
    expect(meant(ended, '10.0.1.13')).toEqual(NONE);
  });
});

import { expect, test } from 'vitest';
import { SeededRandom } from '../../../common/base/random.ts';
import type { NetlinkSocket } from '../../../native/ffi/net/sockets.ts';
import type { LocalNetwork } from '../../../worker/network/local-network.ts';
import { LocalNetworkSet } from '../../../worker/network/local-network-set.ts';
import type { LocalNetworkStore } from '../../../worker/network/local-network-store.ts';
import { FakeClock } from '../../support/fake-clock.ts';

const aNetwork = (third: number): LocalNetwork => ({
  id: `${third}`.padStart(64, 'a'),
  createdAtMs: 0,
  spec: {
    ...{ name: `net${third}`, labels: {}, driver: 'bridge', driverOptions: {} },
    ...{ internal: false, attachable: false, ingress: false, ipv6: false },
    ipam: { driver: 'default', options: {}, configs: [] },
    ...{ configOnly: false, configFrom: '' },
  },
  ipam: { subnet: `10.9.${third}.0/24`, gateway: `10.9.${third}.1`, range: '', reserved: {} },
});

test('however many networks there are, their bridges are looked for at once', async () => {
  const asked: string[] = [];
  const socket = {
    dump: async () => {
      asked.push('dump');
      return [];
    },
    transact: async () => {
      asked.push('one');
      return [];
    },
  } as unknown as NetlinkSocket;
  const known = Array.from({ length: 50 }, (_, i) => aNetwork(i));
  const networks = new LocalNetworkSet({
    store: { load: async () => known } as unknown as LocalNetworkStore,
    clock: new FakeClock(),
    random: new SeededRandom(1),
    route: async () => socket,
    isUsed: () => false,
  });
  await networks.load();
  await networks.removeUnused(new Set());
  expect(asked).toEqual(['dump']);
});

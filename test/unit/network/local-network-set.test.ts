import { describe, expect, test } from 'vitest';
import { SeededRandom } from '../../../common/base/random.ts';
import type { NetworkSpec } from '../../../common/model/network.ts';
import type { NetlinkSocket } from '../../../native/ffi/net/sockets.ts';
import { type LocalNetwork, OF_THIS_NODE } from '../../../worker/network/local-network.ts';
import {
  LocalNetworkSet,
  type LocalNetworkSetOptions,
} from '../../../worker/network/local-network-set.ts';
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

function aSet(
  known: readonly LocalNetwork[],
  socket: Partial<NetlinkSocket>,
  more: Partial<LocalNetworkSetOptions> = {},
): LocalNetworkSet {
  return new LocalNetworkSet({
    store: {
      load: async () => known,
      put: async () => {},
      remove: async () => {},
    } as unknown as LocalNetworkStore,
    clock: new FakeClock(),
    random: new SeededRandom(1),
    route: async () => socket as NetlinkSocket,
    isUsed: () => false,
    builtIns: OF_THIS_NODE.builtIns,
    ...more,
  });
}

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
  };
  const networks = aSet(
    Array.from({ length: 50 }, (_, i) => aNetwork(i)),
    socket,
  );
  await networks.load();
  await networks.removeUnused(new Set());
  expect(asked).toEqual(['dump']);
});

describe('configuration networks', () => {
  const quiet = { dump: async () => [], transact: async () => [] };
  const ipam = (subnet: string) => ({
    ...{ driver: 'default', options: {} },
    configs: [{ subnet, gateway: '', range: '', reserved: {} }],
  });
  const config = (name: string): NetworkSpec => ({
    ...aNetwork(0).spec,
    ...{ name, configOnly: true, labels: { of: name }, ipam: ipam('10.8.0.0/24') },
    driverOptions: { parent: 'eth0' },
  });
  const dependent = (name: string): NetworkSpec => ({
    ...aNetwork(0).spec,
    ...{ name, driver: 'macvlan', configFrom: 'wire' },
  });

  test('give all that they say to who names them, and are no network themselves', async () => {
    const networks = aSet([], quiet);
    const { id } = await networks.create(config('wire'));
    expect(networks.subnets).toEqual([]);
    await expect(networks.ensure(id)).rejects.toThrow('wire is a configuration network');
    const made = await networks.create(dependent('lan'));
    expect(made.spec).toMatchObject({ driverOptions: { parent: 'eth0' }, labels: { of: 'wire' } });
    expect(made.ipam).toMatchObject({ subnet: '10.8.0.0/24', gateway: '10.8.0.1' });
    await expect(networks.create(dependent('other'))).rejects.toThrow('Pool overlaps');
  });

  test('must be there, and be what the driver takes', async () => {
    const networks = aSet([], quiet);
    const words = 'configuration network "wire" does not exist';
    await expect(networks.create(dependent('lan'))).rejects.toThrow(words);
    await networks.create({
      ...config('wire'),
      configOnly: false,
      name: 'wire',
      driverOptions: {},
    });
    await expect(networks.create(dependent('lan'))).rejects.toThrow(words);
    const bare = aSet([], quiet);
    await bare.create({ ...config('wire'), driverOptions: {} });
    await expect(bare.create(dependent('lan'))).rejects.toThrow('option "parent" must name a link');
  });

  test('stay while a network here or of the cluster is made from them', async () => {
    let isConfigUsed = false;
    const networks = aSet([], quiet, { isConfigUsed: () => isConfigUsed });
    const { id } = await networks.create(config('wire'));
    const { id: lan } = await networks.create(dependent('lan'));
    await expect(networks.remove(id)).rejects.toThrow('configuration network "wire" is in use');
    await networks.remove(lan);
    isConfigUsed = true;
    await expect(networks.remove(id)).rejects.toThrow('configuration network "wire" is in use');
    isConfigUsed = false;
    await networks.remove(id);
    expect(networks.config('wire')).toBeNull();
  });

  test('of other sets, and their addresses, are known by what is told of them', async () => {
    const own = { ...aNetwork(8), spec: config('wire') };
    const networks = aSet([], quiet, {
      ...{ builtIns: [], configOf: () => own, otherSubnets: () => ['10.8.0.0/16'] },
    });
    await expect(networks.create(dependent('lan'))).rejects.toThrow('Pool overlaps');
  });
});

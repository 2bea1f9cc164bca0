import { describe, expect, test } from 'vitest';
import { asId, type NetworkId } from '../../../common/model/ids.ts';
import { ClusterTables } from '../../../worker/network/cluster-tables.ts';
import { narrowPaths, pathsOf } from '../../../worker/network/path-check.ts';
import { endpoint, network, set } from '../../support/network-scene.ts';

const OWN = '192.0.2.1';
const FRONT = network('front', 4096, 1);
const SAFE = network('safe', 4097, 2, { encrypted: true });
const at = (address: string) => ({ nodeId: address, address });

describe('paths to other hosts', () => {
  test('each is as wide as the largest packet that goes there', () => {
    const tables = new ClusterTables();
    tables.apply(
      [
        set('network', FRONT),
        set('network', SAFE),
        set('endpoint', endpoint(FRONT, 'web', 1, at(OWN), '10.0.1.2')),
        set('endpoint', endpoint(FRONT, 'web', 2, at('192.0.2.2'), '10.0.1.3')),
        set('endpoint', endpoint(FRONT, 'web', 3, at('192.0.2.3'), '10.0.1.4')),
        set('endpoint', endpoint(SAFE, 'db', 1, at('192.0.2.3'), '10.0.2.4')),
      ],
      true,
    );
    const mtus = new Map<NetworkId, number>([
      [FRONT.id, 1450],
      [SAFE.id, 1400],
      [asId('gone'), 9000],
    ]);
    const overlays = [...mtus].map(([id, mtu]) => ({ id, mtu }));
    const paths = (underlayMtu: number) =>
      pathsOf(overlays, ({ id }) => tables.networks.get(id), { address: OWN, underlayMtu });
    expect(paths(9000)).toEqual([
      { address: '192.0.2.2', packetBytes: 1500, networkName: 'front' },
      { address: '192.0.2.3', packetBytes: 1510, networkName: 'safe' },
    ]);
    // Larger ones leave in fragments, each no larger than the link.
    expect(paths(1505).map(({ packetBytes }) => packetBytes)).toEqual([1500, 1505]);
  });

  test('the widest packet that passes is found; of who does not answer nothing is told', async () => {
    const carried = new Map([
      ['192.0.2.2', 1500],
      ['192.0.2.3', 1433],
      ['192.0.2.4', 0],
      ['2001:db8::2', 1300],
    ]);
    const paths = [...carried.keys()].map((address) => ({
      ...{ address, packetBytes: 1500, networkName: 'front' },
    }));
    let rounds = 0;
    const narrow = await narrowPaths(paths, async (probes) => {
      rounds++;
      return probes.map(({ address, packetBytes }) => packetBytes <= carried.get(address)!);
    });
    const what = 'largest packet that passes, of network front';
    expect(narrow).toEqual([
      { where: 'way to 192.0.2.3', what, wanted: '1500', found: '1433' },
      { where: 'way to 2001:db8::2', what, wanted: '1500', found: '1300' },
    ]);
    expect(rounds).toBeLessThan(15);
  });

  test('a path whose first answer was lost is not narrow', async () => {
    const path = { address: '192.0.2.2', packetBytes: 1500, networkName: 'front' };
    let rounds = 0;
    const narrow = await narrowPaths([path], async (probes) => probes.map(() => rounds++ > 0));
    expect(narrow).toEqual([]);
  });

  test('where all is well each host is asked once', async () => {
    const asked: string[] = [];
    const path = { address: '192.0.2.2', packetBytes: 1500, networkName: 'front' };
    const narrow = await narrowPaths([path], async (probes) => {
      asked.push(...probes.map(({ packetBytes }) => `${packetBytes}`));
      return probes.map(() => true);
    });
    expect([narrow, asked]).toEqual([[], ['1500']]);
  });
});

import { describe, expect, test } from 'vitest';
import { asId, type NodeId } from '../../../common/model/ids.ts';
import { ClusterTables } from '../../../worker/network/cluster-tables.ts';
import { closedTunnels, tunnelsOf } from '../../../worker/network/tunnel-check.ts';
import { endpoint, ingressPeers, network, set } from '../../support/network-scene.ts';

const INGRESS = network('ingress', 4096, 0, { ingress: true });
const NODES = [1, 2, 3].map((i) => ({ nodeId: `n${i}`, address: `192.0.2.${i}` }));

describe('tunnels to other hosts', () => {
  test('lead to the seats of the others that know all seats, from a node that has one', () => {
    const tables = new ClusterTables();
    expect(tunnelsOf(tables.ingress(), asId<NodeId>('n1'))).toEqual([]);
    tables.apply([set('network', INGRESS), ...ingressPeers(INGRESS, NODES)], true);
    expect(tunnelsOf(tables.ingress(), asId<NodeId>('n1'))).toEqual([]);
    const tasks = NODES.map((node, i) => endpoint(INGRESS, 'web', i, node, `10.0.0.1${i}`));
    const all = ingressPeers(INGRESS, [...NODES, { nodeId: 'n4', address: '192.0.2.4' }]);
    tables.apply([...all, ...tasks.map((it) => set('endpoint', it))], false);
    expect(tunnelsOf(tables.ingress(), asId<NodeId>('n1'))).toEqual([
      { hostAddress: '192.0.2.2', seat: '10.0.0.3' },
      { hostAddress: '192.0.2.3', seat: '10.0.0.4' },
    ]);
    expect(tunnelsOf(tables.ingress(), asId<NodeId>('n6'))).toEqual([]);
  });

  test('are closed where the host answers and its seat does not', async () => {
    const tunnels = [2, 3, 4].map((i) => ({ hostAddress: `192.0.2.${i}`, seat: `10.0.0.${i}` }));
    const answering = ['10.0.0.2', '192.0.2.2', '192.0.2.3'];
    const asked: string[] = [];
    const closed = await closedTunnels(tunnels, async (probes) => {
      asked.push(probes.map(({ address }) => address).join());
      return probes.map(({ address }) => answering.includes(address));
    });
    expect(closed).toEqual([
      {
        where: 'way to 192.0.2.3',
        what: 'packets of overlay networks (the data path port, UDP)',
        ...{ wanted: 'answered', found: null },
      },
    ]);
    expect(asked).toEqual(['10.0.0.2,10.0.0.3,10.0.0.4', '192.0.2.3,192.0.2.4']);
  });
});

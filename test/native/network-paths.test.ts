/** What is between the hosts carries less than their links say, or no VXLAN: the self-proof that is asked for tells it. Needs root. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { probePaths } from '../../native/ffi/net/path-probe.ts';
import { inNetns, type LabHost, NetworkLab } from '../support/network-lab.ts';
import { endpoint, ingressPeers, network, set } from '../support/network-scene.ts';

const isRoot = process.getuid?.() === 0;
const FRONT = network('front', 4136, 1);
const SMALL = network('small', 4137, 2, { mtu: 1200 });
const INGRESS = network('ingress', 4138, 0, { ingress: true });

describe.skipIf(!isRoot)('the path between hosts (root only)', () => {
  let lab: NetworkLab;
  let home: LabHost;
  let away: LabHost;

  beforeAll(async () => {
    lab = await NetworkLab.create('skq', 2);
    [home, away] = lab.hosts as [LabHost, LabHost];
    await home.start();
    const own = [
      endpoint(FRONT, 'web', 1, home, '10.0.1.11'),
      endpoint(SMALL, 'web', 1, home, '10.0.2.11'),
    ];
    const far = [
      endpoint(FRONT, 'far', 1, away, '10.0.1.12'),
      endpoint(SMALL, 'far', 1, away, '10.0.2.12'),
      // A host that nobody ever saw.
      endpoint(FRONT, 'far', 2, { nodeId: 'gone', address: '172.30.77.99' }, '10.0.1.13'),
    ];
    const networks = [FRONT, SMALL].map((item) => set('network', item));
    await home.apply([...networks, ...[...own, ...far].map((it) => set('endpoint', it))], true);
    await lab.attached(home, 'web1', own);
  }, 60_000);
  afterAll(() => lab?.close());

  test('that carries full packets is right', async () => {
    expect(await home.report()).toMatchObject({ driftCount: 0, failures: [] });
  });

  test('that drops larger ones is told, with what passes', { timeout: 30_000 }, async () => {
    await lab.narrow(1, 1400);
    const { driftCount, leftCount, drifts } = await home.report(true);
    expect([driftCount, leftCount]).toEqual([1, 1]);
    expect(drifts).toEqual([
      {
        where: `way to ${away.address}`,
        what: 'largest packet that passes, of network front',
        ...{ wanted: '1500', found: '1400', repaired: false },
      },
    ]);
    await lab.narrow(1, 1500);
    expect(await home.report()).toMatchObject({ driftCount: 0 });
  });

  test('on which a firewall lets no VXLAN in is told, from both ends', async () => {
    const tasks = lab.hosts.map((host, i) => endpoint(INGRESS, 'shop', i, host, `10.0.0.1${i}`));
    const seats = [
      set('network', INGRESS),
      ...ingressPeers(INGRESS, lab.hosts),
      ...tasks.map((it) => set('endpoint', it)),
    ];
    await away.start();
    await away.apply(seats, true);
    await home.apply(seats);
    expect(await home.report()).toMatchObject({ driftCount: 0, failures: [] });
    const nft = (...words: string[]) => inNetns(away.netns, 'nft', ...words);
    await nft('add table ip strict');
    await nft('add chain ip strict input { type filter hook input priority 0; }');
    await nft('add rule ip strict input udp dport 4789 drop');
    for (const [host, other] of [
      [home, away],
      [away, home],
    ] as const) {
      const drift = { where: `way to ${other.address}`, wanted: 'answered', found: null };
      expect((await host.report(true)).drifts).toMatchObject([{ ...drift, repaired: false }]);
    }
    await nft('delete table ip strict');
    expect(await home.report()).toMatchObject({ driftCount: 0, failures: [] });
  });

  test('is asked by packets of the size that was said, in both families', async () => {
    const local = (address: string, packetBytes: number) => ({ address, packetBytes });
    const probes = [local('127.0.0.1', 56), local('127.0.0.1', 65_535), local('::1', 1500)];
    expect(await probePaths(probes, 1000)).toEqual([true, true, true]);
    await expect(probePaths([local('nowhere', 100)], 100)).rejects.toThrow('nowhere');
    await expect(probePaths([local('127.0.0.1', 20)], 100)).rejects.toThrow('EINVAL');
  });
});

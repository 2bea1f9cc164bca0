/** Clients that use the same port of their own towards published ports of several hosts. Needs root. */
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { inNetns, type LabHost, NetworkLab, tryInNetns } from '../support/network-lab.ts';
import { endpoint, ingressPeers, network, port, set } from '../support/network-scene.ts';

const isRoot = process.getuid?.() === 0;
const INGRESS = network('ingress', 4180, 0, { ingress: true, subnet6: 'fd60::/64' });
const SCRIPT = fileURLToPath(new URL('../support/network-same-port.mjs', import.meta.url));

describe.skipIf(!isRoot)('clients with one port for several entry hosts (root only)', () => {
  let lab: NetworkLab;
  const at = (i: number) => lab.hosts[i] as LabHost;
  const seat = () => endpoint(INGRESS, 'web', 1, at(2), '10.0.0.11');
  const ask = async (own: number, ...addresses: string[]) => {
    const asked = [SCRIPT, '8080', `${own}`, ...addresses];
    return (await tryInNetns(lab.outside, process.execPath, ...asked)).trim().split('\n');
  };

  beforeAll(async () => {
    lab = await NetworkLab.create('skcp', 3);
    const six = async (netns: string, address: string) =>
      inNetns(netns, 'ip', 'addr', 'add', address, 'dev', 'up0', 'nodad');
    await six(lab.outside, 'fd77::100/64');
    for (const i of [0, 1, 2]) await six(at(i).netns, `fd77::${i + 1}/64`);
    await lab.begin([
      set('network', INGRESS),
      ...ingressPeers(INGRESS, lab.hosts),
      set('endpoint', seat()),
      set('port', port('web', 8080, 80)),
      set('port', port('web', 8081, 81, 'udp')),
    ]);
    await lab.attached(at(2), 'web', [seat()]);
  }, 60_000);
  afterAll(() => lab?.close());

  test('each is answered by the host that it asked, and none costs another its connection', async () => {
    const web = `web ${lab.outsideAddress}`;
    for (const [own, first, second] of [
      [41_000, at(0).address, at(1).address],
      [41_001, at(2).address, at(0).address],
    ] as const) {
      expect(await ask(own, first, second)).toEqual([
        web,
        web,
        [`${web} from ${first}`, `${web} from ${second}`].sort().join(', '),
        `${web} from ${first}`,
      ]);
    }
  });

  test('so it is by IPv6', async () => {
    expect(await ask(41_002, 'fd77::1', 'fd77::2')).toEqual([
      'web fd77::100',
      'web fd77::100',
      'web fd77::100 from fd77::1, web fd77::100 from fd77::2',
      'web fd77::100 from fd77::1',
    ]);
  });

  test('what is in the kernel is what was meant', async () => {
    for (const host of lab.hosts) {
      expect(await host.verify()).toMatchObject({ drifts: [], failures: [] });
    }
  });
});

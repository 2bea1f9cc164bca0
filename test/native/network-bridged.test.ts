/** Ports of one host, whether or not packets on its bridges meet the rules of IP (br_netfilter). Needs root. */
import { existsSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { PortConfig } from '../../common/model/service.ts';
import {
  httpFrom,
  inNetns,
  type LabHost,
  type LabTask,
  NetworkLab,
  tryInNetns,
} from '../support/network-lab.ts';
import { endpoint, network, set } from '../support/network-scene.ts';

const canRun = process.getuid?.() === 0 && existsSync('/proc/sys/net/bridge');
const title = canRun
  ? 'bridged packets (root only)'
  : 'bridged packets (skipped: not root, or a kernel without br_netfilter)';
const SHOP = network('shop', 4186, 1);
const BANK = network('bank', 4187, 2);
const PORTS = { a: 9081, b: 9082 } as const;

describe.skipIf(!canRun)(title, () => {
  let lab: NetworkLab;
  let host: LabHost;
  let tasks: Record<keyof typeof PORTS, LabTask>;
  const published = (name: keyof typeof PORTS): { readonly hostPorts: readonly PortConfig[] } => ({
    hostPorts: [
      {
        ...{ name: '', protocol: 'tcp', targetPort: 80, publishedPort: PORTS[name] },
        ...{ publishMode: 'host', hostIp: '' },
      },
    ],
  });
  beforeAll(async () => {
    lab = await NetworkLab.create('skr', 1);
    [host] = lab.hosts as [LabHost];
    const [a, b] = [
      endpoint(SHOP, 'a', 1, host, '10.0.1.11'),
      endpoint(BANK, 'b', 1, host, '10.0.2.11'),
    ];
    await lab.begin([
      ...[SHOP, BANK].map((item) => set('network', item)),
      ...[a, b].map((item) => set('endpoint', item)),
    ]);
    tasks = {
      a: await lab.attached(host, 'a', [a], published('a')),
      b: await lab.attached(host, 'b', [b], published('b')),
    };
  }, 60_000);
  afterAll(() => lab?.close());

  const setTo = (value: string) =>
    inNetns(
      host.netns,
      ...(['sysctl', '-qw'] as const),
      ...['iptables', 'ip6tables'].map((name) => `net.bridge.bridge-nf-call-${name}=${value}`),
    );
  const wayOutOf = async ({ netns }: LabTask): Promise<string> => {
    const [route] = JSON.parse(await inNetns(netns, 'ip', '-j', 'route', 'get', '192.0.2.1'));
    return route.prefsrc;
  };

  test.each(['1', '0', '1'])(
    'ports of tasks answer tasks of their host, and nothing else of them does (%s)',
    async (value) => {
      await setTo(value);
      // A proof may be under way by itself: what counts is that nothing is left.
      expect((await host.verify(true)).left).toEqual([]);
      for (const from of [tasks.a, tasks.b]) {
        expect(await httpFrom(from.netns, host.address, PORTS.a)).toMatch(/^a /);
        expect(await httpFrom(from.netns, host.address, PORTS.b)).toMatch(/^b /);
      }
      const other = await wayOutOf(tasks.b);
      expect(await httpFrom(tasks.a.netns, other)).toMatch(/^failed/);
      const ping = await tryInNetns(tasks.a.netns, 'busybox', 'ping', '-c1', '-W1', other);
      expect(ping).toContain('0 packets received');
      expect((await host.verify()).drifts).toEqual([]);
    },
  );
});

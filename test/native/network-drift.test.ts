/** What others alter in our namespaces, rules and tables is found and put right. Needs root. */
import { readdirSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { SeededRandom, shuffled } from '../../common/base/random.ts';
import { macOf, macText } from '../../native/ffi/net/address.ts';
import { entryMark } from '../../worker/network/entry-rules.ts';
import { gatewayPortName, overlayPortName } from '../../worker/network/kernel-names.ts';
import {
  command,
  dnsFrom,
  httpFrom,
  inNetns,
  type LabHost,
  type LabTask,
  NetworkLab,
  tryInNetns,
} from '../support/network-lab.ts';
import { endpoint, ingressPeers, network, port, service, set } from '../support/network-scene.ts';

const isRoot = process.getuid?.() === 0;

/** Of several alterations at once. */
const ROUNDS = process.env['SKEP_PROOFS'] === 'full' ? 25 : 3;
const REMOVE_EACH = 'ip route show | while read -r route; do ip route del $route; done';
const REMOVE_OURS = 'for link in skep_gw skep_in; do ip route flush dev $link; done';
const INGRESS = network('ingress', 4106, 0, { ingress: true });
const FRONT = network('front', 4107, 1);

describe.skipIf(!isRoot)('drift of the kernel (root only)', () => {
  let lab: NetworkLab;
  let home: LabHost;
  let away: LabHost;
  let web: LabTask;
  let far: LabTask;
  const seats = () => ({
    web: [
      endpoint(FRONT, 'web', 1, home, '10.0.1.11'),
      endpoint(INGRESS, 'web', 1, home, '10.0.0.11'),
    ],
    far: [endpoint(FRONT, 'far', 1, away, '10.0.1.12')],
  });

  beforeAll(async () => {
    lab = await NetworkLab.create('skd', 2);
    [home, away] = lab.hosts as [LabHost, LabHost];
    const tables = [
      ...[INGRESS, FRONT].map((item) => set('network', item)),
      ...ingressPeers(INGRESS, lab.hosts),
      ...[...seats().web, ...seats().far].map((item) => set('endpoint', item)),
      set('serviceEntry', service(FRONT, 'web', '10.0.1.2')),
      set('serviceEntry', service(FRONT, 'far', '10.0.1.3')),
      set('port', port('web', 8080, 80)),
    ];
    await lab.begin(tables);
    [web, far] = await Promise.all([
      lab.attached(home, 'web1', seats().web),
      lab.attached(away, 'far1', seats().far),
    ]);
  });

  afterAll(async () => {
    await lab?.close();
  });

  const overlayNetns = (id: string) => `${home.dir}/netns/${id}`;
  const webPort = overlayPortName(
    endpoint(FRONT, 'web', 1, { nodeId: '', address: '' }, '').taskId,
  );
  const webGateway = gatewayPortName(
    endpoint(FRONT, 'web', 1, { nodeId: '', address: '' }, '').taskId,
  );
  const farMac = macText(macOf('10.0.1.12'));
  const at = {
    host: () => home.netns,
    task: () => web.netns,
    front: () => overlayNetns(FRONT.id),
    ingress: () => overlayNetns(INGRESS.id),
  };

  /** Every way through the network that this scene has. */
  async function everythingAnswers(): Promise<void> {
    expect(await httpFrom(web.netns, '10.0.1.3')).toBe('far1 10.0.1.11');
    expect(await httpFrom(far.netns, '10.0.1.2')).toBe('web1 10.0.1.12');
    for (const { address } of lab.hosts) {
      expect(await httpFrom(lab.outside, address, 8080)).toBe(`web1 ${lab.outsideAddress}`);
    }
    expect(await inNetns(web.netns, 'busybox', 'ping', '-c1', '-W2', lab.outsideAddress)).toContain(
      '1 packets received',
    );
  }

  test('what was just programmed is as it ought to be', async () => {
    for (const host of lab.hosts) {
      const { drifts, failures, compared } = await host.verify();
      expect(drifts).toEqual([]);
      expect(failures).toEqual([]);
      expect(compared).toBe(4); // two networks, a task, the host
    }
    await everythingAnswers();
  });

  test('a resolver that a task cannot ask is told of', async () => {
    const nft = (...args: string[]) => inNetns(web.netns, 'nft', ...args);
    await nft('add table ip own');
    await nft('add chain ip own out { type filter hook output priority 0; }');
    await nft('add rule ip own out udp dport 53 drop');
    const { left } = await home.verify(true);
    const where = `task ${seats().web[0]?.containerName}`;
    expect(left).toEqual([
      { where, what: 'answer of 127.0.0.11 to web', wanted: '10.0.1.2', found: null },
    ]);
    await nft('delete table ip own');
    expect((await home.verify()).drifts).toEqual([]);
    // Closed and opened again by the repair.
    expect((await dnsFrom(web.netns, 'web')).data).toEqual(['10.0.1.2']);
  });

  const DAMAGES: [string, keyof typeof at, string][] = [
    ['a task’s link in its network deleted', 'task', 'ip link del eth0'],
    ['a task’s link in the ingress network deleted', 'ingress', `ip link del ${webPort}`],
    ['a task’s way out deleted', 'host', `ip link del ${webGateway}`],
    ['a task’s link down', 'task', 'ip link set eth0 down'],
    ['a task’s address removed', 'task', 'ip addr flush dev eth0'],
    ['a task’s MAC changed', 'task', 'ip link set eth0 address 02:00:00:00:00:99'],
    ['a task’s default route removed', 'task', 'ip route del default'],
    ['a task’s default route replaced', 'task', 'ip route replace default dev eth0'],
    ['the route to its own subnet removed', 'task', 'ip route del 10.0.1.0/24'],
    ['a task’s routes flushed', 'task', 'ip route flush table main'],
    ['the routes of a task’s links removed one by one', 'task', REMOVE_EACH],
    ['a task’s routes flushed, to its own addresses, too', 'task', 'ip route flush table all'],
    ['the host’s routes to our networks removed', 'host', REMOVE_OURS],
    ['the route to an entry node removed', 'task', `ip route flush table ${entryMark('10.0.0.3')}`],
    ['the rule for an entry node removed', 'task', `ip rule del fwmark ${entryMark('10.0.0.3')}`],
    [
      'a rule for an entry node that is none',
      'task',
      `ip rule add fwmark ${entryMark('10.0.0.9')} pref 1000 lookup 7`,
    ],
    ['a task’s rules flushed', 'task', 'nft flush ruleset'],
    ['one rule of a task’s added', 'task', 'nft insert rule ip skep output drop'],
    ['a virtual IP taken out', 'task', 'nft delete element ip skep vips { 10.0.1.3 }'],
    ['another backend', 'task', 'nft add element ip skep backends_10.0.1.3 { 5 : 10.0.1.99 }'],
    ['the bridge of a network deleted', 'front', 'ip link del br0'],
    ['the bridge of a network down', 'front', 'ip link set br0 down'],
    ['the VXLAN device deleted', 'front', 'ip link del vx0'],
    ['the VXLAN device off its bridge', 'front', 'ip link set vx0 nomaster'],
    ['the VXLAN device down', 'ingress', 'ip link set vx0 down'],
    ['a smaller MTU', 'front', 'ip link set vx0 mtu 1300'],
    ['a port off its bridge', 'front', `ip link set ${webPort} nomaster`],
    ['a port that learns', 'front', `bridge link set dev ${webPort} learning on flood on`],
    ['a forwarding entry removed', 'front', `bridge fdb del ${farMac} dev vx0 self`],
    [
      'a forwarding entry to elsewhere',
      'front',
      `bridge fdb replace ${farMac} dev vx0 dst 172.30.77.99 self`,
    ],
    [
      'a forwarding entry for everything',
      'front',
      'bridge fdb append 00:00:00:00:00:00 dev vx0 dst 172.30.77.99 self',
    ],
    [
      'a pinned MAC removed',
      'front',
      `bridge fdb del ${macText(macOf('10.0.1.11'))} dev ${webPort} master`,
    ],
    ['a neighbour removed', 'front', 'ip neigh del 10.0.1.12 dev vx0'],
    [
      'a neighbour with another MAC',
      'front',
      'ip neigh replace 10.0.1.12 lladdr 02:00:00:00:00:99 dev vx0',
    ],
    ['a neighbour too many', 'front', 'ip neigh add 10.0.1.77 lladdr 02:00:00:00:00:99 dev vx0'],
    ['the guard of a network’s ports flushed', 'front', 'nft flush ruleset'],
    [
      'a port taken from under its guard',
      'front',
      `nft delete element bridge skep ports { ${webPort} }`,
    ],
    ['the guard of the gateway’s ports deleted', 'host', 'nft delete table bridge skep'],
    ['the gateway bridge deleted', 'host', 'ip link del skep_gw'],
    ['the gateway bridge without address', 'host', 'ip addr flush dev skep_gw'],
    ['the host’s seat in the ingress network deleted', 'host', 'ip link del skep_in'],
    ['the host’s seat down', 'host', 'ip link set skep_in down'],
    ['forwarding off', 'host', 'sysctl -qw net.ipv4.ip_forward=0'],
    ['the host’s rules deleted', 'host', 'nft delete table ip skep'],
    ['a published port taken out', 'host', 'nft delete element ip skep ports { tcp . 8080 }'],
  ];

  test.each(DAMAGES)('%s is found and repaired', async (_, where, damage) => {
    const before = (await home.drifts()).repaired;
    await inNetns(at[where](), 'sh', '-c', damage);
    expect((await home.verify(true)).failures).toEqual([]);
    // By this call, or by the background in the moment before it.
    expect((await home.drifts()).repaired).toBeGreaterThan(before);
    expect(await home.verify()).toMatchObject({ drifts: [], failures: [] });
    await everythingAnswers();
  });

  test('is repaired without anybody asking, within 10 s, and counted', async () => {
    const before = (await home.drifts()).repaired;
    await inNetns(web.netns, 'ip', 'link', 'del', 'eth0');
    await inNetns(overlayNetns(FRONT.id), 'ip', 'neigh', 'flush', 'all');
    await inNetns(home.netns, 'nft', 'flush', 'ruleset');
    await vi.waitFor(
      async () => {
        expect((await home.drifts()).repaired).toBeGreaterThan(before + 2);
        await everythingAnswers();
      },
      { timeout: 10_000, interval: 200 },
    );
  });

  test('several at once, at random, are repaired without anybody asking within 10 s', {
    timeout: 30_000 * ROUNDS,
  }, async () => {
    const random = new SeededRandom(Number(process.env['SKEP_DRIFT_SEED'] ?? 20261129));
    for (let round = 0; round < ROUNDS; round++) {
      const chosen = shuffled(DAMAGES, random).slice(0, 4);
      const names = chosen.map(([name]) => name).join(', ');
      const before = (await home.drifts()).repaired;
      // What the one before took away cannot be altered any more.
      for (const [, where, damage] of chosen) await tryInNetns(at[where](), 'sh', '-c', damage);
      await vi.waitFor(
        async () => {
          expect((await home.drifts()).repaired, names).toBeGreaterThan(before);
          await everythingAnswers();
          expect(await home.verify(), names).toMatchObject({ drifts: [], failures: [] });
        },
        { timeout: 10_000, interval: 200 },
      );
    }
  });

  test('what a task adds in its own namespace stays', async () => {
    await inNetns(web.netns, 'ip', 'addr', 'add', '192.0.2.7/32', 'dev', 'lo');
    await inNetns(web.netns, 'ip', 'route', 'add', '198.51.100.0/24', 'dev', 'eth0');
    await inNetns(web.netns, 'nft', 'add', 'table', 'ip', 'mine');
    expect((await home.verify(true)).drifts).toEqual([]);
    expect(await inNetns(web.netns, 'nft', 'list', 'tables')).toContain('ip mine');
    expect(await inNetns(web.netns, 'ip', 'route')).toContain('198.51.100.0/24');
  });

  test('leaves no namespace behind that a task’s end should have taken', async () => {
    await web.end();
    await home.detach(seats().web[0]?.taskId ?? '');
    expect(readdirSync(`${home.dir}/netns`)).toEqual([INGRESS.id]);
    expect((await home.verify()).drifts).toEqual([]);
    expect(await command('ip', 'netns', 'list')).toContain('skd0');
  });
});

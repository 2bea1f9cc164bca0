/** Two hosts, a network and the ingress network with both families: the data path of IPv6. Needs root. */
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { address6Of } from '../../common/base/ipv6.ts';
import type { PortConfig } from '../../common/model/service.ts';
import { linkLocalOf, macOf } from '../../native/ffi/net/address.ts';
import { GATEWAY_SUBNET6 } from '../../worker/network/gateway-bridge.ts';
import {
  dnsFrom,
  httpFrom,
  inNetns,
  LabHost,
  type LabTask,
  NetworkLab,
  tryInNetns,
  udpFrom,
} from '../support/network-lab.ts';
import {
  attachRequest,
  endpoint,
  ingressPeers,
  network,
  peer,
  port,
  remove,
  service,
  set,
} from '../support/network-scene.ts';

const isRoot = process.getuid?.() === 0;

const INGRESS = network('ingress', 4096, 0, { ingress: true, subnet6: 'fd00::/64' });
const FRONT = network('front', 4097, 1, { subnet6: 'fd01::/64' });
/** beside them, of one family */
const BACK = network('back', 4098, 2);
const OUTSIDE = 'fd77::100';

describe.skipIf(!isRoot)('networks of both families (root only)', () => {
  let lab: NetworkLab;
  let client: LabTask;
  let web1: LabTask;
  let web2: LabTask;
  const at = (i: number) => lab.hosts[i] as LabHost;
  const seats = () => ({
    client: [
      endpoint(BACK, 'client', 1, at(0), '10.0.2.14'),
      endpoint(FRONT, 'client', 1, at(0), '10.0.1.14'),
    ],
    web1: [
      endpoint(FRONT, 'web', 1, at(0), '10.0.1.11'),
      endpoint(INGRESS, 'web', 1, at(0), '10.0.0.11'),
    ],
    web2: [
      endpoint(FRONT, 'web', 2, at(1), '10.0.1.12'),
      endpoint(INGRESS, 'web', 2, at(1), '10.0.0.12'),
    ],
  });
  const namesFrom = async (netns: string, address: string, portNumber = 80) => {
    const answers = new Set<string>();
    for (let i = 0; i < 4; i++) answers.add(await httpFrom(netns, `[${address}]`, portNumber));
    return [...answers].sort();
  };

  beforeAll(async () => {
    lab = await NetworkLab.create('sk6', 3);
    const addresses = [...lab.hosts.map(({ netns }, i) => [netns, `fd77::${i + 1}`] as const)];
    for (const [netns, address] of [...addresses, [lab.outside, OUTSIDE] as const]) {
      await inNetns(netns, 'ip', 'addr', 'add', `${address}/64`, 'dev', 'up0', 'nodad');
    }
    const everything = [
      ...[INGRESS, FRONT, BACK].map((item) => set('network', item)),
      ...ingressPeers(INGRESS, lab.hosts),
      ...Object.values(seats())
        .flat()
        .map((seat) => set('endpoint', seat)),
      set('serviceEntry', service(FRONT, 'web', '10.0.1.2')),
      set('serviceEntry', service(FRONT, 'idle', '10.0.1.3')),
      set('port', port('web', 8080, 80)),
      set('port', port('web', 8081, 81, 'udp')),
    ];
    for (const host of lab.hosts) {
      await host.start();
      await host.apply(everything, true);
    }
    client = await lab.attached(at(0), 'client', seats().client);
    web1 = await lab.attached(at(0), 'web1', seats().web1);
    web2 = await lab.attached(at(1), 'web2', seats().web2);
  }, 120_000);
  afterAll(() => lab?.close());

  test('tasks have the address that ends with that of IPv4, in networks with both only', async () => {
    const shown = await inNetns(client.netns, 'ip', '-6', 'addr');
    expect(shown).toContain('fd01::a00:10e/64');
    expect(shown).not.toMatch(/eth0/);
  });

  test('tasks meet on one host and across hosts', async () => {
    expect(await httpFrom(client.netns, '[fd01::a00:10b]')).toBe('web1 fd01::a00:10e');
    expect(await httpFrom(client.netns, '[fd01::a00:10c]')).toBe('web2 fd01::a00:10e');
  });

  test('a virtual IP goes to each serving task; one without any refuses at once', async () => {
    const from = 'fd01::a00:10e';
    expect(await namesFrom(client.netns, 'fd01::a00:102')).toEqual([
      `web1 ${from}`,
      `web2 ${from}`,
    ]);
    expect(await httpFrom(client.netns, '[fd01::a00:103]')).toMatch(/refused|Couldn't connect/);
  });

  test('names have both kinds of addresses, addresses of both kinds have names', async () => {
    const ask = (name: string, type: string) => dnsFrom(client.netns, name, type);
    expect((await ask('web', 'AAAA')).data).toEqual(['fd01::a00:102']);
    expect((await ask('tasks.web', 'AAAA')).data.toSorted()).toEqual([
      'fd01::a00:10b',
      'fd01::a00:10c',
    ]);
    expect((await ask('web', 'A')).data).toEqual(['10.0.1.2']);
    const nibbles = 'fd01000000000000000000000a000102'.split('').reverse().join('.');
    expect((await ask(`${nibbles}.ip6.arpa`, 'PTR')).data).toEqual(['web.front']);
  });

  test('a published port answers on every host, and the task sees the client', async () => {
    for (const host of ['fd77::1', 'fd77::2', 'fd77::3']) {
      expect(await namesFrom(lab.outside, host, 8080)).toEqual([
        `web1 ${OUTSIDE}`,
        `web2 ${OUTSIDE}`,
      ]);
    }
    expect(await namesFrom(at(2).netns, 'fd77::3', 8080)).toEqual(['web1 fd77::3', 'web2 fd77::3']);
    expect(await httpFrom(at(2).netns, '[::1]', 8080)).toMatch(/^web[12] fd00::a00:4$/);
    expect(await httpFrom(at(2).netns, 'localhost', 8080)).toMatch(/^web/);
  });

  test('UDP enters by every host, and the answer comes from where it was asked', async () => {
    for (const host of ['fd77::1', 'fd77::3']) {
      const answer = await udpFrom(lab.outside, host, 8081);
      expect(answer).toMatch(new RegExp(`^web[12] ${OUTSIDE} from ${host}$`));
    }
  });

  test('tasks get out by IPv6, and to nothing of their host but what others reach', async () => {
    const { netns } = web1;
    const ping = await tryInNetns(netns, 'busybox', 'ping', '-6', '-c1', '-W2', OUTSIDE);
    expect(ping).toContain('1 packets received');
    await lab.server(at(0).netns, 'host', 9000);
    expect(await httpFrom(netns, '[fd77::1]', 9000)).toMatch(/^host /);
    const gateway = '172.18.0.1';
    expect(await httpFrom(netns, `[${address6Of(GATEWAY_SUBNET6, gateway)}]`, 9000)).toMatch(
      /^failed/,
    );
    const ofLink = `[${linkLocalOf(macOf(gateway))}%25eth2]`;
    expect(await httpFrom(netns, ofLink, 9000)).toMatch(/^failed/);
  });

  test('ports on a task’s host answer by IPv6', async () => {
    const host = at(0);
    const seat = endpoint(FRONT, 'solo', 1, host, '10.0.1.15');
    for (const it of lab.hosts) await it.apply([set('endpoint', seat)]);
    const published: PortConfig = {
      ...{ name: '', protocol: 'tcp', targetPort: 80, publishedPort: 8090, hostIp: '' },
      publishMode: 'host',
    };
    const task = await lab.attached(host, 'solo1', [seat], { hostPorts: [published] });
    expect(await httpFrom(lab.outside, '[fd77::1]', 8090)).toBe(`solo1 ${OUTSIDE}`);
    expect(await httpFrom(lab.outside, host.address, 8090)).toBe(`solo1 ${lab.outsideAddress}`);
    expect(await httpFrom(host.netns, '[::1]', 8090)).toMatch(/refused|Couldn't connect/);
    expect(await httpFrom(host.netns, 'localhost', 8090)).toMatch(/^solo1 /);
    expect((await host.verify()).drifts).toEqual([]);
    await task.end();
    await host.detach(seat.taskId);
    for (const it of lab.hosts) await it.apply([remove('endpoint', seat)]);
    expect(await httpFrom(lab.outside, '[fd77::1]', 8090)).toMatch(/refused|Couldn't connect/);
  });

  test('another address than its own gets a task nowhere', async () => {
    const { netns } = client;
    await inNetns(netns, 'ip', 'addr', 'add', 'fd01::bad/64', 'dev', 'eth1', 'nodad');
    const seen =
      'table ip6 seen { chain in { type filter hook input priority 0; ip6 saddr fd01::bad counter; }; }';
    await inNetns(web1.netns, 'nft', seen);
    const url = 'http://[fd01::a00:10b]/';
    const args = ['-sS', '-m', '2', '--interface', 'fd01::bad', url];
    expect(await tryInNetns(netns, 'curl', ...args)).toMatch(/^failed/);
    await inNetns(netns, 'ip', 'addr', 'del', 'fd01::bad/64', 'dev', 'eth1');
    expect(await inNetns(web1.netns, 'nft', 'list', 'table', 'ip6', 'seen')).toContain(
      'packets 0 ',
    );
    await inNetns(web1.netns, 'nft', 'delete', 'table', 'ip6', 'seen');
    expect(await httpFrom(netns, '[fd01::a00:10b]')).toBe('web1 fd01::a00:10e');
  });

  test('a task that says it is another is not believed', async () => {
    // web1 takes the address of web2: neighbours would ask it first, were it let.
    const { netns } = web1;
    await inNetns(netns, 'ip', 'addr', 'add', 'fd01::a00:10c/128', 'dev', 'eth0', 'nodad');
    await inNetns(client.netns, 'ip', '-6', 'neigh', 'flush', 'dev', 'eth1');
    expect(await httpFrom(client.netns, '[fd01::a00:10c]')).toMatch(/^web2 /);
    await inNetns(netns, 'ip', 'addr', 'del', 'fd01::a00:10c/128', 'dev', 'eth0');
  });

  test('another MTU takes effect on links that are there', async () => {
    const mtuOf = async (netns: string, link: string) =>
      /mtu (\d+)/.exec(await inNetns(netns, 'ip', 'link', 'show', link))?.[1];
    for (const [options, expected] of [
      [{ mtu: 1400 }, '1400'],
      // another host's link carries less, or more
      [{ underlayMtu: 1420 }, '1370'],
      [{ underlayMtu: 9000 }, '1450'],
    ] as const) {
      const networks = [FRONT, INGRESS].map((it) => set('network', { ...it, ...options }));
      await at(0).apply(networks);
      const pin = `${at(0).dir}/netns/${FRONT.id}`;
      expect(await mtuOf(client.netns, 'eth1')).toBe(expected);
      expect(await mtuOf(pin, 'vx0')).toBe(expected);
      expect(await mtuOf(at(0).netns, 'skep_in')).toBe(expected);
      expect((await at(0).verify()).drifts).toEqual([]);
    }
  });

  test('nothing of it is drift at rest; what is deleted by hand comes back', async () => {
    for (const host of lab.hosts) {
      expect(await host.verify()).toMatchObject({ drifts: [], failures: [] });
    }
    const pin = `${at(0).dir}/netns/${FRONT.id}`;
    const neighbour = ['fd01::a00:10c', 'dev', 'vx0'];
    await inNetns(pin, 'ip', '-6', 'neigh', 'del', ...neighbour);
    await inNetns(client.netns, 'nft', 'delete', 'table', 'ip6', 'skep');
    await inNetns(client.netns, 'ip', '-6', 'addr', 'flush', 'dev', 'eth1');
    await inNetns(web1.netns, 'ip', '-6', 'rule', 'flush');
    await inNetns(web1.netns, 'ip', '-6', 'rule', 'add', 'priority', '32766', 'lookup', 'main');
    await inNetns(at(0).netns, 'nft', 'delete', 'table', 'ip6', 'skep');
    await inNetns(
      web1.netns,
      'ip',
      '-6',
      'route',
      'del',
      'default',
      'dev',
      'eth2',
      'metric',
      '1024',
    );
    await inNetns(at(0).netns, 'ip', '-6', 'rule', 'del', 'priority', '1001');
    await inNetns(at(0).netns, 'ip', '-6', 'addr', 'flush', 'dev', 'skep_gw', 'scope', 'global');
    await at(0).verify(true);
    expect(await at(0).drifts()).toMatchObject({ left: 0 });
    expect((await at(0).drifts()).repaired).toBeGreaterThan(4);
    expect(await httpFrom(client.netns, '[fd01::a00:10c]')).toMatch(/^web2 /);
    expect(await namesFrom(lab.outside, 'fd77::1', 8080)).toHaveLength(2);
    const ping = await tryInNetns(web1.netns, 'busybox', 'ping', '-6', '-c1', '-W2', OUTSIDE);
    expect(ping).toContain('1 packets received');
    expect(await httpFrom(at(0).netns, '[::1]', 8080)).toMatch(/^web/);
  }, 60_000);

  test.each([
    ['flushed', 'ip -6 route flush table main'],
    [
      'removed one by one',
      'for at in $(ip -6 route show | cut -d" " -f1); do ip -6 route del $at || true; done',
    ],
  ])(
    'the routes of a task, %s, are put back',
    async (_, damage) => {
      const { repaired } = await at(0).drifts();
      await inNetns(web1.netns, 'sh', '-c', damage);
      await vi.waitFor(
        async () => {
          expect((await at(0).drifts()).repaired).toBeGreaterThan(repaired + 1);
          expect(await at(0).verify()).toMatchObject({ drifts: [], failures: [] });
        },
        { timeout: 10_000, interval: 200 },
      );
      expect(await httpFrom(web1.netns, '[fd01::a00:10c]')).toMatch(/^web2 /);
      expect(await httpFrom(client.netns, '[fd01::a00:10b]')).toMatch(/^web1 /);
      expect(await namesFrom(lab.outside, 'fd77::1', 8080)).toHaveLength(2);
      const ping = await tryInNetns(web1.netns, 'busybox', 'ping', '-6', '-c1', '-W2', OUTSIDE);
      expect(ping).toContain('1 packets received');
    },
    60_000,
  );

  test('a task that was attached before the daemon restarted keeps what it has', async () => {
    const host = at(1);
    await host.crash();
    await host.start();
    await host.adopt(attachRequest(seats().web2, web2));
    await host.apply(
      [
        ...[INGRESS, FRONT].map((item) => set('network', item)),
        ...Object.values(seats())
          .flat()
          .filter(({ networkId }) => networkId !== BACK.id)
          .map((seat) => set('endpoint', seat)),
        ...ingressPeers(INGRESS, lab.hosts),
        set('serviceEntry', service(FRONT, 'web', '10.0.1.2')),
        set('port', port('web', 8080, 80)),
      ],
      true,
    );
    expect(await host.verify()).toMatchObject({ drifts: [], failures: [] });
    expect(await httpFrom(client.netns, '[fd01::a00:10c]')).toMatch(/^web2 /);
    expect(await namesFrom(lab.outside, 'fd77::2', 8080)).toHaveLength(2);
  }, 60_000);

  test('a task that ended has no address, name or place in the virtual IP', async () => {
    const [seat] = seats().web2;
    if (seat) for (const host of lab.hosts) await host.apply([remove('endpoint', seat)]);
    expect(await namesFrom(client.netns, 'fd01::a00:102')).toEqual(['web1 fd01::a00:10e']);
    expect((await dnsFrom(client.netns, 'tasks.web', 'AAAA')).data).toEqual(['fd01::a00:10b']);
    const pin = `${at(0).dir}/netns/${FRONT.id}`;
    expect(await inNetns(pin, 'ip', '-6', 'neigh')).not.toContain('a00:10c');
  });

  test('the ingress network goes and comes with its rules of IPv6', async () => {
    const host = at(2);
    const seat = peer(INGRESS, host, '10.0.0.4');
    const tables = () => inNetns(host.netns, 'nft', 'list', 'tables');
    await host.apply([remove('network', INGRESS)]);
    expect(await tables()).not.toContain('ip6');
    const { repaired } = await host.drifts();
    await host.apply([set('network', INGRESS)]);
    await host.apply([set('peer', seat)]);
    expect(await tables()).toContain('table ip6 skep');
    expect((await host.verify()).drifts).toEqual([]);
    expect((await host.drifts()).repaired).toBe(repaired);
    expect(await httpFrom(lab.outside, '[fd77::3]', 8080)).toMatch(/^web[12] fd77::100$/);
  });

  test('at leave the host is as it was', async () => {
    const { netns } = at(2);
    const forwarding = async () => {
      const shown = await inNetns(
        netns,
        'unshare',
        '-m',
        'sh',
        '-c',
        'sysctl -n net.ipv6.conf.all.forwarding',
      );
      return shown.trim().split('\n').at(-1);
    };
    expect(await forwarding()).toBe('1');
    await at(2).removeAll();
    expect(await forwarding()).toBe('0');
    expect(await inNetns(netns, 'nft', 'list', 'tables')).toBe('');
    expect(await inNetns(netns, 'ip', '-brief', 'link')).not.toContain('skep');
  });
});

describe.skipIf(!isRoot)('hosts with IPv6 addresses (root only)', () => {
  let lab: NetworkLab;
  beforeAll(async () => {
    lab = await NetworkLab.create('sk6u', 2);
  }, 60_000);
  afterAll(() => lab?.close());

  test('tasks meet over a VXLAN of IPv6', async () => {
    const hosts = lab.hosts.map(
      ({ nodeId, netns, dir }, i) => new LabHost(nodeId, `fd77::${i + 1}`, netns, dir),
    );
    lab.hosts.splice(0, 2, ...hosts);
    const [here, there] = hosts as [LabHost, LabHost];
    for (const { netns, address } of hosts) {
      await inNetns(netns, 'ip', 'addr', 'add', `${address}/64`, 'dev', 'up0', 'nodad');
    }
    const client = endpoint(BACK, 'client', 1, here, '10.0.2.14');
    const web = endpoint(BACK, 'web', 1, there, '10.0.2.11');
    for (const host of hosts) {
      await host.start();
      await host.apply([set('network', BACK), set('endpoint', client), set('endpoint', web)], true);
    }
    const tasks = [await lab.task('client'), await lab.task('web')] as const;
    await here.attach(attachRequest([client], tasks[0]));
    await there.attach(attachRequest([web], tasks[1]));
    expect(await httpFrom(tasks[0].netns, '10.0.2.11')).toBe('web 10.0.2.14');
    expect(await inNetns(tasks[0].netns, 'ip', 'link', 'show', 'eth0')).toContain('mtu 1430');
    expect((await here.verify()).drifts).toEqual([]);
    for (const host of hosts) await host.removeAll();
  }, 60_000);
});

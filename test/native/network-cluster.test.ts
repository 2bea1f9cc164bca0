/** Three hosts, two services: the data path end to end, in namespaces. Needs root. */
import { existsSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { AssignedEndpoint } from '../../common/model/assignment.ts';
import type { PortConfig } from '../../common/model/service.ts';
import {
  httpFrom,
  inNetns,
  type LabHost,
  type LabTask,
  NetworkLab,
  PYTHON,
  sctpFrom,
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

const INGRESS = network('ingress', 4096, 0, { ingress: true });
const FRONT = network('front', 4097, 1);
const BACK = network('back', 4098, 2, { internal: true });
const LATE_SEAT = '10.0.0.5';

async function answersOf(netns: string, address: string, portNumber: number, count: number) {
  const names = new Set<string>();
  for (let i = 0; i < count; i++) {
    names.add((await httpFrom(netns, address, portNumber)).split(' ')[0] ?? '');
  }
  return [...names].sort();
}

const dig = (netns: string, name: string) =>
  tryInNetns(netns, 'busybox', 'nslookup', name, '127.0.0.11');

describe.skipIf(!isRoot)('network of a node (root only)', () => {
  let lab: NetworkLab;
  let hosts: [LabHost, LabHost, LabHost];
  let late: LabHost;
  const everyHost = (work: (host: LabHost) => Promise<unknown>) => Promise.all(hosts.map(work));
  let web1: LabTask;
  let web2: LabTask;
  let db: LabTask;
  let client: LabTask;
  // web: front + ingress on hosts 0 and 1; db: back on host 1; client: front + back on host 0.
  const at = (i: number) => hosts[i] as LabHost;
  const seats = () => ({
    web1: [
      endpoint(FRONT, 'web', 1, at(0), '10.0.1.11'),
      endpoint(INGRESS, 'web', 1, at(0), '10.0.0.11'),
    ],
    web2: [
      endpoint(FRONT, 'web', 2, at(1), '10.0.1.12'),
      endpoint(INGRESS, 'web', 2, at(1), '10.0.0.12'),
    ],
    db: [endpoint(BACK, 'db', 1, at(1), '10.0.2.13')],
    client: [
      endpoint(FRONT, 'client', 1, at(0), '10.0.1.14'),
      endpoint(BACK, 'client', 1, at(0), '10.0.2.14'),
    ],
  });
  const WEB = service(FRONT, 'web', '10.0.1.2', ['site']);
  const DB = service(BACK, 'db', null);
  const everything = () => [
    ...[INGRESS, FRONT, BACK].map((item) => set('network', item)),
    ...ingressPeers(INGRESS, hosts),
    ...Object.values(seats())
      .flat()
      .map((item) => set('endpoint', item)),
    set('serviceEntry', WEB),
    set('serviceEntry', DB),
    set('port', port('web', 8080, 80)),
    set('port', port('web', 8081, 81, 'udp')),
    set('port', port('web', 8082, 82, 'sctp')),
  ];

  beforeAll(async () => {
    lab = await NetworkLab.create('skn', 4);
    hosts = lab.hosts.slice(0, 3) as [LabHost, LabHost, LabHost];
    late = lab.hosts[3] as LabHost;
    await lab.begin(everything(), hosts);
    [web1, web2, db, client] = await Promise.all([
      lab.attached(hosts[0], 'web1', seats().web1),
      lab.attached(hosts[1], 'web2', seats().web2),
      lab.attached(hosts[1], 'db1', seats().db),
      lab.attached(hosts[0], 'client1', seats().client),
    ]);
  });

  afterAll(async () => {
    await lab?.close();
  });

  test('tasks on two hosts reach each other by address', async () => {
    expect(await httpFrom(client.netns, '10.0.1.11')).toBe('web1 10.0.1.14');
    expect(await httpFrom(client.netns, '10.0.1.12')).toBe('web2 10.0.1.14');
    expect(await httpFrom(client.netns, '10.0.2.13')).toBe('db1 10.0.2.14');
  });

  test('packets between hosts are of no connection, those inside are', async () => {
    expect(await httpFrom(lab.outside, at(2).address, 8080)).toMatch(/^web/);
    const known = await everyHost(({ netns }) => inNetns(netns, 'cat', '/proc/net/nf_conntrack'));
    expect(known[2]).toContain('dport=8080');
    for (const connections of known) expect(connections).not.toContain('dport=4789');
  });

  test('packets inside are not held against rules of IP where there are none', async () => {
    const asked = await everyHost(({ dir }) =>
      inNetns(`${dir}/netns/${INGRESS.id}`, 'cat', '/proc/sys/net/bridge/bridge-nf-call-iptables'),
    );
    expect(asked).toEqual(['0\n', '0\n', '0\n']);
  });

  test('the MTU inside is the underlay less the VXLAN headers, and full packets pass', async () => {
    const link = await inNetns(client.netns, 'ip', '-o', 'link', 'show', 'eth0');
    expect(link).toContain('mtu 1450');
    const ping = await tryInNetns(
      client.netns,
      'busybox',
      'ping',
      '-c1',
      '-s',
      '1422',
      '10.0.1.12',
    );
    expect(ping).toContain('1 packets received');
  });

  test('the virtual IP alternates backends and keeps the client address', async () => {
    const answers: string[] = [];
    for (let i = 0; i < 4; i++) answers.push(await httpFrom(client.netns, '10.0.1.2'));
    expect(new Set(answers)).toEqual(new Set(['web1 10.0.1.14', 'web2 10.0.1.14']));
    expect(answers[0]).toBe(answers[2]);
    expect(answers[0]).not.toBe(answers[1]);
  });

  test('names of the own networks are answered, others are not', async () => {
    expect(await dig(client.netns, 'web')).toContain('10.0.1.2');
    expect(await dig(client.netns, 'site')).toContain('10.0.1.2');
    expect(await dig(client.netns, 'web.front')).toContain('10.0.1.2');
    const tasks = await dig(client.netns, 'tasks.web');
    expect(tasks).toContain('10.0.1.11');
    expect(tasks).toContain('10.0.1.12');
    expect(await dig(client.netns, 'db')).toContain('10.0.2.13');
    expect(await dig(client.netns, 'web.2')).toContain('10.0.1.12');
    expect(await dig(web1.netns, 'db')).not.toContain('10.0.2.13');
  });

  test('a published port answers on every host, and the client keeps its address', async () => {
    for (const host of hosts) {
      expect(await answersOf(lab.outside, host.address, 8080, 4)).toEqual(['web1', 'web2']);
      expect(await httpFrom(lab.outside, host.address, 8080)).toContain(lab.outsideAddress);
    }
  });

  test('a published port answers on every host by its own addresses and localhost', async () => {
    for (const host of hosts) {
      expect(await answersOf(host.netns, '127.0.0.1', 8080, 4)).toEqual(['web1', 'web2']);
      expect(await answersOf(host.netns, host.address, 8080, 4)).toEqual(['web1', 'web2']);
    }
  });

  test('a published UDP port keeps the client address, and the answer comes from the port asked', async () => {
    for (const host of hosts) {
      const answers = [
        await udpFrom(lab.outside, host.address, 8081),
        await udpFrom(lab.outside, host.address, 8081),
      ];
      for (const answer of answers) {
        expect(answer).toMatch(new RegExp(`^web[12] ${lab.outsideAddress} from ${host.address}$`));
      }
      expect(await udpFrom(host.netns, '127.0.0.1', 8081)).toMatch(/^web[12] .* from 127.0.0.1$/);
    }
  });

  test.skipIf(!existsSync(PYTHON))('SCTP goes the ways of UDP', async () => {
    await lab.sctpServer(web1.netns, 1);
    await lab.sctpServer(web2.netns, 2);
    const direct = await sctpFrom(client.netns, '10.0.1.12', 82);
    expect(direct).toBe('2 10.0.1.14 from 10.0.1.12:82');
    expect(await sctpFrom(client.netns, '10.0.1.2', 82)).toMatch(
      /^[12] 10\.0\.1\.14 from 10\.0\.1\.2:82$/,
    );
    for (const { address } of hosts) {
      const answer = await sctpFrom(lab.outside, address, 8082);
      expect(answer.slice(1)).toBe(` ${lab.outsideAddress} from ${address}:8082`);
    }
  });

  test('a host that joins late has all of it', async () => {
    await late.start();
    await everyHost((host) => host.apply([set('peer', peer(INGRESS, late, LATE_SEAT))]));
    await late.apply([...everything(), set('peer', peer(INGRESS, late, LATE_SEAT))], true);
    expect(await answersOf(lab.outside, late.address, 8080, 4)).toEqual(['web1', 'web2']);
    expect(await httpFrom(lab.outside, late.address, 8080)).toContain(lab.outsideAddress);
    expect(await udpFrom(lab.outside, late.address, 8081)).toContain(` ${lab.outsideAddress} from`);
    expect(await answersOf(late.netns, '127.0.0.1', 8080, 4)).toEqual(['web1', 'web2']);
    // A task of its own is known to the others at once, and knows them.
    const seat = endpoint(FRONT, 'far', 1, late, '10.0.1.44');
    await Promise.all(lab.hosts.map((host) => host.apply([set('endpoint', seat)])));
    const task = await lab.attached(late, 'far1', [seat]);
    expect(await answersOf(task.netns, '10.0.1.2', 80, 4)).toEqual(['web1', 'web2']);
    expect(await httpFrom(client.netns, '10.0.1.44')).toBe('far1 10.0.1.14');
    expect((await late.verify()).drifts).toEqual([]);
    await task.end();
    await late.detach(seat.taskId);
    await late.removeAll();
    const gone = [remove('endpoint', seat), remove('peer', peer(INGRESS, late, LATE_SEAT))];
    await everyHost((host) => host.apply(gone));
  });

  test('tasks reach the outside and published ports of hosts', async () => {
    const ping = await tryInNetns(web1.netns, 'busybox', 'ping', '-c1', '-W2', lab.outsideAddress);
    expect(ping).toContain('1 packets received');
    for (const host of hosts) {
      expect(await answersOf(web1.netns, host.address, 8080, 4)).toEqual(['web1', 'web2']);
    }
  });

  test('an internal network has no way out', async () => {
    const ping = await tryInNetns(db.netns, 'busybox', 'ping', '-c1', '-W1', lab.outsideAddress);
    expect(ping).toMatch(/unreachable/);
  });

  test('a backend that stops serving gets no new connection; with none the VIP refuses at once', async () => {
    const [front1, ingress1] = seats().web1.map((seat) => ({ ...seat, serving: false }));
    const [front2, ingress2] = seats().web2.map((seat) => ({ ...seat, serving: false }));
    const first = [front1, ingress1].map((item) => set('endpoint', item as AssignedEndpoint));
    const second = [front2, ingress2].map((item) => set('endpoint', item as AssignedEndpoint));
    await everyHost((host) => host.apply(first));
    expect(await answersOf(client.netns, '10.0.1.2', 80, 4)).toEqual(['web2']);
    expect(await answersOf(lab.outside, hosts[2].address, 8080, 4)).toEqual(['web2']);
    await everyHost((host) => host.apply(second));
    expect(await httpFrom(client.netns, '10.0.1.2')).toMatch(/refused|Couldn't connect/);
    expect(await httpFrom(lab.outside, hosts[2].address, 8080)).toMatch(/refused|Couldn't connect/);
    await everyHost((host) => host.apply(everything(), true));
    expect(await answersOf(client.netns, '10.0.1.2', 80, 4)).toEqual(['web1', 'web2']);
  });

  test('a host-mode port answers on its host, goes with its task, and can be the port of the next', async () => {
    const seat = endpoint(FRONT, 'solo', 1, at(2), '10.0.1.30');
    const task = await lab.task('solo1');
    const given: PortConfig = {
      name: '',
      protocol: 'tcp',
      targetPort: 80,
      publishedPort: 9090,
      publishMode: 'host',
      hostIp: '',
    };
    const free = { ...given, publishedPort: 0 };
    await everyHost((host) => host.apply([set('endpoint', seat)]));
    const { hostPorts } = await hosts[2].attach(
      attachRequest([seat], task, { hostPorts: [given, free] }),
    );
    const chosen = hostPorts[1]?.publishedPort ?? 0;
    expect(chosen).toBeGreaterThan(1024);
    expect(await httpFrom(lab.outside, hosts[2].address, 9090)).toBe(`solo1 ${lab.outsideAddress}`);
    expect(await httpFrom(hosts[2].netns, '127.0.0.1', chosen)).toMatch(/^solo1 /);
    expect(await httpFrom(web1.netns, '10.0.1.30')).toBe('solo1 10.0.1.11');
    const other = endpoint(FRONT, 'solo', 2, at(2), '10.0.1.31');
    await expect(
      hosts[2].attach(attachRequest([other], task, { hostPorts: [given] })),
    ).rejects.toThrow(/9090\/tcp/);
    // One that is attached without, as it waits for the first to end, has the port after that.
    const next = await lab.task('solo2');
    await everyHost((host) => host.apply([set('endpoint', other)]));
    await hosts[2].attach(attachRequest([other], next));
    await expect(hosts[2].publish(other.taskId, [given])).rejects.toThrow(/9090\/tcp/);
    expect(await httpFrom(lab.outside, hosts[2].address, 9090)).toMatch(/^solo1 /);
    await task.end();
    await hosts[2].detach(seat.taskId);
    await everyHost((host) => host.apply([remove('endpoint', seat)]));
    expect(await httpFrom(lab.outside, hosts[2].address, 9090)).toMatch(/refused|Couldn't connect/);
    for (let time = 0; time < 2; time++) {
      expect(await hosts[2].publish(other.taskId, [given])).toEqual([given]);
    }
    expect(await httpFrom(lab.outside, hosts[2].address, 9090)).toMatch(/^solo2 /);
    await next.end();
    await hosts[2].detach(other.taskId);
    await everyHost((host) => host.apply([remove('endpoint', other)]));
    expect(await httpFrom(lab.outside, hosts[2].address, 9090)).toMatch(/refused|Couldn't connect/);
  });

  test('a place has the name and the settings of its link that were asked for, over a daemon’s end, too', async () => {
    const task = await lab.task('named1');
    const seats = [
      endpoint(FRONT, 'named', 1, at(2), '10.0.1.40'),
      endpoint(BACK, 'named', 1, at(2), '10.0.2.40'),
    ];
    const sysctls = { 'ipv4/conf/IFNAME/log_martians': '1' };
    const options = { [BACK.id]: { link: 'inner', sysctls } };
    await everyHost((host) => host.apply(seats.map((seat) => set('endpoint', seat))));
    await hosts[2].attach(attachRequest(seats, task, { options }));
    const shown = await inNetns(task.netns, 'ip', '-brief', 'address');
    expect(shown).toMatch(/^eth0\S* .* 10\.0\.1\.40\/24/m);
    expect(shown).toMatch(/^inner\S* .* 10\.0\.2\.40\/24/m);
    const martians = (link: string) => `net.ipv4.conf.${link}.log_martians`;
    const kept = await inNetns(
      task.netns,
      'busybox',
      'sysctl',
      martians('inner'),
      martians('eth0'),
    );
    expect(kept).toBe(`${martians('inner')} = 1\n${martians('eth0')} = 0\n`);
    expect(await httpFrom(db.netns, '10.0.2.40')).toBe('named1 10.0.2.13');
    await hosts[2].crash();
    await hosts[2].start();
    await hosts[2].adopt(attachRequest(seats, task, { options }));
    const named = seats.map((seat) => set('endpoint', seat));
    await hosts[2].apply([...everything(), ...named], true);
    expect(await hosts[2].verify()).toMatchObject({ drifts: [], failures: [] });
    expect(await httpFrom(db.netns, '10.0.2.40')).toBe('named1 10.0.2.13');
    await hosts[2].detach(seats[0]!.taskId);
    await task.end();
    await everyHost((host) => host.apply(seats.map((seat) => remove('endpoint', seat))));
    const other = await lab.task('bad1');
    const bad = { [FRONT.id]: { link: '', sysctls: { 'ipv4/conf/IFNAME/nothing': '1' } } };
    await expect(
      hosts[2].attach(attachRequest([seats[0]!], other, { options: bad })),
    ).rejects.toThrow(
      'set net.ipv4.conf.IFNAME.nothing: the kernel of this node has no such setting',
    );
    await other.end();
  });

  test('after kill -9 of the daemon tasks go on, and the next one takes them up', async () => {
    await hosts[0].crash();
    expect(await httpFrom(client.netns, '10.0.1.12')).toBe('web2 10.0.1.14');
    expect(await httpFrom(lab.outside, hosts[0].address, 8080)).toContain(lab.outsideAddress);
    await hosts[0].start();
    await hosts[0].adopt(attachRequest(seats().web1, web1));
    await hosts[0].adopt(attachRequest(seats().client, client));
    await hosts[0].apply(everything(), true);
    expect(await dig(client.netns, 'web')).toContain('10.0.1.2');
    expect(await answersOf(client.netns, '10.0.1.2', 80, 4)).toEqual(['web1', 'web2']);
    expect(await answersOf(lab.outside, hosts[0].address, 8080, 4)).toEqual(['web1', 'web2']);
    expect((await readdir(`${hosts[0].dir}/netns`)).sort()).toEqual(
      [INGRESS.id, FRONT.id, BACK.id].sort(),
    );
  });

  test('detach removes a network with its last task; leaving removes everything', async () => {
    await db.end();
    await hosts[1].detach(seats().db[0]?.taskId ?? '');
    expect((await readdir(`${hosts[1].dir}/netns`)).sort()).toEqual([INGRESS.id, FRONT.id].sort());
    for (const task of [web1, web2, client]) await task.end();
    for (const host of hosts) {
      for (const seat of [seats().web1, seats().web2, seats().client]) {
        await host.detach(seat[0]?.taskId ?? '');
      }
      await host.removeAll();
      expect(existsSync(host.dir)).toBe(false);
      expect(await inNetns(host.netns, 'nft', 'list', 'tables')).toBe('');
      const links = await inNetns(host.netns, 'ip', '-o', 'link');
      expect(links.trim().split('\n')).toHaveLength(2);
      expect(await inNetns(host.netns, 'cat', '/proc/sys/net/ipv4/ip_forward')).toBe('0\n');
      const rules = await inNetns(host.netns, 'ip', 'rule');
      expect(rules.trim().split('\n')).toHaveLength(3);
    }
  });
});

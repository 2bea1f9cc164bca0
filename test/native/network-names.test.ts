/** Names, drained backends and odd networks on two hosts with a small underlay MTU. Needs root. */
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { AssignedEndpoint } from '../../common/model/assignment.ts';
import { defaultHostname } from '../../common/model/container-id.ts';
import {
  command,
  dnsFrom,
  httpFrom,
  inNetns,
  type LabHost,
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
  port,
  remove,
  service,
  set,
} from '../support/network-scene.ts';

const isRoot = process.getuid?.() === 0;
const INGRESS = network('ingress', 4096, 0, { ingress: true });
const INNER = network('inner', 5000, 5, { internal: true });
const OPEN = network('open', 5002, 7);
const MANY = network('many', 5001, 6);

describe.skipIf(!isRoot)('names and edges of a node network (root only)', () => {
  let lab: NetworkLab;
  let host: LabHost;
  let other: LabHost;
  let api: LabTask;
  let peer: LabTask;
  const seatsOfApi = () => [
    endpoint(INNER, 'api', 1, host, '10.0.5.11', { hostname: 'box' }),
    endpoint(INGRESS, 'api', 1, host, '10.0.0.11'),
  ];
  const seatOfPeer = () => endpoint(INNER, 'peer', 1, other, '10.0.5.12');

  const request = (seats: readonly AssignedEndpoint[], task: LabTask) =>
    attachRequest(seats, task, { hostname: 'box' });

  const everything = () => [
    ...[INGRESS, INNER, MANY].map((item) => set('network', item)),
    ...ingressPeers(INGRESS, [host, other]),
    ...[...seatsOfApi(), seatOfPeer()].map((item) => set('endpoint', item)),
    set('serviceEntry', service(INNER, 'api', '10.0.5.2')),
    set('serviceEntry', service(INNER, 'peer', '10.0.5.3')),
    set('port', port('api', 8080, 80)),
    set('port', port('api', 8081, 81, 'udp')),
  ];

  beforeAll(async () => {
    lab = await NetworkLab.create('skm', 2, 1400);
    [host, other] = lab.hosts as [LabHost, LabHost];
    await lab.nameserver(lab.outside);
    await lab.everyHost((it) => it.start(lab.outsideAddress));
    await lab.everyHost((it) => it.apply(everything(), true));
    [api, peer] = await Promise.all([lab.task('api1'), lab.task('peer1')]);
    await host.attach(request(seatsOfApi(), api));
    await other.attach(request([seatOfPeer()], peer));
  });

  afterAll(async () => {
    await lab?.close();
  });

  test.each(['udp', 'tcp'] as const)('names are answered over %s', async (transport) => {
    const ask = (name: string, type = 'A') => dnsFrom(api.netns, name, type, transport);
    expect(await ask('peer')).toEqual({ rcode: 'NOERROR', data: ['10.0.5.3'], cut: false });
    expect((await ask('TASKS.Peer')).data).toEqual(['10.0.5.12']);
    expect((await ask(defaultHostname(seatOfPeer().taskId))).data).toEqual(['10.0.5.12']);
    expect((await ask('box')).data).toEqual(['10.0.5.11']);
    expect(await ask('peer', 'AAAA')).toEqual({ rcode: 'NOERROR', data: [], cut: false });
    expect((await ask('12.5.0.10.in-addr.arpa', 'PTR')).data).toEqual(['peer.1.task-peer-1.inner']);
    // A name would be a way out of a network that has none.
    expect((await ask('outside.example')).rcode).toBe('SERVFAIL');
  });

  test('a response that somebody sends is not answered', async () => {
    const script = fileURLToPath(new URL('../support/network-dns.mjs', import.meta.url));
    const args = [script, 'respond', '127.0.0.11', 'peer', 'A'];
    expect(JSON.parse(await inNetns(api.netns, process.execPath, ...args))).toEqual([2]);
  });

  test('names of others are asked for where there is a way out', async () => {
    const seat = endpoint(OPEN, 'open', 1, host, '10.0.7.20');
    const task = await lab.task('open1');
    await lab.everyHost((it) => it.apply([set('network', OPEN), set('endpoint', seat)]));
    await host.attach(request([seat], task));
    expect((await dnsFrom(task.netns, 'outside.example')).data).toEqual(['203.0.113.7']);
    expect((await dnsFrom(task.netns, 'nowhere.example')).rcode).toBe('NXDOMAIN');
    await task.end();
    await host.detach(seat.taskId);
  });

  test('a task’s own nameserver is asked from where the task is', async () => {
    const seat = endpoint(INNER, 'own', 1, host, '10.0.5.21');
    await lab.everyHost((it) => it.apply([set('endpoint', seat)]));
    const dns = { nameservers: ['10.0.5.12'], search: [], options: [] };
    const task = await lab.attached(host, 'own1', [seat], { dns });
    await lab.nameserver(peer.netns, '10.0.5.12');
    for (const transport of ['udp', 'tcp'] as const) {
      const answer = await dnsFrom(task.netns, 'outside.example', 'A', transport);
      expect(answer.data).toEqual(['203.0.113.7']);
    }
    // What the server cuts is told as cut, and the client's second question, over TCP, is asked over TCP.
    expect(await dnsFrom(task.netns, 'large.example')).toMatchObject({ data: [], cut: true });
    const whole = await dnsFrom(task.netns, 'large.example', 'A', 'tcp');
    expect(whole).toMatchObject({ rcode: 'NOERROR', cut: false });
    expect(whole.data).toHaveLength(60);
    expect((await dnsFrom(task.netns, 'large.example')).cut).toBe(true);
    // What it was answered is its own: others ask other servers.
    expect((await dnsFrom(api.netns, 'outside.example')).rcode).toBe('SERVFAIL');
    await task.end();
    await host.detach(seat.taskId);
    await lab.everyHost((it) => it.apply([remove('endpoint', seat)]));
  });

  test('a nameserver that does not answer means SERVFAIL', async () => {
    const quiet = endpoint(OPEN, 'quiet', 1, host, '10.0.7.21');
    const task = await lab.task('quiet1');
    await lab.everyHost((it) => it.apply([set('network', OPEN), set('endpoint', quiet)]));
    await host.attach({
      ...request([quiet], task),
      dns: { nameservers: ['172.30.77.250'], search: [], options: [] },
    });
    expect((await dnsFrom(task.netns, 'outside.example')).rcode).toBe('SERVFAIL');
    await task.end();
    await host.detach(quiet.taskId);
  });

  test('a list too long for a datagram is cut and whole over TCP', async () => {
    const list = Array.from({ length: 60 }, (_, i) =>
      endpoint(INNER, 'crowd', i + 1, other, `10.0.5.${100 + i}`),
    );
    await host.apply([
      ...list.map((item) => set('endpoint', item)),
      set('serviceEntry', service(INNER, 'crowd', null)),
    ]);
    const cut = await dnsFrom(api.netns, 'crowd');
    expect(cut.cut).toBe(true);
    expect(cut.data.length).toBeGreaterThan(20);
    expect((await dnsFrom(api.netns, 'crowd', 'A', 'tcp')).data).toHaveLength(60);
    await host.apply(list.map((item) => remove('endpoint', item)));
    expect((await dnsFrom(api.netns, 'crowd')).data).toEqual([]);
    expect(
      await inNetns(`${host.dir}/netns/${INNER.id}`, 'ip', 'neigh', 'show', 'dev', 'vx0'),
    ).not.toContain('10.0.5.100');
  });

  test('the MTU follows the underlay', async () => {
    expect(await inNetns(api.netns, 'ip', '-o', 'link', 'show', 'eth0')).toContain('mtu 1350');
    const ping = await tryInNetns(api.netns, 'busybox', 'ping', '-c1', '-s', '1322', '10.0.5.12');
    expect(ping).toContain('1 packets received');
  });

  test('a task with internal networks only still answers its published ports, TCP and UDP', async () => {
    for (const entry of [host, other]) {
      expect(await httpFrom(lab.outside, entry.address, 8080)).toBe(`api1 ${lab.outsideAddress}`);
      expect(await udpFrom(lab.outside, entry.address, 8081)).toBe(
        `api1 ${lab.outsideAddress} from ${entry.address}`,
      );
    }
    const out = await tryInNetns(api.netns, 'busybox', 'ping', '-c1', '-W1', lab.outsideAddress);
    expect(out).not.toContain('1 packets received');
  });

  test.each([
    ['while the daemon looks', '40000'],
    ['while the daemon is dead', '40001'],
  ])('UDP flows of a backend that ends %s move to another', async (when, port) => {
    const second = endpoint(INNER, 'peer', 2, host, '10.0.5.13');
    const task = await lab.task('peer2');
    await lab.everyHost((it) => it.apply([set('endpoint', second)]));
    await host.attach(request([second], task));
    // One source port: one flow, which keeps its backend while that is there.
    const script = new URL('../support/network-udp.mjs', import.meta.url).pathname;
    const ask = () =>
      inNetns(api.netns, process.execPath, script, '10.0.5.3', '81', port).then((it) => it.trim());
    const first = await ask();
    expect(await ask()).toBe(first);
    const gone = remove('endpoint', first.startsWith('peer1') ? seatOfPeer() : second);
    if (when === 'while the daemon looks') {
      await lab.everyHost((it) => it.apply([gone]));
    } else {
      await host.crash();
      await host.start(lab.outsideAddress);
      await host.adopt(request(seatsOfApi(), api));
      await host.adopt(request([second], task));
      const left = [...everything(), set('endpoint', second)].filter(({ key }) => key !== gone.key);
      await lab.everyHost((it) => it.apply(left, true));
    }
    const moved = await ask();
    expect(moved).toMatch(/^peer[12] /);
    expect(moved.slice(0, 5)).not.toBe(first.slice(0, 5));
    await task.end();
    await host.detach(second.taskId);
    await lab.everyHost((it) => it.apply(everything(), true));
  });

  test('a virtual IP that is removed is an address like any other again', async () => {
    await host.apply([remove('serviceEntry', service(INNER, 'peer', '10.0.5.3'))]);
    expect(await inNetns(api.netns, 'nft', 'list', 'table', 'ip', 'skep')).not.toContain(
      '10.0.5.3',
    );
    expect((await dnsFrom(api.netns, 'peer')).data).not.toContain('10.0.5.3');
    await host.apply(everything(), true);
    expect(await httpFrom(api.netns, '10.0.5.3')).toBe('peer1 10.0.5.11');
  });

  test('a network comes back at once after its last task went', async () => {
    for (let round = 0; round < 3; round++) {
      const seat = endpoint(MANY, 'brief', 1, host, '10.0.6.10');
      const task = await lab.task('brief1');
      await host.apply([set('endpoint', seat)]);
      await host.attach(request([seat], task));
      expect(await inNetns(host.netns, 'ss', '-lun')).toContain(':4789');
      await task.end();
      await host.detach(seat.taskId);
      expect(await command('ls', `${host.dir}/netns`)).not.toContain(MANY.id);
    }
  });

  test('an overlay whose pin was lost is made anew under the running task', async () => {
    await other.crash();
    await command('umount', '-l', `${other.dir}/netns/${INNER.id}`);
    await other.start(lab.outsideAddress);
    await other.adopt(request([seatOfPeer()], peer));
    await other.apply(everything(), true);
    expect(await httpFrom(api.netns, '10.0.5.3')).toBe('peer1 10.0.5.11');
    expect(await httpFrom(peer.netns, '10.0.5.2')).toBe('api1 10.0.5.12');
  });

  test('a task that is attached twice keeps what it has', async () => {
    expect(await host.attach(request(seatsOfApi(), api))).toEqual({ hostPorts: [] });
    expect(await httpFrom(peer.netns, '10.0.5.11')).toBe('api1 10.0.5.12');
  });

  test('leaving removes everything, also what an unfinished start left in the directory', async () => {
    writeFileSync(`${host.dir}/netns/not-a-pin`, '');
    for (const task of [api, peer]) await task.end();
    await host.stop(); // the other one leaves while it runs
    await lab.everyHost(async (it) => {
      await it.removeAll();
      expect(await inNetns(it.netns, 'nft', 'list', 'tables')).toBe('');
      const links = await inNetns(it.netns, 'ip', '-o', 'link');
      expect(links.trim().split('\n')).toHaveLength(2);
    });
  });
});

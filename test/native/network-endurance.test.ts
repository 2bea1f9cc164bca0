/**
 * The data path under numbers and over time: connections that are idle, very many of them, very many tasks, floods to
 * who is gone. SKEP_PROOFS=full takes the numbers of issue 6. Needs root.
 */
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import {
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
const isFull = process.env['SKEP_PROOFS'] === 'full';
const CONNECTIONS = isFull ? 10_000 : 2_000;
const TASKS = isFull ? 500 : 60;
const UNDERLAY_MTU = 1400;
const MANY_PORT = 90;
/** Far above every timer that is shortened. */
const IDLE_MS = 4_000;
const SHORT_SECONDS = 1;
/** Swarm's balancer forgets a connection after 15 minutes. */
const IDLE_WANTED_SECONDS = 20 * 60;

const INGRESS = network('ingress', 4116, 0, { ingress: true });
const FRONT = network('front', 4117, 1, { subnet: '10.1.0.0/20' });
const BACK = network('back', 4118, 2);

describe.skipIf(!isRoot)('a network that is used hard (root only)', { timeout: 240_000 }, () => {
  let lab: NetworkLab;
  let entry: LabHost;
  let home: LabHost;
  let web1: LabTask;
  let web2: LabTask;
  let client: LabTask;
  const many = new URL('../support/network-many.mjs', import.meta.url).pathname;
  const seats = () => ({
    web1: [
      endpoint(FRONT, 'web', 1, home, '10.1.0.11'),
      endpoint(BACK, 'web', 1, home, '10.0.2.11'),
      endpoint(INGRESS, 'web', 1, home, '10.0.0.11'),
    ],
    web2: [
      endpoint(FRONT, 'web', 2, home, '10.1.0.12'),
      endpoint(INGRESS, 'web', 2, home, '10.0.0.12'),
    ],
    client: [endpoint(FRONT, 'client', 1, entry, '10.1.0.14')],
  });
  const WEB = service(FRONT, 'web', '10.1.0.2');
  const inTask = (task: LabTask, ...args: readonly string[]): Promise<string> =>
    inNetns(task.netns, process.execPath, many, ...args);
  const fromOutside = (...args: readonly string[]): Promise<string> =>
    inNetns(lab.outside, process.execPath, many, ...args);

  /** The whole set of each node. */
  const tables = () => [
    ...[INGRESS, FRONT, BACK].map((item) => set('network', item)),
    ...ingressPeers(INGRESS, lab.hosts),
    ...Object.values(seats())
      .flat()
      .map((item) => set('endpoint', item)),
    set('serviceEntry', WEB),
    set('port', port('web', 8080, 80)),
    set('port', port('web', 8081, 81, 'udp')),
    set('port', port('web', 8090, MANY_PORT)),
    set('port', port('web', 8090, MANY_PORT, 'udp')),
  ];

  // The entry host has no task of the service.
  beforeAll(async () => {
    lab = await NetworkLab.create('skh', 2, UNDERLAY_MTU);
    [entry, home] = lab.hosts as [LabHost, LabHost];
    await lab.everyHost((host) => host.start());
    await lab.everyHost((host) => host.apply(tables(), true));
    [web1, web2, client] = await Promise.all([
      lab.attached(home, 'web1', seats().web1),
      lab.attached(home, 'web2', seats().web2),
      lab.attached(entry, 'client', seats().client, wide(seats().client[0]!)),
    ]);
    for (const task of [web1, web2]) await lab.script(task.netns, many, 'serve', `${MANY_PORT}`);
  });
  afterAll(() => lab?.close());

  test('on an underlay with an MTU of 1400 full packets pass, with and without a virtual IP', async () => {
    expect(await inNetns(client.netns, 'ip', '-o', 'link', 'show', 'eth0')).toContain('mtu 1350');
    const sizeOf = (netns: string, at: string): Promise<string> => {
      const args = ['-s', '-m', '10', '-o', '/dev/null', '-w', '%{size_download}'];
      return tryInNetns(netns, 'curl', ...args, `http://${at}/bulk`);
    };
    expect(await sizeOf(client.netns, '10.1.0.2')).toBe('300000');
    expect(await sizeOf(client.netns, '10.1.0.11')).toBe('300000');
    expect(await sizeOf(lab.outside, `${entry.address}:8080`)).toBe('300000');
  });

  test('a client keeps its address by way of a host without a task, to a task in two networks, over deaths of the daemons', async () => {
    const asked = async (): Promise<string[]> => {
      const answers: string[] = [];
      for (let i = 0; i < 2; i++) {
        answers.push(await httpFrom(lab.outside, entry.address, 8080));
        answers.push(await udpFrom(lab.outside, entry.address, 8081));
      }
      return answers.sort();
    };
    const kept = ['web1', 'web2'].flatMap((name) => [
      `${name} ${lab.outsideAddress}`,
      `${name} ${lab.outsideAddress} from ${entry.address}`,
    ]);
    expect(await asked()).toEqual(kept);
    await lab.everyHost((host) => host.crash());
    expect(await asked()).toEqual(kept);
    await lab.everyHost((host) => host.start());
    await home.adopt(attachRequest(seats().web1, web1));
    await home.adopt(attachRequest(seats().web2, web2));
    await entry.adopt(attachRequest(seats().client, client, wide(seats().client[0]!)));
    await lab.everyHost((host) => host.apply(tables(), true));
    expect(await asked()).toEqual(kept);
  });

  test('an idle connection outlasts every timer but the one of connections that are open', async () => {
    const places = [client.netns, web1.netns, web2.netns, entry.netns, home.netns];
    for (const netns of places) {
      const established = 'net.netfilter.nf_conntrack_tcp_timeout_established';
      const seconds = Number(await inNetns(netns, 'sysctl', '-n', established));
      expect(seconds).toBeGreaterThan(IDLE_WANTED_SECONDS);
      await inNetns(netns, 'sysctl', '-qw', ...(await shortTimers(netns, established)));
    }
    const [inside, outside] = await Promise.all([
      inTask(client, 'hold', '10.1.0.2', `${MANY_PORT}`, `${IDLE_MS}`),
      fromOutside('hold', entry.address, '8090', `${IDLE_MS}`),
    ]);
    for (const said of [inside, outside]) {
      expect(JSON.parse(said)).toMatchObject({ first: true, second: true });
    }
  });

  test(`${CONNECTIONS} connections at once through a published port are all answered`, async () => {
    const said = await fromOutside('open', entry.address, '8090', `${CONNECTIONS}`);
    expect(JSON.parse(said)).toEqual({ opened: CONNECTIONS, answered: CONNECTIONS, failures: [] });
  });

  test('a flood of datagrams goes to a backend that is gone no more, however many flows', async () => {
    const floods = [
      await lab.flood(client.netns, many, '10.1.0.2', MANY_PORT, 20),
      await lab.flood(lab.outside, many, entry.address, 8090, 20),
    ];
    try {
      const received = async (task: LabTask): Promise<number> => udpDatagrams(task.netns);
      const grows = async (task: LabTask, forMs: number): Promise<number> => {
        const before = await received(task);
        await new Promise((resolve) => setTimeout(resolve, forMs));
        return (await received(task)) - before;
      };
      expect(await grows(web1, 300)).toBeGreaterThan(0);
      expect(await grows(web2, 300)).toBeGreaterThan(0);
      await lab.everyHost((host) =>
        host.apply(seats().web1.map((item) => remove('endpoint', item))),
      );
      // All hosts have it in force: from here on nothing new comes, in flight are some at most.
      await grows(web1, 50);
      expect(await grows(web1, 500)).toBe(0);
      expect(await grows(web2, 300)).toBeGreaterThan(0);
      await lab.everyHost((host) => host.apply(seats().web1.map((item) => set('endpoint', item))));
    } finally {
      for (const end of floods) await end();
    }
  });

  test(`${TASKS} tasks on one host, each reached and known by name`, async () => {
    const list = Array.from({ length: TASKS }, (_, i) => ({
      seat: endpoint(FRONT, 'crowd', i + 1, home, `10.1.${1 + (i >> 7)}.${1 + (i & 127)}`),
    }));
    const tasks = await Promise.all(list.map(() => lab.idle()));
    await lab.everyHost((host) => host.apply(list.map(({ seat }) => set('endpoint', seat))));
    const beganMs = performance.now();
    for (const [i, { seat }] of list.entries()) {
      await home.attach(attachRequest([seat], tasks[i]!, wide(seat)));
    }
    console.log(
      `${TASKS} tasks attached, ${((performance.now() - beganMs) / TASKS).toFixed(1)} ms each`,
    );
    for (const at of [0, TASKS >> 1, TASKS - 1]) {
      const { address } = list[at]!.seat;
      const ping = await tryInNetns(client.netns, 'busybox', 'ping', '-c1', '-W2', address);
      expect(ping, address).toContain('1 packets received');
      const name = `crowd.${at + 1}`;
      const found = await tryInNetns(client.netns, 'busybox', 'nslookup', name, '127.0.0.11');
      expect(found).toContain(address);
    }
    const proof = await home.verify();
    expect(proof).toMatchObject({ drifts: [], failures: [] });
    expect(proof.compared).toBeGreaterThan(TASKS);
    for (const task of tasks) await task.end();
    await lab.everyHost((host) => host.apply(list.map(({ seat }) => remove('endpoint', seat))));
    for (const { seat } of list) await home.detach(seat.taskId);
    // The kernel ends a namespace some time after its last process.
    await vi.waitFor(
      async () => {
        const links = await inNetns(`${home.dir}/netns/${FRONT.id}`, 'ip', '-o', 'link');
        expect(links.trim().split('\n')).toHaveLength(5); // lo, br0, vx0, two tasks
      },
      { timeout: 30_000, interval: 200 },
    );
    expect(await httpFrom(client.netns, '10.1.0.2')).toMatch(/^web[12] /);
  });

  /** Every timer of connections, but for the one named, at a second. */
  async function shortTimers(netns: string, but: string): Promise<string[]> {
    const all = await inNetns(netns, 'sysctl', '-a', '-r', 'nf_conntrack_.*timeout');
    return all
      .split('\n')
      .map((line) => line.split(' ')[0] ?? '')
      .filter((name) => name !== '' && name !== but)
      .map((name) => `${name}=${SHORT_SECONDS}`);
  }

  async function udpDatagrams(netns: string): Promise<number> {
    const lines = (await inNetns(netns, 'cat', '/proc/net/snmp')).split('\n');
    const udp = lines.filter((line) => line.startsWith('Udp:'))[1] ?? '';
    return Number(udp.split(' ')[1]);
  }

  /** A seat's address in the wide subnet of this scene. */
  function wide({ address }: { readonly address: string }) {
    return { attachments: [{ networkId: FRONT.id, addresses: [`${address}/20`], aliases: [] }] };
  }
});

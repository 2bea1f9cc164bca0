/** Published ports of one address, in mode ingress and host, on two hosts. Needs root. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  httpFrom,
  inNetns,
  type LabHost,
  type LabTask,
  NetworkLab,
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

/** By the host at once, not by a timeout. */
const REFUSED = /curl: \(7\)/;
const isRoot = process.getuid?.() === 0;
const INGRESS = network('ingress', 4150, 0, { ingress: true, subnet6: 'fd50::/64' });
const FRONT = network('front', 4151, 1);
const SECOND = '172.30.77.201';
const SECOND6 = 'fd77::201';

describe.skipIf(!isRoot)('ports of one address (root only)', () => {
  let lab: NetworkLab;
  let host: LabHost;
  let other: LabHost;
  let task: LabTask;
  const at = (hostIp: string, published: number) => ({ ...port('web', published, 80), hostIp });
  const everywhere = at('', 8080);
  const everyOne = () => [
    everywhere,
    at(host.address, 8081),
    at('127.0.0.1', 8082),
    at(SECOND, 8083),
    at(SECOND6, 8084),
  ];
  const seats = () => [
    endpoint(INGRESS, 'web', 1, host, '10.0.0.11'),
    endpoint(FRONT, 'web', 1, host, '10.0.1.11'),
  ];
  const outside = (address: string, at: number) => httpFrom(lab.outside, address, at);

  beforeAll(async () => {
    lab = await NetworkLab.create('skbp', 2);
    [host, other] = lab.hosts as [LabHost, LabHost];
    await inNetns(host.netns, 'ip', 'addr', 'add', `${SECOND}/24`, 'dev', 'up0');
    await inNetns(host.netns, 'ip', 'addr', 'add', `${SECOND6}/64`, 'dev', 'up0', 'nodad');
    await inNetns(lab.outside, 'ip', 'addr', 'add', 'fd77::100/64', 'dev', 'up0', 'nodad');
    const everything = [
      ...[INGRESS, FRONT].map((item) => set('network', item)),
      ...ingressPeers(INGRESS, lab.hosts),
      ...seats().map((item) => set('endpoint', item)),
      set('serviceEntry', service(FRONT, 'web', '10.0.1.2')),
      ...everyOne().map((item) => set('port', item)),
    ];
    for (const it of lab.hosts) {
      await it.start();
      await it.apply(everything, true);
    }
    task = await lab.task('web');
    await host.attach({
      ...attachRequest(seats(), task),
      hostPorts: [
        {
          ...{ name: '', protocol: 'tcp', targetPort: 80, publishedPort: 8090 },
          ...{ publishMode: 'host', hostIp: SECOND },
        },
      ],
    });
  }, 60_000);
  afterAll(() => lab?.close());

  test('answer there, with the client that came, and nowhere else', async () => {
    const client = `web ${lab.outsideAddress}`;
    expect(await outside(host.address, 8080)).toBe(client);
    expect(await outside(SECOND, 8080)).toBe(client);
    expect(await outside(host.address, 8081)).toBe(client);
    expect(await outside(SECOND, 8083)).toBe(client);
    expect(await outside(SECOND, 8081)).toMatch(REFUSED);
    expect(await outside(host.address, 8083)).toMatch(REFUSED);
    expect(await outside(host.address, 8082)).toMatch(REFUSED);
  });

  test('answer on no node that does not have the address', async () => {
    expect(await outside(other.address, 8080)).toBe(`web ${lab.outsideAddress}`);
    for (const published of [8081, 8082, 8083]) {
      expect(await outside(other.address, published)).toMatch(REFUSED);
    }
  });

  test('of IPv6 answer there', async () => {
    expect(await outside(`[${SECOND6}]`, 8084)).toBe('web fd77::100');
    expect(await outside(`[${SECOND6}]`, 8083)).toMatch(REFUSED);
    expect(await outside(SECOND, 8084)).toMatch(REFUSED);
  });

  test('of mode host answer there', async () => {
    expect(await outside(SECOND, 8090)).toBe(`web ${lab.outsideAddress}`);
    expect(await outside(host.address, 8090)).toMatch(REFUSED);
  });

  test('of 127.0.0.1 answer on each host to itself, whatever others send', async () => {
    for (const it of lab.hosts)
      expect(await httpFrom(it.netns, '127.0.0.1', 8082)).toMatch(/^web /);
    await inNetns(lab.outside, 'sysctl', '-qw', 'net.ipv4.conf.up0.route_localnet=1');
    await inNetns(lab.outside, 'ip', 'addr', 'del', '127.0.0.1/8', 'dev', 'lo');
    await inNetns(lab.outside, 'ip', 'route', 'add', '127.0.0.1/32', 'via', host.address);
    expect(await outside('127.0.0.1', 8082)).toMatch(/curl: \((7|28)\)/);
    expect(await outside('127.0.0.1', 8080)).toMatch(/curl: \((7|28)\)/);
  });

  test('are what the tables say: nothing drifts, and each goes by itself', async () => {
    expect(await host.verify()).toMatchObject({ drifts: [], failures: [] });
    await host.apply([remove('port', at(SECOND, 8083))]);
    expect(await outside(SECOND, 8083)).toMatch(REFUSED);
    expect(await outside(host.address, 8081)).toBe(`web ${lab.outsideAddress}`);
    expect(await host.verify()).toMatchObject({ drifts: [], failures: [] });
  });

  test('of mode host that somebody has fail the task, by the name of the holder', async () => {
    await lab.server(host.netns, 'squatter', 8092);
    const seat = endpoint(FRONT, 'late', 1, host, '10.0.1.13');
    await host.apply([set('endpoint', seat)]);
    const publishing = (publishedPort: number) =>
      host.attach({
        ...attachRequest([seat], task),
        hostPorts: [
          {
            ...{ name: '', protocol: 'tcp', targetPort: 80, publishedPort },
            ...{ publishMode: 'host', hostIp: '' },
          },
        ],
      });
    await expect(publishing(8092)).rejects.toThrow(
      /port 8092\/tcp on the host: it is in use by process node \(pid \d+\)/,
    );
    await expect(publishing(8080)).rejects.toThrow('it is in use by service web');
    await expect(publishing(8090)).rejects.toThrow('it is in use by another task');
  });

  test('of an address that the node does not have fail the task, by its name', async () => {
    const seat = endpoint(FRONT, 'api', 1, host, '10.0.1.12');
    await host.apply([set('endpoint', seat)]);
    const attached = host.attach({
      ...attachRequest([seat], task),
      hostPorts: [
        {
          ...{ name: '', protocol: 'tcp', targetPort: 80, publishedPort: 8091 },
          ...{ publishMode: 'host', hostIp: '192.0.2.9' },
        },
      ],
    });
    await expect(attached).rejects.toThrow(
      'publish port 8091/tcp on the host: this node has no address 192.0.2.9',
    );
  });
});

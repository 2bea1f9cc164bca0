/** Published ports where some nodes are chosen as ingress gateways, on three hosts. Needs root. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  httpFrom,
  inNetns,
  type LabHost,
  type LabTask,
  NetworkLab,
  udpFrom,
} from '../support/network-lab.ts';
import { endpoint, network, peer, port, service, set } from '../support/network-scene.ts';

const isRoot = process.getuid?.() === 0;
const INGRESS = network('ingress', 4160, 0, { ingress: true, subnet6: 'fd60::/64' });
const FRONT = network('front', 4161, 1);

describe.skipIf(!isRoot)('chosen ingress gateways (root only)', () => {
  let lab: NetworkLab;
  let task: LabTask;
  const at = (i: number) => lab.hosts[i] as LabHost;
  /** The seat of a host; the first one is the gateway unless `gateways` says otherwise. */
  const peerOf = (i: number, gateways: readonly number[] = [0]) =>
    peer(INGRESS, at(i), `10.0.0.${i + 2}`, { masquerades: !gateways.includes(i) });
  const seats = () => [
    endpoint(INGRESS, 'web', 1, at(2), '10.0.0.11'),
    endpoint(FRONT, 'web', 1, at(2), '10.0.1.11'),
  ];
  const tcp = (i: number) => httpFrom(lab.outside, at(i).address, 8080);
  const udp = (i: number) => udpFrom(lab.outside, at(i).address, 8081);
  const waysBack = async () =>
    (await inNetns(task.netns, 'ip', 'rule')).split('\n').filter((it) => it.includes('fwmark'));

  beforeAll(async () => {
    lab = await NetworkLab.create('skig', 3);
    await inNetns(at(1).netns, 'ip', 'addr', 'add', 'fd77::2/64', 'dev', 'up0', 'nodad');
    await inNetns(lab.outside, 'ip', 'addr', 'add', 'fd77::100/64', 'dev', 'up0', 'nodad');
    await lab.begin([
      ...[INGRESS, FRONT].map((item) => set('network', item)),
      ...[0, 1, 2].map((i) => set('peer', peerOf(i))),
      ...seats().map((item) => set('endpoint', item)),
      set('serviceEntry', service(FRONT, 'web', '10.0.1.2')),
      set('port', port('web', 8080, 80)),
      set('port', port('web', 8081, 81, 'udp')),
    ]);
    task = await lab.attached(at(2), 'web', seats());
  }, 60_000);
  afterAll(() => lab?.close());

  test('a client that enters by one keeps its address', async () => {
    expect(await tcp(0)).toBe(`web ${lab.outsideAddress}`);
    expect(await udp(0)).toBe(`web ${lab.outsideAddress} from ${at(0).address}`);
  });

  test('every other node answers as well, with its own address', async () => {
    expect(await tcp(1)).toBe('web 10.0.0.3');
    expect(await udp(1)).toBe(`web 10.0.0.3 from ${at(1).address}`);
    expect(await tcp(2)).toBe('web 10.0.0.4');
    expect(await httpFrom(lab.outside, '[fd77::2]', 8080)).toBe('web fd60::a00:3');
    expect(await httpFrom(at(1).netns, '127.0.0.1', 8080)).toBe('web 10.0.0.3');
  });

  test('a task has a way back to them only', async () => {
    expect(await waysBack()).toHaveLength(1);
    for (const i of [0, 1, 2]) {
      expect(await at(i).verify()).toMatchObject({ drifts: [], failures: [] });
    }
  });

  test('another choice takes effect, and so does none', async () => {
    for (const i of [0, 1]) {
      await lab.everyHost((it) => it.apply([set('peer', peerOf(i, [1]))]));
    }
    expect(await tcp(0)).toBe('web 10.0.0.2');
    expect(await tcp(1)).toBe(`web ${lab.outsideAddress}`);
    await lab.everyHost((it) => it.apply([0, 1, 2].map((i) => set('peer', peerOf(i, [0, 1, 2])))));
    for (const i of [0, 1, 2]) expect(await tcp(i)).toBe(`web ${lab.outsideAddress}`);
    expect(await waysBack()).toHaveLength(3);
  });
});

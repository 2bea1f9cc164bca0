/** An ingress network whose subnet holds an address of the host. Needs root. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { httpFrom, inNetns, type LabHost, NetworkLab } from '../support/network-lab.ts';
import {
  attachRequest,
  endpoint,
  ingressPeers,
  network,
  port,
  service,
  set,
} from '../support/network-scene.ts';

const isRoot = process.getuid?.() === 0;
const INGRESS = network('ingress', 4170, 0, { ingress: true });
const FRONT = network('front', 4171, 1);
const REFUSAL = /^its subnet 10\.0\.0\.0\/24 holds 10\.0\.0\.77, by which this host is reached/;

let lab: NetworkLab;
beforeAll(async () => {
  if (isRoot) lab = await NetworkLab.create('skov', 2);
}, 60_000);
afterAll(() => lab?.close());

test.skipIf(!isRoot)('cuts nobody off: the host stays out of it, and says so', async () => {
  const [host, other] = lab.hosts as [LabHost, LabHost];
  const seats = [
    endpoint(INGRESS, 'web', 1, host, '10.0.0.11'),
    endpoint(FRONT, 'web', 1, host, '10.0.1.11'),
  ];
  await inNetns(host.netns, 'ip', 'addr', 'add', '10.0.0.77/16', 'dev', 'up0');
  await inNetns(lab.outside, 'ip', 'addr', 'add', '10.0.0.100/16', 'dev', 'up0');
  for (const it of lab.hosts) {
    await it.start();
    await it.apply(
      [
        ...[INGRESS, FRONT].map((item) => set('network', item)),
        ...ingressPeers(INGRESS, lab.hosts),
        ...seats.map((item) => set('endpoint', item)),
        set('serviceEntry', service(FRONT, 'web', '10.0.1.2')),
        set('port', port('web', 8080, 80)),
      ],
      true,
    );
  }
  const task = await lab.task('web');
  await host.attach(attachRequest(seats, task));
  await lab.server(host.netns, 'own', 7000);

  const refused = { where: 'network ingress', reason: expect.stringMatching(REFUSAL) };
  expect(await host.verify(true)).toMatchObject({ drifts: [], failures: [refused] });
  expect(await httpFrom(lab.outside, '10.0.0.77', 7000)).toBe('own 10.0.0.100');
  expect(await httpFrom(lab.outside, '10.0.0.77', 8080)).toMatch(/curl: \(7\)/);
  expect(await httpFrom(lab.outside, other.address, 8080)).toBe(`web ${lab.outsideAddress}`);

  await inNetns(host.netns, 'ip', 'addr', 'del', '10.0.0.77/16', 'dev', 'up0');
  expect(await host.verify(true)).toMatchObject({ failures: [] });
  expect(await httpFrom(lab.outside, host.address, 8080)).toBe(`web ${lab.outsideAddress}`);
  expect(await host.verify()).toMatchObject({ drifts: [], failures: [] });
});

test.skipIf(!isRoot)(
  'a network of the user whose subnet the host has routes to takes nothing from either',
  async () => {
    const [host, other] = lab.hosts as [LabHost, LabHost];
    const wide = network('wide', 4172, 0, { subnet: '172.30.77.0/24', gateway: '172.30.77.1' });
    // The very subnet in which the hosts reach one another: the same addresses inside and outside.
    const seats = [
      endpoint(wide, 'near', 1, host, '172.30.77.2'),
      endpoint(wide, 'far', 1, other, '172.30.77.100'),
    ] as const;
    for (const it of lab.hosts) {
      await it.apply([set('network', wide), ...seats.map((item) => set('endpoint', item))]);
    }
    const near = await lab.attached(host, 'near', [seats[0]]);
    await lab.attached(other, 'far', [seats[1]]);
    expect(await httpFrom(near.netns, '172.30.77.100')).toBe('far 172.30.77.2');
    expect(await httpFrom(lab.outside, host.address, 7000)).toBe(`own ${lab.outsideAddress}`);
    const way = await inNetns(host.netns, 'ip', 'route', 'get', lab.outsideAddress);
    expect(way).toContain('dev up0');
    for (const it of lab.hosts) expect((await it.verify()).drifts).toEqual([]);
  },
);

/** A step of the tables that the kernel could not follow loses nothing: the next look makes it good. Needs root. */
import {
  mkdirSync,
  mkdtempSync,
  readlinkSync,
  rmdirSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { OverlayNetwork, type OverlayParts } from '../../worker/network/overlay-network.ts';
import { httpFrom, inNetns, type LabHost, NetworkLab } from '../support/network-lab.ts';
import { endpoint, network, peer, port, remove, service, set } from '../support/network-scene.ts';

const isRoot = process.getuid?.() === 0;
const INGRESS = network('ingress', 4136, 0, { ingress: true });
const FRONT = network('front', 4137, 1);
/** At a path where a folder belongs, and its parents. */
const asFile = (path: string): void => {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, '');
};
const RIGHT = { drifts: [], failures: [] };

describe.skipIf(!isRoot)('a step that the kernel could not follow (root only)', () => {
  let lab: NetworkLab;
  let host: LabHost;
  beforeEach(async () => {
    lab = await NetworkLab.create('sks', 1);
    [host] = lab.hosts as [LabHost];
    await host.start();
  });
  afterEach(async () => {
    await lab?.close();
  });

  const seats = () => [
    endpoint(INGRESS, 'web', 1, host, '10.0.0.11'),
    endpoint(FRONT, 'web', 1, host, '10.0.1.11'),
  ];
  const tables = () => [
    ...[INGRESS, FRONT].map((item) => set('network', item)),
    set('peer', peer(INGRESS, host, '10.0.0.2')),
    ...seats().map((item) => set('endpoint', item)),
    set('serviceEntry', service(FRONT, 'web', '10.0.1.2')),
    set('port', port('web', 8080, 80)),
  ];
  const attachWeb = async () => {
    const task = await lab.attached(host, 'web', seats());
    return task;
  };
  const answer = (at: number) => httpFrom(lab.outside, host.address, at);

  test.each([
    ['a later step', () => host.apply([], false)],
    ['the self-proof', () => host.verify(true)],
  ])('is made good by %s when it was the first', async (_, look) => {
    // Nothing can be pinned where the folder of pins is a file.
    const pins = `${host.dir}/netns`;
    rmdirSync(pins);
    writeFileSync(pins, '');
    await expect(host.apply(tables(), true)).rejects.toThrow('create overlay network ingress');
    const { failures } = await host.verify();
    expect(failures).toContainEqual({ where: 'tables', reason: 'not programmed whole' });
    unlinkSync(pins);
    mkdirSync(pins);
    await look();
    expect(await host.verify()).toMatchObject(RIGHT);
    await attachWeb();
    expect(await answer(8080)).toBe(`web ${lab.outsideAddress}`);
  });

  test('is made good by the next: ports and virtual IPs that went with it are gone', async () => {
    await host.apply(tables(), true);
    const task = await attachWeb();
    const rules = async () =>
      (await inNetns(host.netns, 'nft', 'list', 'ruleset')) +
      (await inNetns(task.netns, 'nft', 'list', 'ruleset'));
    expect(await rules()).toMatch(/port_tcp_8080/);
    expect(await rules()).toMatch(/vip_10\.0\.1\.2/);
    await expect(
      host.apply([
        set('peer', peer(INGRESS, host, 'no address')),
        remove('port', port('web', 8080, 80)),
        remove('serviceEntry', service(FRONT, 'web', '10.0.1.2')),
      ]),
    ).rejects.toThrow();
    await host.apply([
      set('peer', peer(INGRESS, host, '10.0.0.2')),
      set('port', port('web', 9090, 80)),
    ]);
    expect(await rules()).not.toMatch(/port_tcp_8080/);
    expect(await rules()).not.toMatch(/vip_10\.0\.1\.2/);
    expect(await host.verify()).toMatchObject(RIGHT);
    expect(await answer(9090)).toBe(`web ${lab.outsideAddress}`);
    expect(await answer(8080)).toMatch(/^failed/);
  });

  test.each([
    // What was before us cannot be put back while its file is none.
    ['the host, at its end', (): string => `${host.dir}/ip_forward`, mkdirSync],
    ['networks that nodes make, at its beginning', () => `${host.dir}/made/places`, asFile],
  ])(
    'leaves no socket open when it was the leaving (%s), which can be done again',
    async (_, pathOf, spoil) => {
      await host.apply(tables(), true);
      const task = await attachWeb();
      await task.end();
      await host.detach(seats()[0]!.taskId);
      await host.stop();
      const before = host.openSockets();
      rmSync(pathOf(), { recursive: true, force: true });
      spoil(pathOf());
      await expect(host.removeAll()).rejects.toThrow();
      expect(host.openSockets()).toBe(before);
      rmSync(pathOf(), { recursive: true });
      await host.removeAll();
      expect(host.openSockets()).toBe(before);
      expect(await inNetns(host.netns, 'nft', 'list', 'tables')).toBe('');
    },
  );
});

test.skipIf(!isRoot)(
  'a network whose namespace cannot be looked at now is not taken for gone',
  async () => {
    const dir = mkdtempSync(join(tmpdir(), 'skep-pin-'));
    try {
      const pin = join(dir, 'net-front');
      symlinkSync(pin, pin); // opening it fails, whoever asks
      await expect(OverlayNetwork.adopt({ pin } as OverlayParts)).rejects.toThrow('ELOOP');
      expect(readlinkSync(pin)).toBe(pin);
      unlinkSync(pin);
      writeFileSync(pin, ''); // what a restart of the machine leaves
      expect(await OverlayNetwork.adopt({ pin } as OverlayParts)).toBeNull();
    } finally {
      rmSync(dir, { recursive: true });
    }
  },
);

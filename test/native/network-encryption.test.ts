// Encrypted networks: in a virtual machine, because the kernel at hand may have no WireGuard; and what
// becomes of them where there is none.
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { bundled } from '../support/bundled.ts';
import type { EncryptionReport } from '../support/encryption-probe.ts';
import { HOST_PROGRAM, NetworkLab } from '../support/network-lab.ts';
import { attachRequest, endpoint, network, set } from '../support/network-scene.ts';

const root = join(import.meta.dirname, '../..');
const isRoot = process.getuid?.() === 0;
const canRun =
  isRoot && process.arch === 'x64' && spawnSync('qemu-system-x86_64', ['--version']).status === 0;
/** The machine emulates its processor: everything takes about twenty times as long. */
const LIMIT_SECONDS = 600;
const NO_MACHINE = 125;

describe.skipIf(!canRun)('encrypted networks (needs qemu)', () => {
  let report: EncryptionReport;
  /** why there is no machine (no kernel to be had, for one); null = there is */
  let unavailable: string | null = null;
  beforeAll(() => {
    const vm = join(root, 'test/support/cgroup2-vm');
    const host = `${HOST_PROGRAM}=${bundled('network-host.ts')}`;
    const probe = ['env', host, 'node', bundled('encryption-probe.ts')];
    const run = spawnSync(vm, ['-t', `${LIMIT_SECONDS}`, ...probe], {
      cwd: root,
      encoding: 'utf8',
    });
    if (run.status === NO_MACHINE) {
      unavailable = run.stderr.trim();
      return;
    }
    const line = run.stdout.split('\n').find((text) => text.startsWith('report '));
    if (line === undefined) throw new Error(`exit ${run.status}\n${run.stdout}\n${run.stderr}`);
    report = JSON.parse(line.slice('report '.length));
  }, LIMIT_SECONDS * 1000);

  beforeEach((context) => {
    if (unavailable !== null) context.skip(unavailable);
  });

  test('each host has a key of its own', () => {
    expect(new Set(report.keys).size).toBe(2);
    for (const key of report.keys) expect(Buffer.from(key, 'base64')).toHaveLength(32);
  });

  test('tasks reach one another, by address and by virtual IP, with packets of any size', () => {
    expect(report).toMatchObject({
      byAddress: 'web 10.0.3.11',
      byVirtualIp: 'web 10.0.3.11',
      bulkBytes: 300_000,
      taskMtu: 'mtu 1390',
      driftsAtRest: 0,
    });
  });

  test('without the key of the other host nothing passes, with it everything does', () => {
    expect(report.withoutKey).toMatch(/^failed: curl: \(28\)/);
    expect(report.withKeyAgain).toBe('web 10.0.3.11');
  });

  test('a daemon that comes back keeps the key and the connections', () => {
    expect(report.keyAfterRestart).toBe(report.keys[0]);
    expect(report.afterRestart).toBe('web 10.0.3.11');
  });

  test('a device deleted by hand is made anew', () => {
    expect(report.drifts.repaired).toBeGreaterThan(0);
    expect(report.drifts.left).toBe(0);
    expect(report.afterRepair).toBe('web 10.0.3.11');
  });

  test('of all of it nothing went over the wire but WireGuard', () => {
    expect(report.wire.wireguard).toBeGreaterThan(100);
    expect(report.wire).toMatchObject({ vxlan: 0, other: 0 });
  });

  test('nothing stays behind', () => {
    expect(report.leftovers).toBe('failed: 0');
  });
});

describe.skipIf(!isRoot)('encrypted networks on a kernel without (root only)', () => {
  let lab: NetworkLab;
  beforeAll(async () => {
    lab = await NetworkLab.create('skenx', 1);
  }, 60_000);
  afterAll(() => lab.close());

  test('a task of one is refused, and nothing is made for it', async (context) => {
    const [host] = lab.hosts;
    if (!host) throw new Error('no host');
    const secret = network('secret', 4099, 3, { encrypted: true });
    const seat = endpoint(secret, 'web', 1, host, '10.0.3.11');
    await host.start();
    const { encryptionKey, underlayMtu } = await host.dataPath();
    expect(underlayMtu).toBe(1500);
    if (encryptionKey !== '') context.skip('this kernel has WireGuard');
    await host.apply([set('network', secret), set('endpoint', seat)], true);
    const task = await lab.task('web');
    await expect(host.attach(attachRequest([seat], task))).rejects.toThrow(
      'use encrypted network secret: encrypt between hosts: the kernel of this node has no WireGuard',
    );
    expect((await host.verify()).drifts).toEqual([]);
    await host.removeAll();
  }, 60_000);
});

import { execFile, execFileSync, spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { isDeepStrictEqual, promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { OciResources, OciSpec } from '../../worker/runtime/oci.ts';
import type { Cgroup1Report } from '../support/cgroup1-probe.ts';
import { execResult, execSpec, RuntimeBox, runtimeTestsCanRun } from '../support/runtime-box.ts';

const MIB = 1024 * 1024;
const onV1 = !existsSync('/sys/fs/cgroup/cgroup.controllers');

/** A whole block device of this machine; throttles take no partitions. */
function someDisk(): { major: number; minor: number } {
  const name = readdirSync('/sys/block').find((one) => !/^(loop|ram|zram)/.test(one)) ?? 'loop0';
  const [major = 0, minor = 0] = readFileSync(`/sys/block/${name}/dev`, 'utf8')
    .split(':')
    .map(Number);
  return { major, minor };
}

function withResources(resources: Partial<OciResources>) {
  return (spec: OciSpec): OciSpec => ({
    ...spec,
    linux: { ...spec.linux, resources: { ...spec.linux.resources, ...resources } },
  });
}

/** Without the empty v2 hierarchy, which kills and freezes on a hybrid machine. */
const ON_V1_ALONE =
  'umount /sys/fs/cgroup/unified 2>/dev/null; exec node --import tsx test/support/cgroup1-probe.ts';

describe.skipIf(!runtimeTestsCanRun)('native runtime: resource limits', () => {
  let box: RuntimeBox;
  beforeAll(async () => {
    box = await RuntimeBox.open();
  });
  afterAll(() => box.close());

  /** Cores used over `windowMs`, and in how many periods it had to wait for more. */
  async function coresUsed(id: string, windowMs: number) {
    const startedMs = performance.now();
    const before = box.runtime.stats(id);
    await sleep(windowMs);
    const endedMs = performance.now();
    const after = box.runtime.stats(id);
    const usedMs = Number(after.cpuUsageNanos - before.cpuUsageNanos) / 1e6;
    return {
      cores: usedMs / (endedMs - startedMs),
      throttledPeriods: after.throttledPeriods - before.throttledPeriods,
    };
  }

  /**
   * As `coresUsed`. Never more than the most; while the machine has work of real-time priority, or is itself one of several, it may
   * get less than the least, and is looked at again, five times in all.
   */
  async function coresAllowed(
    id: string,
    windowMs: number,
    [least, most]: readonly [number, number],
  ): ReturnType<typeof coresUsed> {
    let used = await coresUsed(id, windowMs);
    for (let i = 0; i < 4 && used.cores < least; i++) {
      expect(used.cores).toBeLessThan(most);
      used = await coresUsed(id, windowMs);
    }
    return used;
  }

  /**
   * All tasks together weigh as much as one process of the machine: between ten of them they do not get
   * half a core. Here they come before all others.
   */
  function outweighTheMachine(): void {
    const weights = [
      ['cpu.shares', '262144'],
      ['cpu.weight', '10000'],
    ] as const;
    const written = box.cgroupDirs().flatMap((dir) =>
      weights.filter(([file, most]) => {
        const path = join(dir, file);
        if (existsSync(path)) writeFileSync(path, most);
        return existsSync(path);
      }),
    );
    expect(written).toHaveLength(1);
  }

  test.each([
    ['half a core is half a core', 0.5, 1],
    ['two loops under one core get one between them', 1, 2],
  ])('%s', { timeout: 60_000 }, async (_, cores, loops) => {
    const quota = { cpu: { quota: cores * 100_000, period: 100_000, shares: null } };
    const script = Array.from({ length: loops }, () => 'while :; do :; done').join(' & ');
    await box.run('cpu', script, withResources(quota));
    outweighTheMachine();
    await sleep(300); // past the first period
    const used = await coresAllowed('cpu', 4000, [cores - 0.05, cores + 0.05]);
    await box.runtime.killAll('cpu');
    await box.runtime.remove('cpu');
    expect(used.cores).toBeGreaterThanOrEqual(cores - 0.05);
    expect(used.cores).toBeLessThan(cores + 0.05);
    expect(used.throttledPeriods).toBeGreaterThan(0);
  });

  test('two loops on one CPU share it by weight', { timeout: 60_000 }, async () => {
    const weighed = (shares: number) =>
      withResources({ cpu: { quota: null, period: 100_000, shares, cpus: '0' } });
    await box.run('heavy', 'while :; do :; done', weighed(2048));
    await box.run('light', 'while :; do :; done', weighed(1024));
    outweighTheMachine();
    await sleep(500);
    const [heavy, light] = await Promise.all([coresUsed('heavy', 5000), coresUsed('light', 5000)]);
    for (const id of ['heavy', 'light']) await box.runtime.killAll(id);
    expect(heavy.cores / light.cores).toBeGreaterThan(1.8);
    expect(heavy.cores / light.cores).toBeLessThan(2.2);
  });

  test('allocating more than the memory limit ends as OOM with 137', async () => {
    const limit = { memory: { limit: 64 * MIB, swap: null } };
    await box.run(
      'memory',
      'exec dd if=/dev/zero of=/dev/null bs=100M count=1',
      withResources(limit),
    );
    expect(await box.runtime.wait('memory')).toMatchObject({
      exitCode: 137,
      signal: 9,
      oomKilled: true,
    });
    expect((await box.runtime.stats('memory')).memoryLimitBytes).toBe(64 * MIB);
  });

  test('a fork storm stops at the pids limit', async () => {
    const script = 'i=0; while [ $i -lt 40 ]; do sleep 100 & i=$((i+1)); done';
    await box.run('pids', `(${script}) ; sleep 100`, withResources({ pids: { limit: 20 } }));
    await expect.poll(() => box.logText('pids')).toContain("can't fork");
    const stats = await box.runtime.stats('pids');
    expect(stats.pidsLimit).toBe(20);
    expect(stats.pids).toBeLessThanOrEqual(20);
    await box.runtime.killAll('pids');
  });

  test('limits can be changed while it runs, in both directions', async () => {
    await box.run(
      'update',
      'sleep 100',
      withResources({ memory: { limit: 64 * MIB, swap: null } }),
    );
    for (const limit of [256 * MIB, 32 * MIB, null]) {
      await box.runtime.updateResources('update', { memory: { limit, swap: null }, devices: [] });
      expect((await box.runtime.stats('update')).memoryLimitBytes).toBe(limit);
    }
    await box.runtime.killAll('update');
  });

  test('a busy loop is held to a tenth of a core from now on, as the same process', {
    timeout: 60_000,
  }, async () => {
    const { pid } = await box.run('slowed', 'while :; do :; done');
    outweighTheMachine();
    const cpu = { quota: 10_000, period: 100_000, shares: null };
    await box.runtime.updateResources('slowed', { cpu, devices: [] });
    await sleep(300); // past the first period
    const { cores, throttledPeriods } = await coresAllowed('slowed', 3000, [0.08, 0.12]);
    expect(cores).toBeGreaterThan(0.08);
    expect(cores).toBeLessThan(0.12);
    expect(throttledPeriods).toBeGreaterThan(0);
    expect(box.runtime.get('slowed')).toMatchObject({ status: 'running', pid });
    await box.runtime.killAll('slowed');
  });

  /** A file of the task's group, on v1 below the controller. */
  function control(id: string, controller: string, file: string): string {
    const dirs = box.cgroupDirs().filter((dir) => existsSync(join(dir, id, file)));
    const dir = dirs.find((path) => path.includes(`/${controller}`)) ?? dirs[0] ?? '';
    return readFileSync(join(dir, id, file), 'utf8').trim();
  }

  describe.skipIf(!onV1)('on cgroup v1', () => {
    test('memory: what is reserved, and when to swap', async () => {
      const memory = { limit: 64 * MIB, swap: null, reservation: 32 * MIB, swappiness: 7 };
      await box.run('soft', 'sleep 100', withResources({ memory }));
      expect(control('soft', 'memory', 'memory.soft_limit_in_bytes')).toBe(`${32 * MIB}`);
      expect(control('soft', 'memory', 'memory.swappiness')).toBe('7');
      await box.runtime.killAll('soft');
    });

    test('who needs more than it may have waits until it may, and can be killed', async () => {
      const memory = { limit: 16 * MIB, swap: null, disableOomKiller: true };
      // By its own hand: a system call that needs memory fails instead of waiting.
      const growing = 'x=0123456789abcdef; for i in $(seq 21); do x=$x$x; done; echo ${#x}';
      for (const id of ['patient', 'stuck']) {
        await box.run(id, growing, withResources({ memory }));
        const isWaiting = (): string => control(id, 'memory', 'memory.oom_control');
        await expect.poll(isWaiting, { timeout: 10_000 }).toContain('under_oom 1');
        expect(box.runtime.get(id)?.status).toBe('running');
      }
      await box.runtime.updateResources('patient', {
        memory: { limit: 256 * MIB, swap: null },
        devices: [],
      });
      expect(await box.runtime.wait('patient')).toMatchObject({ exitCode: 0, oomKilled: false });
      expect(await box.logText('patient')).toBe(`${16 * 2 ** 21}`);
      await box.runtime.killAll('stuck');
      expect(await box.runtime.wait('stuck')).toMatchObject({ exitCode: 137, oomKilled: false });
    });

    test('without a v2 hierarchy: held and killed by the freezer, frozen ones and fork storms, too', {
      timeout: 60_000,
    }, async () => {
      const program = ['--mount', '--propagation', 'private', 'sh', '-c', ON_V1_ALONE];
      const { stdout } = await promisify(execFile)('unshare', program);
      const report = JSON.parse(stdout) as Cgroup1Report;
      expect(report).toMatchObject({
        version: 'v1',
        states: ['FROZEN', 'THAWED'],
        exitCodes: [137, 137],
        leftovers: [],
      });
      expect(report.pids[0]).toBeGreaterThanOrEqual(30);
      expect(report.pids[1]).toBe(0);
      expect(report.pausedNanos).toBeLessThan(20_000_000);
      expect(report.thawedNanos).toBeGreaterThan(20_000_000);
    });

    test('throttles of block devices', async () => {
      const { major, minor } = someDisk();
      const rate = (value: number) => [{ major, minor, rate: value }];
      const blockIO = {
        weight: null,
        throttleReadBpsDevice: rate(1_000_000),
        throttleWriteBpsDevice: rate(2_000_000),
        throttleReadIOPSDevice: rate(30),
        throttleWriteIOPSDevice: rate(40),
      };
      await box.run('io', 'sleep 100', withResources({ blockIO }));
      const line = (name: string) => control('io', 'blkio', `blkio.throttle.${name}_device`);
      expect(line('read_bps')).toBe(`${major}:${minor} 1000000`);
      expect(line('write_bps')).toBe(`${major}:${minor} 2000000`);
      expect(line('read_iops')).toBe(`${major}:${minor} 30`);
      expect(line('write_iops')).toBe(`${major}:${minor} 40`);
      await box.runtime.killAll('io');
    });
  });

  test('the sum of weights is shared by weight', async () => {
    const shares = { cpu: { quota: null, period: 100_000, shares: 512 } };
    await box.run('shares', 'sleep 100', withResources(shares));
    const weight = onV1
      ? control('shares', 'cpu', 'cpu.shares')
      : control('shares', 'cpu', 'cpu.weight');
    expect(weight).toBe(onV1 ? '512' : '20');
    await box.runtime.killAll('shares');
  });

  test('a set of CPUs holds from the first command on, and can be given later', async () => {
    const allowed =
      'grep Cpus_allowed_list /proc/self/status; grep Mems_allowed_list /proc/self/status';
    const cpuset = { cpu: { quota: null, period: 100_000, shares: null, cpus: '0', mems: '0' } };
    const { text } = await box.output('cpuset', allowed, withResources(cpuset));
    expect(text).toBe('Cpus_allowed_list:\t0\nMems_allowed_list:\t0');
    await box.run('later', 'sleep 100');
    await box.runtime.updateResources('later', { ...cpuset, devices: [] });
    const status = readFileSync(`/proc/${box.runtime.get('later')?.pid}/status`, 'utf8');
    expect(status).toContain('Cpus_allowed_list:\t0\n');
    const session = await box.runtime.exec('later', execSpec(['sh', '-c', allowed]));
    expect((await execResult(session)).stdout).toContain('Cpus_allowed_list:\t0\n');
    await box.runtime.killAll('later');
  });

  test('a set of CPUs that are not there is refused, and nothing is left', async () => {
    const cpuset = { cpu: { quota: null, period: 100_000, shares: null, cpus: '4000' } };
    await expect(box.create('none', ['true'], withResources(cpuset))).rejects.toThrow(
      'cpuset.cpus = 4000',
    );
    expect(box.cgroupDirs().filter((dir) => existsSync(join(dir, 'none')))).toEqual([]);
  });

  test('a change of which one part is refused changes nothing', async () => {
    const before = { memory: { limit: 64 * MIB, swap: 96 * MIB }, pids: { limit: 20 } };
    await box.run('whole', 'sleep 100', withResources(before));
    const files = onV1
      ? ['memory.limit_in_bytes', 'memory.memsw.limit_in_bytes', 'cpu.cfs_quota_us', 'cpu.shares']
      : ['memory.max', 'memory.swap.max', 'cpu.max', 'cpu.weight'];
    const limits = () => files.map((file) => control('whole', file.split('.')[0]!, file));
    const were = limits();
    const cpu = { quota: 50_000, period: 100_000, shares: 512, cpus: '4000' };
    for (const limit of [32 * MIB, 256 * MIB, null]) {
      const change = { memory: { limit, swap: limit }, cpu, pids: { limit: 9 }, devices: [] };
      const changing = box.runtime.updateResources('whole', change);
      await expect(changing).rejects.toThrow('cpuset.cpus = 4000');
      expect(limits()).toEqual(were);
    }
    expect(box.runtime.stats('whole').pidsLimit).toBe(20);
    await box.runtime.killAll('whole');
  });

  /**
   * A file system on a block device of its own while `use` runs: the box may be in memory. Not where the kernel has no loop
   * devices, as that of the virtual machine.
   */
  async function onBlockDevice(
    skip: (why: string) => never,
    use: (dir: string) => Promise<void>,
  ): Promise<void> {
    const [image, dir] = [join(box.dir, 'disk'), join(box.dir, 'on-disk')];
    mkdirSync(dir);
    writeFileSync(image, '');
    truncateSync(image, 64 * MIB);
    execFileSync('mkfs.ext4', ['-q', image]);
    if (spawnSync('mount', ['-o', 'loop', image, dir]).status !== 0) skip('no loop devices here');
    try {
      await use(dir);
    } finally {
      execFileSync('umount', ['-l', dir]);
    }
  }

  test('what it reads and writes is counted', async ({ skip }) => {
    await onBlockDevice(skip, async (dir) => {
      const disk = { type: 'bind', source: dir, destination: '/disk', options: ['rbind'] };
      const script = 'dd if=/dev/zero of=/disk/data bs=1M count=4 conv=fsync; sleep 100';
      const { dev } = statSync(dir);
      // From Linux 6.10 on, cgroup v1 counts only on devices that have had a throttle.
      const throttle = { major: dev >> 8, minor: dev & 0xff, rate: 1 << 30 };
      const limited = withResources({
        blockIO: {
          weight: null,
          throttleReadBpsDevice: [throttle],
          throttleWriteBpsDevice: [],
          throttleReadIOPSDevice: [],
          throttleWriteIOPSDevice: [],
        },
      });
      await box.run('counted', script, (spec) =>
        limited({ ...spec, mounts: [...spec.mounts, disk] }),
      );
      const counted = () => box.runtime.stats('counted').blockIo;
      await expect
        .poll(() => counted()?.writeBytes ?? 0n, { timeout: 10_000 })
        .toBeGreaterThanOrEqual(4n * 1024n * 1024n);
      expect(counted()?.writeBytes).toBeLessThan(6n * 1024n * 1024n);
      await box.runtime.killAll('counted');
      await box.runtime.wait('counted');
      await box.runtime.remove('counted');
    });
  });

  test('what it sends and receives is counted', async () => {
    const ids = ['one', 'other'] as const;
    for (const id of ids) await box.run(id, 'sleep 100');
    const netnsOf = (id: string) => String(box.runtime.get(id)?.pid);
    const into = (id: string, ...words: string[]) =>
      execFileSync('nsenter', [`--net=/proc/${netnsOf(id)}/ns/net`, ...words]);
    expect(box.runtime.stats('one').networks).toEqual([]);
    const peer = ['peer', 'name', 'eth0', 'netns', netnsOf('other')];
    const type = ['type', 'veth', ...peer];
    execFileSync('ip', ['link', 'add', 'eth0', 'netns', netnsOf('one'), ...type]);
    ids.forEach((id, i) => {
      into(id, 'ip', 'link', 'set', 'eth0', 'addrgenmode', 'none'); // what IPv6 says by itself
      into(id, 'ip', 'addr', 'add', `192.0.2.${i + 1}/24`, 'dev', 'eth0');
      into(id, 'ip', 'link', 'set', 'eth0', 'up');
    });
    into('one', 'busybox', 'ping', '-c', '1', '-W', '5', '192.0.2.2'); // the neighbours know each other
    const before = box.runtime.stats('one').networks;
    into('one', 'busybox', 'ping', '-c', '4', '-i', '0.1', '-s', '1000', '192.0.2.2');
    const [one, other] = ids.map((id) => box.runtime.stats(id).networks[0]);
    const bytes = 4 * (1000 + 8 + 20 + 14); // headers of ICMP, IP and Ethernet
    const sentBytes = one!.sentBytes - before[0]!.sentBytes;
    expect(sentBytes).toBeGreaterThanOrEqual(bytes);
    expect(sentBytes).toBeLessThan(bytes + 200); // ARP
    expect(one).toMatchObject({ name: 'eth0', sendErrors: 0, receiveErrors: 0 });
    expect([other!.receivedBytes, other!.receivedPackets]).toEqual([
      one!.sentBytes,
      one!.sentPackets,
    ]);
    expect([other!.sentBytes, other!.sentPackets]).toEqual([
      one!.receivedBytes,
      one!.receivedPackets,
    ]);
    const [, line = ''] = readFileSync(`/proc/${netnsOf('one')}/net/dev`, 'utf8').split('eth0:');
    const told = line.split('\n')[0]!.trim().split(/\s+/).map(Number); // 8 of what came, 8 of what went
    expect([told.slice(0, 4), told.slice(8, 12)]).toEqual([
      [one!.receivedBytes, one!.receivedPackets, one!.receiveErrors, one!.receiveDropped],
      [one!.sentBytes, one!.sentPackets, one!.sendErrors, one!.sendDropped],
    ]);
    for (const id of ids) await box.runtime.killAll(id);
  });

  test('what is told of its group is what the files of the kernel say at that moment', async () => {
    const written = 'dd if=/dev/zero of=/tmp/data bs=1M count=8';
    const work = `${written}; sleep 100 & sleep 100 & while :; do :; done`;
    await box.run('told', work);
    const read = (file: string): string => {
      const dir = box.cgroupDirs().find((one) => existsSync(join(one, 'told', file)));
      return readFileSync(join(dir ?? '', 'told', file), 'utf8');
    };
    const numberOf = (file: string, key = '') =>
      Number(new RegExp(`^${key}\\s*(\\d+)$`, 'm').exec(read(file))?.[1]);
    const fromFiles = () =>
      onV1
        ? {
            cpuUsageNanos: BigInt(read('cpuacct.usage').trim()),
            memoryUsageBytes: numberOf('memory.usage_in_bytes'),
            memoryInactiveFileBytes: numberOf('memory.stat', 'total_inactive_file'),
            memoryMaxUsageBytes: numberOf('memory.max_usage_in_bytes'),
            pids: numberOf('pids.current'),
          }
        : {
            cpuUsageNanos: BigInt(numberOf('cpu.stat', 'usage_usec')) * 1000n,
            memoryUsageBytes: numberOf('memory.current'),
            memoryInactiveFileBytes: numberOf('memory.stat', 'inactive_file'),
            memoryMaxUsageBytes: numberOf('memory.peak'),
            pids: numberOf('pids.current'),
          };
    // One more than while it writes.
    await expect.poll(() => box.runtime.stats('told').pids, { timeout: 20_000 }).toBe(3);
    await box.runtime.freeze('told');
    // Freezing is not immediate, and the kernel takes back what it lent to each CPU when it likes.
    await expect
      .poll(
        () => {
          const before = fromFiles();
          const told = box.runtime.stats('told');
          return { told, still: isDeepStrictEqual(before, fromFiles()), before };
        },
        { timeout: 20_000 },
      )
      .toSatisfy(({ told, still, before }) => {
        if (still) expect(told).toMatchObject(before);
        return still;
      });
    expect(box.runtime.stats('told').memoryMaxUsageBytes).toBeGreaterThan(8 * MIB);
    await box.runtime.killAll('told');
  });

  test('a frozen container stands still, and can be killed', async () => {
    await box.run('frozen', 'while :; do :; done');
    await box.runtime.freeze('frozen');
    await sleep(100); // freezing is not immediate
    const before = await box.runtime.stats('frozen');
    await sleep(300);
    const after = await box.runtime.stats('frozen');
    expect(after.cpuUsageNanos - before.cpuUsageNanos).toBeLessThan(20_000_000n);
    await box.runtime.killAll('frozen');
    expect(await box.runtime.wait('frozen')).toMatchObject({ exitCode: 137 });
  });
});

// Limits of a service as the kernel holds them: read from the control groups of its running task.
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { clusterTestsCanRun, eventually } from '../support/cluster.ts';
import { useCluster } from '../support/use-cluster.ts';

const IMAGE = 'skep-test/busybox:1';
const MIB = 1024 * 1024;
const WINDOW_MS = 5000;
const onV1 = existsSync('/sys/fs/cgroup/memory');

/** The group of a process in one hierarchy, e.g. `cpu`, or in the only one. */
function groupOf(pid: number, controller: string): string {
  const lines = readFileSync(`/proc/${pid}/cgroup`, 'utf8').trim().split('\n');
  const fields = lines.map((line) => line.split(':'));
  const v1 = fields.find((parts) => parts[1]!.split(',').includes(controller));
  if (v1) return `/sys/fs/cgroup/${controller}${v1[2]}`;
  return `/sys/fs/cgroup${fields.find((parts) => parts[0] === '0')![2]}`;
}

/**
 * Between ten processes of the machine all tasks of a node together do not get half a core: they weigh as much
 * as one of them. Here they come before all others.
 */
function outweighTheMachine(pid: number): void {
  const [file, most] = onV1 ? ['cpu.shares', '262144'] : ['cpu.weight', '10000'];
  const root = onV1 ? '/sys/fs/cgroup/cpu' : '/sys/fs/cgroup';
  for (let at = groupOf(pid, 'cpu'); at.length > root.length; at = dirname(at)) {
    const path = join(at, file);
    if (existsSync(path)) writeFileSync(path, most);
  }
}

const value = (file: string): string => readFileSync(file, 'utf8').trim();

/** Of block IO; undefined = the kernel has none. */
function weightOf(pid: number): string | undefined {
  const group = groupOf(pid, onV1 ? 'blkio' : 'io');
  const files = onV1 ? ['blkio.weight', 'blkio.bfq.weight'] : ['io.weight', 'io.bfq.weight'];
  const file = files.map((name) => join(group, name)).find((path) => existsSync(path));
  return file && value(file);
}

/** Processor time that a group used since it was made. */
function usedMs(pid: number): number {
  if (onV1) return Number(value(`${groupOf(pid, 'cpuacct')}/cpuacct.usage`)) / 1e6;
  return Number(/usage_usec (\d+)/.exec(value(`${groupOf(pid, 'cpu')}/cpu.stat`))![1]) / 1e3;
}

/** One whose node is there; `numbers` are major:minor. */
function someDisk(): { path: string; numbers: string } {
  const name = readdirSync('/sys/block').find((one) => existsSync(`/dev/${one}`));
  if (name === undefined) throw new Error('this machine has no block device with a node in /dev');
  return { path: `/dev/${name}`, numbers: value(`/sys/block/${name}/dev`) };
}

describe.skipIf(!clusterTestsCanRun)('limits of a service', () => {
  const shared = useCluster('lim', { managers: 1, workers: 0 }, (cluster) =>
    cluster.image({ name: IMAGE }),
  );

  const create = (name: string, flags: readonly string[], script: string) =>
    shared.current.skep([
      ...['service', 'create', '--detach', '--no-resolve-image', '--name', name],
      ...flags,
      IMAGE,
      ...['sh', '-c', script],
    ]);

  test('cpus 0.5: a busy loop gets half a core', { timeout: 120_000 }, async () => {
    await create('busy', ['--limit-cpu', '0.5'], 'while :; do :; done');
    const [task] = await shared.current.running('busy', 1);
    const pid = await shared.current.taskPid(task!);
    outweighTheMachine(pid);
    // Never more than half; while the machine has work of real-time priority it may get less.
    const seen: number[] = [];
    while (seen.length < 5 && !seen.some((cores) => cores >= 0.45)) {
      const before = usedMs(pid);
      const startedMs = performance.now();
      await sleep(WINDOW_MS);
      seen.push((usedMs(pid) - before) / (performance.now() - startedMs));
    }
    await shared.current.skep(['service', 'rm', '-d', 'busy']);
    expect(Math.max(...seen), `${seen}`).toBeGreaterThanOrEqual(0.45);
    expect(Math.max(...seen), `${seen}`).toBeLessThanOrEqual(0.55);
  });

  test('memory 64M: allocating 100 MB ends with 137 and says OOM', {
    timeout: 60_000,
  }, async () => {
    await create(
      'greedy',
      ['--limit-memory', '64M', '--restart-condition', 'none'],
      'exec dd if=/dev/zero of=/dev/null bs=100M count=1',
    );
    const task = await eventually(
      'the task failed',
      async () => {
        const [only, ...others] = await shared.current.tasks('greedy');
        expect(others).toEqual([]);
        expect(only!.current, JSON.stringify(only)).toBe('Failed');
        return only!;
      },
      { withinMs: 20_000 },
    );
    expect(task.error).toContain('non-zero exit (137)');
    expect(task.error).toMatch(/OOM|out of memory/i);
    expect((await shared.current.inspectTask(task)).Status.ContainerStatus?.ExitCode).toBe(137);
    const text = await shared.current.skep(['service', 'ps', '--no-trunc', 'greedy']);
    expect(text).toMatch(/OOM|out of memory/i);
    await shared.current.skep(['service', 'rm', '-d', 'greedy']);
  });

  test('a program within its memory is left alone', { timeout: 60_000 }, async () => {
    await create(
      'modest',
      ['--limit-memory', '64M', '--restart-condition', 'none'],
      'dd if=/dev/zero of=/dev/null bs=30M count=3 && echo done',
    );
    await eventually(
      'the task is complete',
      async () => {
        const [task] = await shared.current.tasks('modest');
        expect(task!.current, JSON.stringify(task)).toBe('Complete');
      },
      { withinMs: 20_000 },
    );
    await shared.current.skep(['service', 'rm', '-d', 'modest']);
  });

  test('the values stand in the files of the control group', { timeout: 60_000 }, async () => {
    await create(
      'files',
      ['--limit-cpu', '0.5', '--limit-memory', '64M', '--limit-pids', '33'],
      'exec sleep 1000',
    );
    const [task] = await shared.current.running('files', 1);
    const pid = await shared.current.taskPid(task!);
    const [cpu, memory, pids] = ['cpu', 'memory', 'pids'].map((name) => groupOf(pid, name));
    expect(cpu).toContain(`/skep-${shared.current.name}-manager-1/`);
    expect(value(`${pids}/pids.max`)).toBe('33');
    if (onV1) {
      const quota = Number(value(`${cpu}/cpu.cfs_quota_us`));
      const period = Number(value(`${cpu}/cpu.cfs_period_us`));
      expect(quota / period).toBe(0.5);
      expect(value(`${memory}/memory.limit_in_bytes`)).toBe(`${64 * MIB}`);
    } else {
      const [quota, period] = value(`${cpu}/cpu.max`).split(' ').map(Number);
      expect(quota! / period!).toBe(0.5);
      expect(value(`${memory}/memory.max`)).toBe(`${64 * MIB}`);
    }
    await shared.current.skep(['service', 'rm', '-d', 'files']);
  });

  test.each(['service', 'run'] as const)('throttles of block devices, of %s', async (kind) => {
    const disk = someDisk();
    const flags = [
      ...['--device-read-bps', `${disk.path}:1mb`, '--device-write-bps', `${disk.path}:2mb`],
      ...['--device-read-iops', `${disk.path}:30`, '--device-write-iops', `${disk.path}:40`],
    ];
    const { current } = shared;
    let pid: number;
    if (kind === 'service') {
      await create('io', flags, 'exec sleep 1000');
      pid = await current.taskPid((await current.running('io', 1))[0]!);
    } else {
      await current.skep(['run', '-d', '--name', 'io', ...flags, IMAGE, 'sleep', '1000']);
      pid = Number(await current.skep(['inspect', '-f', '{{.State.Pid}}', 'io']));
    }
    const of = disk.numbers;
    if (onV1) {
      const line = (name: string): string =>
        value(`${groupOf(pid, 'blkio')}/blkio.throttle.${name}_device`);
      expect(line('read_bps')).toBe(`${of} ${MIB}`);
      expect(line('write_bps')).toBe(`${of} ${2 * MIB}`);
      expect(line('read_iops')).toBe(`${of} 30`);
      expect(line('write_iops')).toBe(`${of} 40`);
    } else {
      const limits = `rbps=${MIB} wbps=${2 * MIB} riops=30 wiops=40`;
      expect(value(`${groupOf(pid, 'io')}/io.max`)).toBe(`${of} ${limits}`);
    }
    await current.skep(kind === 'service' ? ['service', 'rm', '-d', 'io'] : ['rm', '-f', 'io']);
  });

  test('a weight of block IO, of run and of a service, holds or is refused', {
    timeout: 60_000,
  }, async () => {
    const { current } = shared;
    const flags = ['--blkio-weight', '300'];
    const command = [...flags, IMAGE, 'sleep', '1000'];
    const run = await current.try(['run', '-d', '--name', 'weight', ...command]);
    if (run.code !== 0)
      expect(run.stderr).toContain('block IO weight 300: the kernel of this node');
    else {
      const pid = Number(await current.skep(['inspect', '-f', '{{.State.Pid}}', 'weight']));
      expect(weightOf(pid)).toMatch(onV1 ? /^300$/ : /^(default 2930|default 300)$/m);
    }
    await current.skep(['rm', '-f', 'weight']);
    await create('weight', flags, 'exec sleep 1000');
    if (run.code === 0) {
      const [task] = await current.running('weight', 1);
      expect(weightOf(await current.taskPid(task!))).toMatch(/300|2930/);
    } else {
      await eventually(
        'a task is refused',
        async () => {
          const states = (await current.tasks('weight')).map(({ current: state }) => state);
          expect(states).toContain('Rejected');
        },
        { withinMs: 15_000 },
      );
    }
    await current.skep(['service', 'rm', '-d', 'weight']);
  });

  test('a service without limits has none', { timeout: 60_000 }, async () => {
    await create('free', [], 'exec sleep 1000');
    const [task] = await shared.current.running('free', 1);
    const pid = await shared.current.taskPid(task!);
    if (onV1) {
      expect(value(`${groupOf(pid, 'cpu')}/cpu.cfs_quota_us`)).toBe('-1');
      expect(Number(value(`${groupOf(pid, 'memory')}/memory.limit_in_bytes`))).toBeGreaterThan(
        2 ** 60,
      );
    } else {
      expect(value(`${groupOf(pid, 'cpu')}/cpu.max`)).toMatch(/^max /);
      expect(value(`${groupOf(pid, 'memory')}/memory.max`)).toBe('max');
    }
    await shared.current.skep(['service', 'rm', '-d', 'free']);
  });
});

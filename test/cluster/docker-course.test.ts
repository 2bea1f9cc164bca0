// What courses on containers have their readers do with the real docker command, where no other suite does: lists of
// containers in every form, limits as files of the kernel, restart policies over every kind of end.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { clusterTestsCanRun, eventually, run, succeeded } from '../support/cluster.ts';
import { useCluster } from '../support/use-cluster.ts';

const hasDocker = spawnSync('docker', ['--version']).status === 0;
const title = hasDocker
  ? 'the course with docker'
  : 'the course with docker (skipped: docker is not installed)';
const SOON = { withinMs: 20_000 };
const MIB = 1024 * 1024;
const onV1 = existsSync('/sys/fs/cgroup/memory');

describe.skipIf(!clusterTestsCanRun || !hasDocker)(title, { timeout: 90_000 }, () => {
  let dir: string;
  beforeAll(() => {
    dir = mkdtempSync(join(tmpdir(), 'skep-test-'));
  });
  afterAll(() => rmSync(dir, { recursive: true, force: true }));
  const shared = useCluster('course', { managers: 1, workers: 0 }, (cluster) =>
    cluster.image({ name: 'box:latest', cmd: ['sleep', '1000'], exposedPorts: ['80/tcp'] }),
  );
  afterEach(async () => {
    const ids = (await docker('ps', '-aq')).split('\n').filter((id) => id !== '');
    if (ids.length > 0) await docker('rm', '-f', ...ids);
  });

  const tryDocker = (args: readonly string[]) =>
    run(['docker', ...args], {
      limitMs: 30_000,
      env: { DOCKER_HOST: `unix://${shared.current.hosts[0]!.socket}`, DOCKER_CONFIG: dir },
    });
  const docker = async (...args: readonly string[]): Promise<string> =>
    succeeded(await tryDocker(args)).stdout.trim();
  const rows = async (...flags: readonly string[]): Promise<string[]> =>
    (await docker('ps', ...flags)).split('\n').filter((row) => row !== '');
  const inspect = (name: string, format: string) => docker('inspect', '-f', format, name);

  test('ps in every form, port, and logs of the last lines', async () => {
    const first = await docker('run', '-d', '--name', 'first', '-p', '8080:80', '-l', 'a=b', 'box');
    await tryDocker(['run', '--name', 'second', 'box', 'sh', '-c', 'echo 1; echo 2; exit 3']);
    const last = await docker('create', '--name', 'third', 'box');
    const names = ['--format', '{{.Names}}'];
    expect(await rows(...names)).toEqual(['first']);
    expect(await rows('-a', ...names)).toEqual(['third', 'second', 'first']);
    expect(await rows('-l', ...names)).toEqual(['third']);
    expect(await rows('-n', '2', ...names)).toEqual(['third', 'second']);
    expect(await rows('-q', '--no-trunc')).toEqual([first]);
    expect(await rows('-aq', '-n', '1')).toEqual([last.slice(0, 12)]);
    expect((await rows('-s'))[1]).toMatch(/ \d+(\.\d+)?k?B \(virtual \d+(\.\d+)?[kM]B\)$/);
    const filtered = async (filter: string) => rows('-a', '--filter', filter, ...names);
    expect(await filtered('exited=3')).toEqual(['second']);
    expect(await filtered('status=created')).toEqual(['third']);
    expect(await filtered('label=a=b')).toEqual(['first']);
    expect(await filtered('name=^/f')).toEqual(['first']);
    expect(await filtered('publish=8080')).toEqual(['first']);
    expect(await filtered('expose=80')).toEqual(['third', 'second', 'first']);
    expect(await filtered('before=second')).toEqual(['first']);
    expect(await filtered('since=second')).toEqual(['third']);
    expect(await filtered('ancestor=box')).toEqual(['third', 'second', 'first']);
    expect(await docker('port', 'first')).toContain('80/tcp -> 0.0.0.0:8080');
    expect(await docker('port', 'first', '80')).toContain('0.0.0.0:8080');
    expect(await docker('logs', '-n', '1', 'second')).toBe('2');
    expect(await inspect('second', '{{.State.ExitCode}} {{.Name}}')).toBe('3 /second');
  });

  test('limits of run are the values in the files of the kernel', async () => {
    const flags = [
      ...['--cpu-period', '100000', '--cpu-quota', '50000', '--cpu-shares', '512'],
      ...['--cpuset-cpus', '0', '-m', '300m', '--memory-swap', '600m', '--pids-limit', '1000'],
    ];
    await docker('run', '-d', '--name', 'limited', ...flags, 'box');
    const pid = await inspect('limited', '{{.State.Pid}}');
    const groups = readFileSync(`/proc/${pid}/cgroup`, 'utf8').trim().split('\n');
    const control = (controller: string, file: string): string => {
      const fields = groups.map((line) => line.split(':'));
      const own = fields.find(([, names]) => names!.split(',').includes(onV1 ? controller : ''));
      const root = onV1 ? `/sys/fs/cgroup/${controller}` : '/sys/fs/cgroup';
      return readFileSync(`${root}${own![2]}/${file}`, 'utf8').trim();
    };
    if (onV1) {
      expect(control('cpu', 'cpu.cfs_period_us')).toBe('100000');
      expect(control('cpu', 'cpu.cfs_quota_us')).toBe('50000');
      expect(control('cpu', 'cpu.shares')).toBe('512');
      expect(control('memory', 'memory.limit_in_bytes')).toBe(`${300 * MIB}`);
      expect(control('memory', 'memory.memsw.limit_in_bytes')).toBe(`${600 * MIB}`);
    } else {
      expect(control('cpu', 'cpu.max')).toBe('50000 100000');
      expect(control('memory', 'memory.max')).toBe(`${300 * MIB}`);
      expect(control('memory', 'memory.swap.max')).toBe(`${300 * MIB}`);
    }
    expect(control('cpuset', 'cpuset.cpus')).toBe('0');
    expect(control('pids', 'pids.max')).toBe('1000');
    const stats = await docker('stats', '--no-stream', '--format', '{{.MemUsage}}', 'limited');
    expect(stats).toMatch(/ \/ 300MiB$/);
    await docker(
      'update',
      '-m',
      '200m',
      '--memory-swap',
      '400m',
      '--cpu-quota',
      '10000',
      'limited',
    );
    const quota = onV1 ? 'cpu.cfs_quota_us' : 'cpu.max';
    expect(control('cpu', quota)).toMatch(/^10000\b/);
    expect(await inspect('limited', '{{.State.Pid}}')).toBe(pid);
    expect(await docker('stats', '--no-stream', '--format', '{{.MemUsage}}', 'limited')).toMatch(
      / \/ 200MiB$/,
    );
  });

  test.skipIf(!onV1)('who may not be killed for memory is warned of without a limit', async () => {
    const result = await tryDocker(['run', '--rm', '--oom-kill-disable', 'box', 'true']);
    expect(result.code).toBe(0);
    expect(result.stderr).toContain(
      'OOM killer is disabled for the container, but no memory limit',
    );
  });

  /** Restart policy -> whether it runs again after exit 0, exit 1, and when the daemon that was killed is back. */
  const POLICIES = {
    no: [false, false, false],
    'on-failure:3': [false, true, true],
    always: [true, true, true],
    'unless-stopped': [true, true, true],
  } as const;

  test('restart policies over every kind of end', async () => {
    const { current } = shared;
    const host = current.hosts[0]!.name;
    // The first run ends as the name says, the second goes on; `killed` ends with its node's daemon, by a signal.
    const once = (code: number) => `[ -e /ran ] && exec sleep 1000; touch /ran; exit ${code}`;
    const killed = '[ -e /ran ] && exec sleep 1000; touch /ran; exec sleep 999';
    const ends = { zero: once(0), one: once(1), killed } as const;
    const name = (policy: string, end: string) => `${policy.replace(':', '-')}-${end}`;
    for (const policy of Object.keys(POLICIES)) {
      for (const [end, script] of Object.entries(ends)) {
        const flags = ['-d', '--restart', policy, '--name', name(policy, end)];
        await docker('run', ...flags, 'box', 'sh', '-c', script);
      }
    }
    const pids = await Promise.all(
      Object.keys(POLICIES).map((policy) => inspect(name(policy, 'killed'), '{{.State.Pid}}')),
    );
    await current.dev('kill', host);
    for (const pid of pids) process.kill(Number(pid), 'SIGKILL');
    await current.dev('start', host);
    for (const [policy, runs] of Object.entries(POLICIES)) {
      for (const [i, end] of Object.keys(ends).entries()) {
        const words = name(policy, end);
        await eventually(
          `${words} is as it should be`,
          async () =>
            expect(await inspect(words, '{{.State.Status}}')).toBe(runs[i] ? 'running' : 'exited'),
          SOON,
        );
      }
    }
    // Nobody comes back later either.
    for (const [policy, runs] of Object.entries(POLICIES)) {
      for (const [i, end] of Object.keys(ends).entries()) {
        const expected = runs[i] ? 'running' : 'exited';
        expect(await inspect(name(policy, end), '{{.State.Status}}')).toBe(expected);
      }
    }
  });
});

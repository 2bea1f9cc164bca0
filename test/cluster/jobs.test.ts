// Jobs with real containers: completions, concurrency, restart policy, iterations; skep and docker.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  clusterTestsCanRun,
  eventually,
  run,
  succeeded,
  type TestCluster,
  tableRows,
} from '../support/cluster.ts';
import { useCluster } from '../support/use-cluster.ts';

const IMAGE = 'skep-test/busybox:1';
const hasDocker = spawnSync('docker', ['--version']).status === 0;

/** Of tasks that log the time when they begin and when they end: how many there were at one time. */
function mostAtOnce(logs: string): number {
  const times = new Map<string, number[]>();
  for (const line of logs.trimEnd().split('\n')) {
    const [task = '', time] = line.split('|');
    times.set(task, [...(times.get(task) ?? []), Number(time)]);
  }
  const spans = [...times.values()];
  const begun = spans.map(([from = Number.NaN]) => from);
  return Math.max(
    ...begun.map((at) => spans.filter(([from = 0, to = 0]) => from <= at && at < to).length),
  );
}

/** REPLICAS of `service ls`. */
async function replicasOf(cluster: TestCluster, name: string): Promise<string> {
  const args = ['service', 'ls', '--filter', `name=${name}`, '--format', '{{.Replicas}}'];
  return (await cluster.skep(args)).trim();
}

describe.skipIf(!clusterTestsCanRun)('jobs', () => {
  const shared = useCluster('jobs', { managers: 1, workers: 1 }, (cluster) =>
    cluster.image({ name: IMAGE }),
  );

  const create = (flags: readonly string[], script: string) =>
    shared.current.try([
      ...['service', 'create', '--detach=false', '--no-resolve-image', ...flags],
      ...[IMAGE, 'sh', '-c', script],
    ]);
  const remove = (name: string) => shared.current.skep(['service', 'rm', name]);

  test('5 completions, 2 at a time, then it is over', { timeout: 90_000 }, async () => {
    const cluster = shared.current;
    const flags = ['--name', 'five', '--mode', 'replicated-job'];
    const script = 'cut -d" " -f1 /proc/uptime; sleep 1; cut -d" " -f1 /proc/uptime';
    const { code, stdout } = await create(
      [...flags, '--replicas', '5', '--max-concurrent', '2'],
      script,
    );
    expect(stdout).toContain('job progress: 5 out of 5 complete');
    expect(stdout.trimEnd().split('\n').at(-1)).toBe('job complete');
    expect(code).toBe(0);
    expect(mostAtOnce(await cluster.skep(['service', 'logs', 'five']))).toBe(2);
    expect(await replicasOf(cluster, 'five')).toBe('0/2 (5/5 completed)');
    const states = (await cluster.tasks('five')).map((task) => `${task.desired} ${task.current}`);
    expect(states).toEqual(Array(5).fill('Complete Complete'));
    await remove('five');
  });

  test('a failing job is tried as often as its policy says', { timeout: 90_000 }, async () => {
    const cluster = shared.current;
    const policy = ['--restart-condition', 'on-failure', '--restart-max-attempts', '2'];
    const { code, stderr } = await create(
      ['--name', 'bad', '--mode', 'replicated-job', ...policy, '--restart-delay', '500ms'],
      'exit 3',
    );
    expect([code, stderr]).toEqual([1, 'job failed: 1 of 1 tasks did not complete\n']);
    const tasks = await cluster.tasks('bad');
    expect(tasks.map(({ current, error }) => `${current} ${error}`)).toEqual(
      Array(3).fill('Failed "task: non-zero exit (3)"'),
    );
    expect(await replicasOf(cluster, 'bad')).toBe('0/1 (0/1 completed)');
    await remove('bad');
  });

  test('with condition none the rest of the job goes on', { timeout: 90_000 }, async () => {
    const cluster = shared.current;
    const dir = mkdtempSync(join(tmpdir(), 'skep-test-'));
    try {
      const mode = ['--mode', 'replicated-job', '--replicas', '3', '--max-concurrent', '1'];
      const mount = ['--mount', `type=bind,source=${dir},target=/shared`];
      // Only the first one to come can make the folder.
      const script = 'mkdir /shared/first 2>/dev/null && exit 1; exit 0';
      const { stdout, stderr } = await create(
        ['--name', 'half', ...mode, ...mount, '--restart-condition', 'none'],
        script,
      );
      expect(stdout).toContain('job progress: 2 out of 3 complete');
      expect(stderr).toBe('job failed: 1 of 3 tasks did not complete\n');
      const states = (await cluster.tasks('half')).map(({ current }) => current).sort();
      expect(states).toEqual(['Complete', 'Complete', 'Failed']);
      await remove('half');
    } finally {
      rmSync(dir, { recursive: true });
    }
  });

  test('a global job runs once on each node, and again when forced', {
    timeout: 90_000,
  }, async () => {
    const cluster = shared.current;
    const { code, stderr } = await create(['--name', 'all', '--mode', 'global-job'], 'true');
    expect([code, stderr]).toEqual([0, '']);
    expect(await replicasOf(cluster, 'all')).toBe('0/0 (2/2 completed)');
    const before = await cluster.tasks('all');
    expect(before.map(({ node }) => node).sort()).toEqual(['manager-1', 'worker-1']);
    await cluster.skep(['service', 'update', '--detach=false', '--force', 'all']);
    const after = await eventually(
      'only tasks of the new iteration',
      async () => {
        const tasks = await cluster.tasks('all');
        expect(tasks).toHaveLength(2);
        return tasks;
      },
      { withinMs: 10_000 },
    );
    expect(after.some(({ id }) => before.some((task) => task.id === id))).toBe(false);
    expect(await replicasOf(cluster, 'all')).toBe('0/0 (2/2 completed)');
    await remove('all');
  });

  describe.skipIf(!hasDocker)('with the docker CLI', () => {
    let config: string;
    beforeAll(() => {
      config = mkdtempSync(join(tmpdir(), 'skep-test-'));
    });
    afterAll(() => rmSync(config, { recursive: true, force: true }));

    test('creates, follows, lists and repeats a job', { timeout: 90_000 }, async () => {
      const env = {
        DOCKER_HOST: `unix://${shared.current.hosts[0]!.socket}`,
        DOCKER_CONFIG: config,
      };
      const docker = async (...args: string[]) =>
        succeeded(await run(['docker', ...args], { env })).stdout;
      const flags = ['--name', 'dock', '--mode', 'replicated-job', '--replicas', '3'];
      const wait = ['--detach=false', '--no-resolve-image'];
      const said = await docker(
        ...['service', 'create', ...wait, ...flags, '--max-concurrent', '2', IMAGE, 'true'],
      );
      expect(said).toContain('active tasks: 0 out of 0 tasks');
      expect(said).toContain('job complete');
      const row = tableRows(await docker('service', 'ls', '--filter', 'mode=replicated-job')).at(
        -1,
      );
      expect(row!.slice(1, 4)).toEqual(['dock', 'replicated job', '0/2 (3/3 completed)']);
      const ps = ['service', 'ps', '--format', '{{.DesiredState}} {{.CurrentState}}', 'dock'];
      expect((await docker(...ps)).match(/^Complete Complete/gm)).toHaveLength(3);
      expect(await docker('service', 'update', ...wait, '--force', 'dock')).toContain(
        'job complete',
      );
      await docker('service', 'rm', 'dock');
    });

    shared.testAnswers(10);
  });
});

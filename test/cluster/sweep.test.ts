// What belongs to no task and no container goes while the daemon runs, within a minute, and nothing else does.
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { clusterTestsCanRun, eventually } from '../support/cluster.ts';
import { useCluster } from '../support/use-cluster.ts';

const IMAGE = 'skep-test/busybox:1';
const OF_A_TASK = 'a'.repeat(25);
const OF_A_CONTAINER = 'b'.repeat(64);

describe.skipIf(!clusterTestsCanRun)('sweep of a node in service', () => {
  const shared = useCluster('swp', { managers: 1, workers: 0 }, (cluster) =>
    cluster.image({ name: IMAGE }),
  );
  const strays: ChildProcess[] = [];
  afterAll(() => {
    for (const stray of strays) stray.kill('SIGKILL');
  });

  test('planted leftovers are gone after a minute, what starts meanwhile is not', {
    timeout: 150_000,
  }, async () => {
    const cluster = shared.current;
    const skep = (...args: string[]) => cluster.skep(args);
    await skep(
      ...['service', 'create', '--detach', '--no-resolve-image', '--name', 'kept'],
      ...['--stop-grace-period', '1s', IMAGE, 'sleep', '1d'],
    );
    const [task] = await cluster.running('kept', 1);
    const pid = await cluster.taskPid(task!);
    const plain = (await skep('run', '-d', IMAGE, 'sleep', '1d')).trim();
    const { name } = cluster.hosts[0]!;
    // On v1 the one in which a container's processes are looked for.
    const groups = cluster.taskGroups(name);
    const parent = dirname(groups.find((group) => group.includes('/pids/')) ?? groups[0]!);
    const dataDir = `/var/lib/skep-dev/${cluster.name}/${name}/data`;
    const planted: string[] = [];
    for (const id of [OF_A_TASK, OF_A_CONTAINER]) {
      const stray = spawn('sleep', ['1000'], { stdio: 'ignore' });
      strays.push(stray);
      mkdirSync(join(parent, id));
      writeFileSync(join(parent, id, 'cgroup.procs'), String(stray.pid));
      const folders = ['tasks', 'files'].map((room) => join(dataDir, room, id));
      for (const folder of folders) mkdirSync(folder);
      planted.push(join(parent, id), ...folders);
    }
    let replicas = 1;
    const started: string[] = [];
    await eventually(
      'the leftovers are gone',
      async () => {
        replicas = replicas === 1 ? 3 : 1; // something starts and ends all the while
        await skep('service', 'scale', '--detach', `kept=${replicas}`);
        started.push(...(await cluster.running('kept', replicas)).map(({ id }) => id));
        expect(planted.filter((path) => existsSync(path))).toEqual([]);
      },
      { withinMs: 90_000, everyMs: 1000 },
    );
    expect(strays.map(({ signalCode }) => signalCode)).toEqual(['SIGKILL', 'SIGKILL']);
    expect(await cluster.taskPid(task!)).toBe(pid);
    expect(new Set(started).size).toBeGreaterThan(3);
    const failed = (await cluster.tasks('kept')).filter(({ error }) => error !== '');
    expect(failed).toEqual([]);
    expect(await skep('exec', plain, 'echo', 'alive')).toBe('alive\n');
  });
});

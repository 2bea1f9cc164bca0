// Tasks, daemons and links that fail: what the cluster does about each, and how soon.
import { describe, expect, test } from 'vitest';
import {
  clusterTestsCanRun,
  eventually,
  isAlive,
  type TaskRow,
  type TestCluster,
} from '../support/cluster.ts';
import { useCluster } from '../support/use-cluster.ts';

const IMAGE = 'skep-test/busybox:1';
const RESTART_DELAY_MS = 1000;
/** A silent node is down after three heartbeats of 2 s, and its tasks are to run elsewhere soon after. */
const REPLACED_WITHIN_MS = 10_000;
/** A killed daemon's connections break: it has 2 s to come back. */
const RESET_REPLACED_WITHIN_MS = 3_000;

describe.skipIf(!clusterTestsCanRun)('failures in a cluster of 3 managers and 2 workers', () => {
  const shared = useCluster('fail', { managers: 3, workers: 2 }, (cluster) =>
    cluster.image({ name: IMAGE }),
  );

  async function create(name: string, flags: readonly string[]): Promise<void> {
    await shared.current.skep([
      ...['service', 'create', '--detach', '--no-resolve-image', '--name', name, ...flags],
      ...[IMAGE, 'sleep', '100000'],
    ]);
  }

  async function pidsOf(cluster: TestCluster, tasks: readonly TaskRow[]) {
    const pids = new Map<string, number>();
    for (const task of tasks) pids.set(task.id, await cluster.taskPid(task));
    return pids;
  }

  test('a killed task is replaced in its slot, after the delay', { timeout: 60_000 }, async () => {
    const cluster = shared.current;
    await create('victim', ['--replicas', '3', '--restart-delay', `${RESTART_DELAY_MS}ms`]);
    const tasks = await cluster.running('victim', 3);
    const victim = tasks.find((task) => task.name === 'victim.2')!;
    const pid = await cluster.taskPid(victim);
    process.kill(pid, 'SIGKILL');
    const killedMs = performance.now();
    const [next] = await eventually(
      'a new victim.2',
      async () => {
        const now = await cluster.tasks('victim');
        const found = now.filter(
          (task) => task.name === 'victim.2' && task.id !== victim.id && task.current === 'Running',
        );
        expect(found, JSON.stringify(now)).toHaveLength(1);
        return found;
      },
      { withinMs: RESTART_DELAY_MS + 2000 },
    );
    expect(performance.now() - killedMs).toBeGreaterThan(RESTART_DELAY_MS);
    expect(await cluster.taskPid(next!)).not.toBe(pid);
    const old = (await cluster.tasks('victim')).find((task) => task.id === victim.id)!;
    expect(old).toMatchObject({ desired: 'Shutdown', current: 'Failed' });
    expect(old.error).toContain('non-zero exit (137)');
    // The others were left alone.
    const rest = tasks.filter((task) => task.id !== victim.id).map((task) => task.id);
    const still = (await cluster.running('victim', 3)).map((task) => task.id);
    expect(still).toEqual(expect.arrayContaining(rest));
    await cluster.skep(['service', 'rm', '-d', 'victim']);
  });

  test('without its leader the cluster goes on, and tasks there too', {
    timeout: 90_000,
  }, async () => {
    const cluster = shared.current;
    await create('lasting', ['--mode', 'global', '--stop-grace-period', '1s']);
    await create('growing', ['--replicas', '1', '--constraint', 'node.role==worker']);
    const tasks = await cluster.running('lasting', 5);
    await cluster.running('growing', 1);
    const format = '{{.Hostname}} {{.ManagerStatus}}';
    const nodes = await cluster.skep(['node', 'ls', '--format', format]);
    const leader = /^(\S+) Leader$/m.exec(nodes)![1]!;
    const other = cluster.managers.find((host) => host.name !== leader)!.name;
    const there = tasks.filter((task) => task.node === leader);
    expect(there).toHaveLength(1);
    const pids = await pidsOf(cluster, tasks);

    await cluster.dev('kill', leader);
    const killedMs = performance.now();
    await eventually(
      `${other} accepts a scale`,
      () => cluster.skep(['service', 'scale', '--detach', 'growing=2'], { host: other }),
      { withinMs: 3000, everyMs: 50 },
    );
    console.log(
      `a write was accepted ${Math.round(performance.now() - killedMs)} ms after the kill`,
    );
    await cluster.running('growing', 2, { host: other });
    for (const [id, pid] of pids) expect(isAlive(pid), `${id} ${pid}`).toBe(true);

    await cluster.dev('start', leader);
    await eventually(
      'five ready nodes',
      async () => {
        const text = await cluster.skep(['node', 'ls', '--format', '{{.Status}}'], { host: other });
        expect(text.trim().split('\n')).toEqual(Array(5).fill('Ready'));
      },
      { withinMs: 20_000 },
    );
    // Adopted: the same tasks with the same processes, and under command again.
    const after = await cluster.running('lasting', 5, { host: leader });
    expect(new Set(after.map((task) => task.id))).toEqual(new Set(pids.keys()));
    expect(await pidsOf(cluster, after)).toEqual(pids);
    const container = `${there[0]!.name}.${there[0]!.id}`;
    const names = await cluster.skep(['ps', '--format', '{{.Names}}'], { host: leader });
    expect(names.split('\n')).toContain(container);
    await cluster.skep(['service', 'rm', '-d', 'lasting', 'growing'], { host: other });
    await eventually(
      'the adopted task ends when it is told to',
      () => expect([...pids.values()].filter(isAlive)).toEqual([]),
      { withinMs: 15_000 },
    );
  });

  test('a host that is cut off is replaced, and tidied when it returns', {
    timeout: 120_000,
  }, async () => {
    const cluster = shared.current;
    const lost = 'worker-2';
    await create('spread', ['--replicas', '5', '--stop-grace-period', '1s']);
    const before = await cluster.running('spread', 5);
    const there = before.filter((task) => task.node === lost);
    expect(there).toHaveLength(1);
    const pid = await cluster.taskPid(there[0]!);

    await cluster.dev('cut', lost);
    const cutMs = performance.now();
    const statusOf = async (): Promise<string> =>
      (await cluster.skep(['node', 'ls', '--format', '{{.Hostname}} {{.Status}}']))
        .split('\n')
        .find((line) => line.startsWith(`${lost} `))!
        .split(' ')[1]!;
    const now = await eventually(
      'its task runs elsewhere',
      async () => {
        const tasks = await cluster.running('spread', 5, { withinMs: 0 });
        expect(tasks.map((task) => task.node)).not.toContain(lost);
        return tasks;
      },
      { withinMs: REPLACED_WITHIN_MS, everyMs: 100 },
    );
    console.log(`replaced ${Math.round(performance.now() - cutMs)} ms after the cut`);
    expect(await statusOf()).toBe('Down');
    // The others stayed where they were; the one on the lost host still runs there, out of reach.
    const rest = before.filter((task) => task.node !== lost).map((task) => task.id);
    expect(now.map((task) => task.id)).toEqual(expect.arrayContaining(rest));
    expect(isAlive(pid)).toBe(true);

    await cluster.dev('heal', lost);
    await eventually(`${lost} is ready`, async () => expect(await statusOf()).toBe('Ready'), {
      withinMs: 30_000,
      everyMs: 250,
    });
    await eventually(
      'the surplus task is gone',
      async () => {
        expect(isAlive(pid)).toBe(false);
        expect(await cluster.skep(['ps', '-q'], { host: lost })).toBe('');
      },
      { withinMs: 20_000, everyMs: 250 },
    );
    await cluster.running('spread', 5);
    await cluster.skep(['service', 'rm', '-d', 'spread']);
  });

  test('the address of a task on a lost host is that of its successor, and stays so when the host is back', {
    timeout: 120_000,
  }, async () => {
    const cluster = shared.current;
    const [lost, other] = ['worker-2', 'worker-1'];
    const availability = (word: string) =>
      cluster.skep(['node', 'update', '--availability', word, other]);
    await cluster.skep(['network', 'create', '-d', 'overlay', '--subnet', '10.77.0.0/24', 'own']);
    await availability('pause');
    const network = ['--network', 'name=own,ip=10.77.0.9'];
    await create('pinned', [...network, '--constraint', 'node.role==worker']);
    const [before] = await cluster.running('pinned', 1);
    expect(before!.node).toBe(lost);
    await availability('active');
    const addressOf = (task: TaskRow): Promise<string> => {
      const format = '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}';
      const args = ['container', 'inspect', '-f', format, `${task.name}.${task.id}`];
      return cluster.skep(args, { host: task.node });
    };
    expect(await addressOf(before!)).toBe('10.77.0.9\n');
    const pid = await cluster.taskPid(before!);

    await cluster.dev('cut', lost);
    try {
      const now = await eventually(
        'it runs elsewhere',
        async () => {
          const [task] = await cluster.running('pinned', 1, { withinMs: 0 });
          expect(task!.node).toBe(other);
          return task!;
        },
        { withinMs: 20_000, everyMs: 100 },
      );
      expect(await addressOf(now)).toBe('10.77.0.9\n');
      expect(isAlive(pid)).toBe(true);
      await cluster.dev('heal', lost);
      await eventually('what was lost is ended', () => expect(isAlive(pid)).toBe(false), {
        withinMs: 40_000,
        everyMs: 250,
      });
      const [still] = await cluster.running('pinned', 1);
      expect(still!.id).toBe(now.id);
      expect(await addressOf(still!)).toBe('10.77.0.9\n');
    } finally {
      await cluster.dev('heal', lost);
      await cluster.skep(['service', 'rm', '-d', 'pinned']);
    }
    await eventually('its network is free', () => cluster.skep(['network', 'rm', 'own']), {
      withinMs: 20_000,
    });
  });

  test('a daemon that died is not waited for as long as a silent host', {
    timeout: 60_000,
  }, async () => {
    const cluster = shared.current;
    const lost = 'worker-1';
    await create('moved', ['--replicas', '5', '--stop-grace-period', '1s']);
    const before = await cluster.running('moved', 5);
    expect(before.filter((task) => task.node === lost)).toHaveLength(1);
    await cluster.dev('kill', lost);
    const killedMs = performance.now();
    await eventually(
      'its task runs elsewhere',
      async () => {
        const tasks = await cluster.running('moved', 5, { withinMs: 0 });
        expect(tasks.map((task) => task.node)).not.toContain(lost);
      },
      { withinMs: RESET_REPLACED_WITHIN_MS, everyMs: 100 },
    );
    console.log(`replaced ${Math.round(performance.now() - killedMs)} ms after the kill`);
    await cluster.dev('start', lost);
    await cluster.skep(['service', 'rm', '-d', 'moved']);
    await eventually(
      'the surplus task is gone',
      async () => expect(await cluster.skep(['ps', '-q'], { host: lost })).toBe(''),
      { withinMs: 20_000, everyMs: 250 },
    );
  });

  test('a daemon that was stopped politely finds its tasks again', {
    timeout: 60_000,
  }, async () => {
    const cluster = shared.current;
    const host = 'worker-1';
    await create('kept', ['--constraint', `node.hostname==${host}`, '--stop-grace-period', '1s']);
    const [task] = await cluster.running('kept', 1);
    const pid = await cluster.taskPid(task!);
    const status = JSON.parse(await cluster.dev('status', '--json')) as {
      hosts: { name: string; pid: number }[];
    };
    const daemon = status.hosts.find((one) => one.name === host)!.pid;
    process.kill(daemon, 'SIGTERM');
    await eventually('the daemon ends', () => expect(isAlive(daemon)).toBe(false), {
      withinMs: 5000,
    });
    expect(isAlive(pid)).toBe(true);
    await cluster.dev('start', host);
    const [same] = await cluster.running('kept', 1);
    expect(same!.id).toBe(task!.id);
    expect(await cluster.taskPid(same!)).toBe(pid);
    // And what it would have missed is noticed: its end, with the exit status.
    process.kill(pid, 'SIGKILL');
    await eventually(
      'its end is told',
      async () => {
        const old = (await cluster.tasks('kept')).find((one) => one.id === task!.id);
        expect(old).toMatchObject({ current: 'Failed' });
        expect(old!.error).toContain('137');
      },
      { withinMs: 10_000 },
    );
    await cluster.skep(['service', 'rm', '-d', 'kept']);
  });
});

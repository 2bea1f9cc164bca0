// What Swarm's users never had, on real hosts: a stack and its services are read, entered, measured, stopped and started.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { clusterTestsCanRun, eventually, succeeded, tableRows } from '../support/cluster.ts';
import { useCluster } from '../support/use-cluster.ts';

const IMAGE = 'skep-test/verbs:1';

describe.skipIf(!clusterTestsCanRun)('the verbs of stacks and services', () => {
  let dir: string;
  const shared = useCluster('verbs', { managers: 1, workers: 1 }, (cluster) =>
    cluster.image({ name: IMAGE, entrypoint: ['/bin/sh', '-c'], cmd: ['exec sleep 3600'] }),
  );
  const skep = (...words: string[]): Promise<string> => shared.current.skep(words);
  const ids = async (service: string, count: number): Promise<string[]> =>
    (await shared.current.running(service, count)).map(({ id }) => id).sort();

  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), 'skep-test-'));
    const loud = 'echo "here is $NAME"; trap "exit 0" TERM; while :; do sleep 1; done';
    const of = (name: string, replicas: number): string =>
      `{image: "${IMAGE}", command: ['${loud.replaceAll('$', '$$$$')}'], environment: {NAME: ${name}}, stop_grace_period: 1s, ` +
      `deploy: {replicas: ${replicas}, update_config: {monitor: 1s, parallelism: 2}, restart_policy: {delay: 0s}}}`;
    writeFileSync(
      join(dir, 'stack.yml'),
      `services:\n  web: ${of('web', 2)}\n  db: ${of('db', 1)}\n`,
    );
    const argv = ['stack', 'deploy', '--resolve-image', 'never', '-c', 'stack.yml', 'shop'];
    succeeded(await shared.current.try(argv, { cwd: dir }));
  }, 90_000);
  afterAll(() => rmSync(dir, { recursive: true, force: true }));

  test('stack logs: of all services and nodes', { timeout: 60_000 }, async () => {
    await eventually(
      'every task said its line',
      async () => {
        const lines = (await skep('stack', 'logs', 'shop')).trimEnd().split('\n').sort();
        expect(lines).toEqual([
          expect.stringMatching(/^shop_db\.1\.\w{12}@\S+ +\| here is db$/),
          expect.stringMatching(/^shop_web\.1\.\w{12}@\S+ +\| here is web$/),
          expect.stringMatching(/^shop_web\.2\.\w{12}@\S+ +\| here is web$/),
        ]);
      },
      { withinMs: 20_000 },
    );
    expect(await skep('stack', 'logs', '--raw', 'shop', 'db')).toBe('here is db\n');
  });

  test('service exec: in one task, in all, with its status', { timeout: 60_000 }, async () => {
    const all = await skep(
      'service',
      'exec',
      '--all',
      'shop_web',
      '--',
      '/bin/sh',
      '-c',
      'echo $NAME',
    );
    expect(all.trimEnd().split('\n').sort()).toEqual(['shop_web.1 | web', 'shop_web.2 | web']);
    const argv = ['service', 'exec', 'shop_web.2', '--', '/bin/sh', '-c', 'echo to; exit 7'];
    expect(await shared.current.try(argv)).toMatchObject({ code: 7, stdout: 'to\n' });
    const input = ['service', 'exec', '-i', 'shop_db', '--', 'cat'];
    expect((await shared.current.try(input, { input: 'passed on' })).stdout).toBe('passed on');
  });

  test('service top, service stats, stack stats: over all nodes', { timeout: 60_000 }, async () => {
    const processes = tableRows(await skep('service', 'top', 'shop_web', '-eo', 'pid,args'));
    expect(processes[0]!.slice(0, 3)).toEqual(['TASK', 'NODE', 'PID']);
    const tasks = new Set(processes.slice(1).map(([task]) => task));
    expect(tasks).toEqual(new Set(['shop_web.1', 'shop_web.2']));
    const format = ['--format', '{{.Name}} {{.PIDs}} {{.MemUsage}}'];
    const one = await skep('service', 'stats', '--no-stream', ...format, 'shop_web.1');
    expect(one).toMatch(/^shop_web\.1 2 [\d.]+\wiB \/ /);
    const lines = (await skep('stack', 'stats', '--no-stream', ...format, 'shop')).trimEnd();
    expect(lines.split('\n').map((line) => line.split(' ')[0])).toEqual([
      'shop_db.1',
      'shop_web.1',
      'shop_web.2',
    ]);
  });

  test('stack exec, stack top: by the names of the file', { timeout: 60_000 }, async () => {
    const all = ['stack', 'exec', '--all', 'shop', 'web', '--', '/bin/sh', '-c', 'echo $NAME'];
    const lines = (await skep(...all)).trimEnd().split('\n').sort();
    expect(lines).toEqual(['shop_web.1 | web', 'shop_web.2 | web']);
    const argv = ['stack', 'exec', 'shop', 'db', '--', '/bin/sh', '-c', 'exit 5'];
    expect((await shared.current.try(argv)).code).toBe(5);
    const processes = tableRows(await skep('stack', 'top', 'shop', '-eo', 'pid,args'));
    expect(new Set(processes.map(([task]) => task))).toEqual(
      new Set(['TASK', 'shop_db.1', 'shop_web.1', 'shop_web.2']),
    );
  });

  test("the course's first service says its lines", { timeout: 60_000 }, async () => {
    const argv = ['service', 'create', '--no-resolve-image', '--replicas', '1'];
    const { code, stdout, stderr } = await shared.current.try([
      ...[...argv, '--name', 'hello-world', '--stop-grace-period', '1s', IMAGE],
    ]);
    expect([code, stderr]).toEqual([0, '']);
    const [id, ...lines] = stdout.trimEnd().split('\n');
    expect(id).toMatch(/^[0-9a-z]{25}$/);
    expect(lines.slice(-3)).toEqual([
      'overall progress: 1 out of 1 tasks',
      'verify: Waiting 5 seconds to verify that tasks are stable...',
      `verify: Service ${id} converged`,
    ]);
    expect(
      tableRows(await skep('service', 'ls', '-f', 'name=hello-world'))[1]!.slice(1, 4),
    ).toEqual([...['hello-world', 'replicated', '1/1']]);
    expect(await skep('service', 'rm', 'hello-world')).toBe('hello-world\n');
    // It did not hear SIGTERM: its end took the whole second.
    const hosts = shared.current.hosts.map(({ name }) => name);
    expect(await skep('node', 'ps', '-q', '-f', 'name=hello-world.', ...hosts)).toBe('');
  });

  test('service explain: why a task waits', { timeout: 60_000 }, async () => {
    const argv = ['--detach', '--no-resolve-image', '--name', 'stuck', '--reserve-memory', '100t'];
    await skep('service', 'create', ...argv, IMAGE);
    await eventually(
      'the reason',
      async () => {
        const text = await skep('service', 'explain', 'stuck');
        expect(text).toContain('manager-1');
        expect(text).toMatch(/memory/);
      },
      { withinMs: 15_000 },
    );
    await skep('service', 'rm', '-d', 'stuck');
  });

  test('service restart, stop, start: other tasks, none, as many as before', {
    timeout: 90_000,
  }, async () => {
    const before = await ids('shop_web', 2);
    await skep('service', 'restart', 'shop_web');
    const after = await ids('shop_web', 2);
    expect(after.filter((id) => before.includes(id))).toEqual([]);
    await skep('service', 'stop', 'shop_web');
    expect(await ids('shop_web', 0)).toEqual([]);
    await skep('service', 'start', 'shop_web');
    expect(await ids('shop_web', 2)).toHaveLength(2);
  });

  test('stack restart, stop, start, and stack events of it', { timeout: 90_000 }, async () => {
    const { current } = shared;
    const enough = new AbortController();
    const events = current.try(['stack', 'events', 'shop'], { interrupt: enough.signal });
    const db = await ids('shop_db', 1);
    await skep('stack', 'restart', 'shop');
    expect(await ids('shop_db', 1)).not.toEqual(db);
    await skep('stack', 'stop', 'shop');
    expect([await ids('shop_db', 0), await ids('shop_web', 0)]).toEqual([[], []]);
    await skep('stack', 'start', 'shop');
    expect([await ids('shop_db', 1), await ids('shop_web', 2)]).toEqual([
      [expect.any(String)],
      [expect.any(String), expect.any(String)],
    ]);
    enough.abort();
    const { code, stdout } = await events;
    expect(code).toBe(130);
    expect(stdout).toMatch(/^\S+Z service shop_db update$/m);
    expect(stdout).toMatch(/^\S+Z task shop_web\.\d\.\w{12} running on \S+$/m);
  });

  test('doctor: of this host and its cluster', { timeout: 60_000 }, async () => {
    const { stdout } = await shared.current.try(['doctor', '--json']);
    const findings = JSON.parse(stdout) as { check: string; level: string; text: string }[];
    const of = (check: string) => findings.find((finding) => finding.check === check);
    expect(of('managers')).toMatchObject({ level: 'ok', text: expect.stringContaining('1 of 1') });
    expect(of('nodes')).toMatchObject({ level: 'ok', text: 'all 2 are ready' });
    expect(of('bridge')?.level).toBe('ok');
  });

  test('stack rm: waits, and leaves nothing', { timeout: 60_000 }, async () => {
    await skep('stack', 'rm', 'shop');
    expect(await skep('service', 'ls', '-q')).toBe('');
    expect(await skep('network', 'ls', '-q', '-f', 'name=shop_')).toBe('');
  });
});

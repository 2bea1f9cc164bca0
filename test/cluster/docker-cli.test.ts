// The real docker command line as a client of a manager's socket.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  type CommandOptions,
  clusterTestsCanRun,
  eventually,
  http,
  REPOSITORY,
  run,
  succeeded,
  tableRows,
} from '../support/cluster.ts';
import { useCluster } from '../support/use-cluster.ts';

const hasDocker = spawnSync('docker', ['--version']).status === 0;
const title = hasDocker ? 'the docker CLI' : 'the docker CLI (skipped: docker is not installed)';
const WEB = 'wordpress_wordpress';

describe.skipIf(!clusterTestsCanRun || !hasDocker)(title, () => {
  let dir: string;
  beforeAll(() => {
    dir = mkdtempSync(join(tmpdir(), 'skep-test-'));
  });
  afterAll(() => rmSync(dir, { recursive: true, force: true }));
  const shared = useCluster('docker', { managers: 1, workers: 1 }, async (cluster) => {
    const builder = [join(REPOSITORY, 'node_modules/.bin/tsx'), 'scripts/demo-images.ts', dir];
    succeeded(await run(builder, { cwd: REPOSITORY }));
    await cluster.dev('load', join(dir, 'mysql.tar'));
  });

  const environment = (host: string) => ({
    DOCKER_HOST: `unix://${shared.current.host(host).socket}`,
    DOCKER_CONFIG: dir,
  });
  const docker = async (
    args: readonly string[],
    options: CommandOptions & { host?: string } = {},
  ) => {
    const env = environment(options.host ?? 'manager-1');
    return succeeded(await run(['docker', ...args], { ...options, env })).stdout;
  };

  test('node ls', async () => {
    const rows = tableRows(await docker(['node', 'ls'])).slice(1);
    expect(rows.map((row) => row.slice(1, 4))).toEqual([
      ['manager-1', 'Ready', 'Active'],
      ['worker-1', 'Ready', 'Active'],
    ]);
    expect(rows[0]![4]).toBe('Leader');
  });

  test('load and images', { timeout: 60_000 }, async () => {
    for (const host of ['manager-1', 'worker-1']) {
      expect(await docker(['load', '-i', join(dir, 'wordpress.tar')], { host })).toContain(
        'Loaded image: skep-demo/wordpress:1',
      );
      const images = await docker(['images', '--format', '{{.Repository}}:{{.Tag}}'], { host });
      expect(images.trim().split('\n').sort()).toEqual([
        'skep-demo/mysql:1',
        'skep-demo/wordpress:1',
      ]);
    }
  });

  test('stack deploy, stack ps and service ls', { timeout: 90_000 }, async () => {
    const file = join(REPOSITORY, 'examples/stack.yml');
    const args = ['--detach=false', '--resolve-image', 'never', '-c', file, 'wordpress'];
    const said = await docker(['stack', 'deploy', ...args]);
    expect(said).toContain('Creating network wordpress_default');
    expect(said).toContain(`Creating service ${WEB}`);
    const rows = tableRows(await docker(['service', 'ls'])).slice(1);
    const cells = rows.map((row) => row.slice(1)).sort((a, b) => a[0]!.localeCompare(b[0]!));
    expect(cells).toEqual([
      ['wordpress_mysql', 'replicated', '1/1', 'skep-demo/mysql:1'],
      [WEB, 'replicated', '2/2', 'skep-demo/wordpress:1', '*:8080->80/tcp'],
    ]);
    const states = await docker(['stack', 'ps', '--format', '{{.CurrentState}}', 'wordpress']);
    expect(
      states
        .trim()
        .split('\n')
        .map((line) => line.split(' ')[0]),
    ).toEqual(Array(3).fill('Running'));
    for (const { address } of shared.current.hosts) {
      const { body } = await http(address, 8080);
      expect(body).toMatch(/the database says: visit \d+/);
    }
  });

  test('service scale and service ps', { timeout: 90_000 }, async () => {
    expect(await docker(['service', 'scale', '--detach=false', `${WEB}=3`])).toContain(
      `Service ${WEB} converged`,
    );
    const format = '{{.Name}} {{.CurrentState}}';
    const text = await docker(['service', 'ps', '--format', format, WEB]);
    const lines = text.trim().split('\n').sort();
    expect(lines.map((line) => line.split(' ').slice(0, 2).join(' '))).toEqual(
      [1, 2, 3].map((slot) => `${WEB}.${slot} Running`),
    );
  });

  test('ps, exec and logs', { timeout: 60_000 }, async () => {
    const [name] = (await docker(['ps', '--format', '{{.Names}}', '--filter', `name=${WEB}`]))
      .trim()
      .split('\n');
    expect(name).toMatch(new RegExp(`^${WEB}\\.[123]\\.[a-z0-9]{25}$`));
    expect(await docker(['exec', name!, 'cat', '/run/db-host'])).toBe('mysql:3306\n');
    expect(await docker(['exec', '-i', name!, 'tr', 'a-z', 'A-Z'], { input: 'quiet\n' })).toBe(
      'QUIET\n',
    );
    const status = await run(['docker', 'exec', name!, 'sh', '-c', 'echo no >&2; exit 7'], {
      env: environment('manager-1'),
    });
    expect([status.code, status.stdout, status.stderr]).toEqual([7, '', 'no\n']);
    expect(await docker(['logs', name!])).toContain('serving on port 80');
    const all = await eventually(
      'lines of all three tasks',
      async () => {
        const text = await docker(['service', 'logs', WEB]);
        expect(text.match(/serving on port 80/g), text).toHaveLength(3);
        return text;
      },
      { withinMs: 5000 },
    );
    expect(all).toMatch(/^wordpress_wordpress\.\d\.[a-z0-9]+@(manager|worker)-1 +\| /m);
  });

  test('service create, inspect, update and rm', { timeout: 90_000 }, async () => {
    const flags = ['--detach=false', '--no-resolve-image', '--name', 'one', '--env', 'A=1'];
    await docker(['service', 'create', '-q', ...flags, 'skep-demo/mysql:1', 'sleep', '1000']);
    const [json] = JSON.parse(await docker(['service', 'inspect', 'one'])) as [
      { Spec: { Name: string; TaskTemplate: { ContainerSpec: { Env: string[] } } } },
    ];
    expect(json.Spec.Name).toBe('one');
    expect(json.Spec.TaskTemplate.ContainerSpec.Env).toEqual(['A=1']);
    await docker([
      ...['service', 'update', '-q', '--detach=false', '--no-resolve-image'],
      ...['--env-add', 'A=2', '--stop-grace-period', '1s', 'one'],
    ]);
    const [task] = await shared.current.running('one', 1);
    const env = await docker(['exec', `one.1.${task!.id}`, 'env'], { host: task!.node });
    expect(env).toContain('A=2\n');
    await docker(['service', 'rm', 'one']);
  });

  test('stack rm', { timeout: 60_000 }, async () => {
    await docker(['stack', 'rm', 'wordpress']);
    await eventually(
      'no container',
      async () => {
        for (const { name } of shared.current.hosts) {
          expect(await docker(['ps', '-aq'], { host: name })).toBe('');
        }
      },
      { withinMs: 30_000, everyMs: 300 },
    );
    expect(await docker(['service', 'ls', '-q'])).toBe('');
  });

  shared.testAnswers(50);
});

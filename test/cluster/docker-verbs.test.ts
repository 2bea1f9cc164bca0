// The installed docker command as a black box, through all its verbs: test/fixtures/docker-cli.transcript is what is typed
// and what must come of it. Each answer that it gets is held against Docker's description of the API besides.
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { clusterTestsCanRun, eventually, REPOSITORY, run, succeeded } from '../support/cluster.ts';
import { linesMatch, parseTranscript, transcriptLines } from '../support/transcript.ts';
import { useCluster } from '../support/use-cluster.ts';

const TRANSCRIPT = join(import.meta.dirname, '../fixtures/docker-cli.transcript');
const STEPS = parseTranscript(readFileSync(TRANSCRIPT, 'utf8'));
const SECTIONS = [...new Set(STEPS.map(({ section }) => section))];
const CHECKS_MIN = 150;
/** Of the API, that clients of the last years speak. */
const MINORS = Array.from({ length: 11 }, (_, i) => 40 + i);
const STACK = `
version: '3.8'
services:
  web:
    image: box
    command: sleep 1000
    stop_grace_period: 1s
    deploy: {replicas: 2, update_config: {monitor: 1s}}
    secrets: [key]
    networks: [front]
networks: {front: {}}
secrets: {key: {file: ./one}}
`;

const hasDocker = spawnSync('docker', ['--version']).status === 0;
const title = hasDocker ? 'the docker CLI' : 'the docker CLI (skipped: docker is not installed)';

describe.skipIf(!clusterTestsCanRun || !hasDocker)(title, { timeout: 180_000 }, () => {
  let dir: string;
  const shared = useCluster('verbs', { managers: 1, workers: 1 }, (cluster) =>
    cluster.image({ name: 'box:latest', labels: { a: 'image' } }),
  );
  beforeAll(() => {
    dir = mkdtempSync(join(tmpdir(), 'skep-test-'));
    writeFileSync(join(dir, 'one'), 'content\n');
    writeFileSync(join(dir, 'stack.yml'), STACK);
  });
  afterAll(() => rmSync(dir, { recursive: true, force: true }));
  const environment = () => ({
    DOCKER_HOST: `unix://${shared.current.hosts[0]!.socket}`,
    DOCKER_CONFIG: dir,
  });
  const docker = async (...args: readonly string[]) =>
    succeeded(await run(['docker', ...args], { env: environment() })).stdout;

  test(`is driven through ${CHECKS_MIN} checks and more`, () => {
    expect(STEPS.length).toBeGreaterThanOrEqual(CHECKS_MIN);
  });

  describe.each(SECTIONS)('%s', (section) => {
    test.each(STEPS.filter((step) => step.section === section).map((step) => [step.command, step]))(
      '%s',
      async (_, step) => {
        const argv = step.argv.map((word) => word.replaceAll('<dir>', dir));
        const { code, stdout, stderr } = await run(argv, { env: environment() });
        const seen = {
          code,
          stdout: transcriptLines(stdout, dir),
          stderr: transcriptLines(stderr, dir),
        };
        const { command, argv: _argv, section: _section, ...expected } = step;
        const matches =
          code === step.code &&
          linesMatch(step.stdout, seen.stdout) &&
          linesMatch(step.stderr, seen.stderr);
        if (!matches) expect(seen, command).toEqual(expected);
      },
    );
  });

  describe.each(MINORS)('as a client of API 1.%i', (minor) => {
    const older = async (...args: readonly string[]) => {
      const env = { ...environment(), DOCKER_API_VERSION: `1.${minor}` };
      return succeeded(await run(['docker', ...args], { env })).stdout.trim();
    };

    test('drives services and containers', async () => {
      expect(await older('version', '--format', '{{.Client.APIVersion}}')).toBe(`1.${minor}`);
      const name = `old-${minor}`;
      const flags = ['--no-resolve-image', '--update-monitor', '0s', '--stop-grace-period', '0s'];
      await older('service', 'create', '-q', ...flags, '--name', name, 'box', 'sleep', '1000');
      const row = ['--filter', `name=${name}`, '--format', '{{.Name}} {{.Replicas}}'];
      expect(await older('service', 'ls', ...row)).toBe(`${name} 1/1`);
      const task = ['--format', '{{.Name}} {{.DesiredState}}', name];
      expect(await older('service', 'ps', ...task)).toBe(`${name}.1 Running`);
      const spec = JSON.parse(
        await older('service', 'inspect', '--format', '{{json .Spec}}', name),
      );
      expect(spec).toMatchObject({ Name: name, Mode: { Replicated: { Replicas: 1 } } });
      await older('service', 'update', '-q', '-d', '--label-add', 'a=b', name);
      await older('service', 'rm', name);
      expect(await older('run', '--rm', 'box', 'echo', 'hello')).toBe('hello');
      expect(await older('node', 'ls', '--format', '{{.Hostname}}')).toBe('manager-1\nworker-1');
      expect(await older('info', '--format', '{{.Swarm.LocalNodeState}}')).toBe('active');
    });
  });

  describe('streams', () => {
    /** Runs until `isEnough` of its output; what it said until then. */
    const follow = async (
      args: readonly string[],
      isEnough: (text: string) => boolean,
      meanwhile: () => Promise<unknown> = async () => {},
    ): Promise<string> => {
      const child = spawn('docker', args, { env: { ...process.env, ...environment() } });
      let text = '';
      child.stdout.on('data', (chunk: Buffer) => {
        text += chunk.toString();
      });
      try {
        await meanwhile();
        await eventually(
          `docker ${args.join(' ')} says so`,
          () => expect(isEnough(text), text).toBe(true),
          { withinMs: 30_000 },
        );
        return text;
      } finally {
        child.kill('SIGKILL');
      }
    };

    test('exec -it on a terminal that is made another size', async () => {
      await docker('run', '-d', '--name', 'tty', 'box', 'sleep', '1000');
      const words =
        'until s=$(stty size 2>/dev/null); [ -n "$s" ]; do sleep 0.1; done; trap \'stty size; exit 5\' WINCH; echo $s; echo resize; while :; do sleep 0.1; done';
      const script = join(REPOSITORY, 'test/support/docker-pty.py');
      const exec = ['docker', 'exec', '-it', 'tty', 'sh', '-c', words];
      const { code, stdout } = await run(['python3', script, '33', '77', ...exec], {
        env: environment(),
        limitMs: 60_000,
      });
      expect([code, stdout.split(/\r*\n/)]).toEqual([5, ['33 77', 'resize', '51 143', '']]);
      await docker('rm', '-f', 'tty');
    });

    test('service logs -f tells what comes', async () => {
      const words = 'i=0; while :; do i=$((i+1)); echo line $i; sleep 0.2; done';
      const flags = ['--no-resolve-image', '-d', '--name', 'talks', '--stop-grace-period', '0s'];
      await docker('service', 'create', ...flags, 'box', 'sh', '-c', words);
      const text = await follow(['service', 'logs', '-f', 'talks'], (it) => /\| line 5\n/.test(it));
      const lines = text.trim().split('\n');
      expect(lines.slice(0, 5).map((line) => line.split('| ')[1])).toEqual(
        [1, 2, 3, 4, 5].map((i) => `line ${i}`),
      );
      expect(lines[0]).toMatch(/^talks\.1\.[0-9a-z]{12}@(manager|worker)-1 +\| line 1$/);
      await docker('service', 'rm', 'talks');
    });

    test('events and stats go on until they are left', async () => {
      const format = ['--format', '{{.Type}} {{.Action}}'];
      const filters = ['--filter', 'container=seen', '--filter', 'event=start'];
      const before = shared.timesBegun('GET', '/events');
      const events = await follow(
        ['events', ...format, ...filters],
        (it) => it.split('\n').length > 2,
        async () => {
          // The engine's past is not asked for.
          await eventually(
            'the command listens',
            () => expect(shared.timesBegun('GET', '/events')).toBe(before + 1),
            { withinMs: 30_000 },
          );
          await docker('run', '-d', '--name', 'seen', 'box', 'sleep', '1000');
          await docker('restart', '-t', '0', 'seen');
        },
      );
      expect(events).toBe('container start\n'.repeat(2));
      const stats = await follow(
        ['stats', '--no-trunc', '--format', '{{.Name}} {{.PIDs}}', 'seen'],
        (it) => (it.match(/seen 1/g) ?? []).length >= 3,
      );
      expect(stats).toContain('seen 1');
      await docker('rm', '-f', 'seen');
    });
  });

  shared.testAnswers(CHECKS_MIN);
});

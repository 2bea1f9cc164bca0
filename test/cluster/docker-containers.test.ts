// Containers outside of services, with the real docker command as a black box.
import { spawn, spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { sendApiRequest } from '../support/api-answers.ts';
import {
  type CommandOptions,
  type CommandResult,
  clusterTestsCanRun,
  eventually,
  http,
  run,
  succeeded,
} from '../support/cluster.ts';
import { useCluster } from '../support/use-cluster.ts';

const hasDocker = spawnSync('docker', ['--version']).status === 0;
const dockerPath = spawnSync('sh', ['-c', 'command -v docker'], { encoding: 'utf8' }).stdout.trim();
const hasScript = spawnSync('script', ['--version']).status === 0;
const title = hasDocker
  ? 'docker run and its kin'
  : 'docker run and its kin (skipped: docker is not installed)';
const SOON = { withinMs: 10_000 };
const supportFile = (name: string): string => join(import.meta.dirname, '../support', name);

describe.skipIf(!clusterTestsCanRun || !hasDocker)(title, { timeout: 60_000 }, () => {
  let dir: string;
  beforeAll(() => {
    dir = mkdtempSync(join(tmpdir(), 'skep-test-'));
  });
  afterAll(() => rmSync(dir, { recursive: true, force: true }));
  const shared = useCluster('containers', { managers: 1, workers: 0 }, (cluster) =>
    cluster.image({
      name: 'box:latest',
      cmd: ['sh', '-c', 'echo default'],
      labels: { a: 'image' },
    }),
  );
  afterEach(async () => {
    const ids = (await docker('ps', '-aq', '--filter', 'is-task=false'))
      .split('\n')
      .filter((id) => id !== '');
    if (ids.length > 0) await docker('rm', '-f', ...ids);
  });

  const host = () => shared.current.hosts[0]!;
  const environment = () => ({
    DOCKER_HOST: `unix://${shared.current.hosts[0]!.socket}`,
    DOCKER_CONFIG: dir,
  });
  const tryDocker = (args: readonly string[], options: CommandOptions = {}) =>
    run(['docker', ...args], { limitMs: 30_000, ...options, env: environment() });
  const docker = async (...args: readonly string[]): Promise<string> =>
    succeeded(await tryDocker(args)).stdout.trim();
  const inspect = (name: string, format: string) => docker('inspect', '-f', format, name);
  const statusOf = (name: string) => inspect(name, '{{.State.Status}}');
  const whenStatus = (name: string, status: string) =>
    eventually(`${name} is ${status}`, async () => expect(await statusOf(name)).toBe(status), SOON);
  const outcome = ({ code, stdout, stderr }: CommandResult) => ({ code, out: stdout, err: stderr });

  describe('run', () => {
    test('prints what the container prints and ends with its exit code', async () => {
      expect(await docker('run', '--rm', 'box')).toBe('default');
      const both = await tryDocker([
        'run',
        '--rm',
        'box',
        'sh',
        '-c',
        'echo o; echo e >&2; exit 7',
      ]);
      expect(outcome(both)).toEqual({ code: 7, out: 'o\n', err: 'e\n' });
      expect(await docker('ps', '-aq')).toBe('');
    });

    test.each<[string, string[], number, string]>([
      ['an unknown flag of ours', ['--network', 'nope', 'box', 'true'], 125, 'network nope'],
      ['no such command', ['box', 'nope'], 127, 'executable file not found in $PATH'],
      ['no command but a directory', ['box', '/etc'], 126, 'permission denied'],
      [
        'too little memory',
        ['-m', '1m', 'box', 'true'],
        125,
        'Minimum memory limit allowed is 6MB',
      ],
      [
        'a bind of what is not there',
        ['--mount', 'type=bind,source=/no/such,target=/b', 'box', 'true'],
        125,
        'bind source path does not exist: /no/such',
      ],
      ['an unknown capability', ['--cap-add', 'FLY', 'box', 'true'], 125, "'CAP_FLY'"],
      [
        'CPUs that are not there',
        ['--cpuset-cpus', '0-4000', 'box', 'true'],
        125,
        'Requested CPUs are not available - requested 0-4000, available: 0',
      ],
      [
        'an image for another platform',
        ['--platform', 'linux/s390x', '--pull', 'never', 'box', 'true'],
        125,
        'image with reference box was found but does not match the specified platform: wanted linux/s390x',
      ],
      [
        'a platform of which images are pulled elsewhere',
        ['--platform', 'linux/s390x', 'box', 'true'],
        125,
        'platform linux/s390x: images here are for linux/',
      ],
      [
        'a file to work in',
        ['-w', '/bin/busybox', 'box', 'true'],
        125,
        'chdir to cwd ("/bin/busybox"): not a directory',
      ],
      // The command line takes 127 from the words `no such file or directory`.
      ['a device that is not there', ['--device', '/dev/none', 'box', 'true'], 127, '/dev/none'],
    ])('with %s ends with Docker’s code, and leaves nothing', async (_what, args, code, words) => {
      const result = await tryDocker(['run', '--rm', ...args]);
      expect(result.code).toBe(code);
      expect(result.stderr).toContain(words);
      await eventually(
        'nothing is left',
        async () => expect(await docker('ps', '-aq')).toBe(''),
        SOON,
      );
    });

    // The docker command refuses some of them by itself.
    test.each([
      ['Memory', 'Minimum memory limit allowed is 6MB'],
      ['MemoryReservation', 'Minimum memory reservation allowed is 6MB'],
      ['NanoCpus', 'Range of CPUs is from 0.01'],
      ['CpuShares', 'CpuShares'],
    ])('with a negative %s is refused by the daemon, and leaves nothing', async (field, words) => {
      const answer = await sendApiRequest(host().socket, {
        method: 'POST',
        path: '/containers/create?name=negative',
        headers: { 'Content-Type': 'application/json' },
        body: JSON.stringify({ Image: 'box', HostConfig: { [field]: -1 } }),
      });
      const text = expect.stringContaining(words);
      expect(answer).toMatchObject({ kind: 'answer', status: 400, text });
      expect(await docker('ps', '-aq')).toBe('');
    });

    test('what is mounted below a read-only bind is read-only, too, unless it is not to be', async () => {
      const tree = join(dir, 'tree');
      const below = join(tree, 'below');
      mkdirSync(below, { recursive: true });
      expect(spawnSync('mount', ['-t', 'tmpfs', 'skep-test', below]).status).toBe(0);
      const write = (...flags: string[]) =>
        tryDocker(['run', '--rm', ...flags, 'box', 'touch', '/tree/below/new']);
      const mount = (options: string) => `type=bind,source=${tree},target=/tree,ro${options}`;
      try {
        const denied = [
          ['-v', `${tree}:/tree:ro`],
          ['--mount', mount('')],
          ['--mount', mount(',bind-propagation=rprivate,bind-recursive=readonly')],
        ];
        for (const flags of denied) {
          const { code, stderr } = await write(...flags);
          expect({ code, stderr }).toEqual({
            code: 1,
            stderr: 'touch: /tree/below/new: Read-only file system\n',
          });
        }
        expect(readdirSync(below)).toEqual([]);
        succeeded(await write('--mount', mount(',bind-recursive=writable')));
        expect(readdirSync(below)).toEqual(['new']);
        const alone = await tryDocker([
          ...['run', '--rm', '--mount', mount(',bind-recursive=disabled')],
          ...['box', 'ls', '/tree/below'],
        ]);
        expect(outcome(alone)).toEqual({ code: 0, out: '', err: '' });
      } finally {
        expect(spawnSync('umount', [below]).status).toBe(0);
      }
    });

    test('of what needs more memory than it may have ends with 137, and says why', async () => {
      const dd = ['dd', 'if=/dev/zero', 'of=/dev/null', 'bs=64M', 'count=1'];
      const limits = ['-m', '16m', '--memory-swap', '16m'];
      const result = await tryDocker(['run', '--name', 'greedy', ...limits, 'box', ...dd]);
      expect(result.code).toBe(137);
      const state = '{{.State.OOMKilled}} {{.State.ExitCode}} {{.State.Status}}';
      expect(await inspect('greedy', state)).toBe('true 137 exited');
      await docker('run', '--name', 'modest', ...limits, 'box', 'true');
      expect(await inspect('modest', state)).toBe('false 0 exited');
    });

    test('passes standard input on, and its end', async () => {
      const result = await tryDocker(['run', '-i', '--rm', 'box', 'cat'], { input: 'in\n' });
      expect(outcome(result)).toEqual({ code: 0, out: 'in\n', err: '' });
    });

    test('drives its own node when it is given the socket', async () => {
      const hosts = ['/usr', '/lib', '/lib64'].filter((path) => existsSync(path));
      const client = hosts.flatMap((path) => ['-v', `${path}:${path}:ro`]);
      const socket = ['-v', `${host().socket}:/var/run/docker.sock`];
      const list = [dockerPath, 'ps', '--format', '{{.Names}}'];
      expect(await docker('run', '--name', 'inner', ...socket, ...client, 'box', ...list)).toBe(
        'inner',
      );
      const denied = await tryDocker(['run', '--rm', ...client, 'box', ...list]);
      expect(denied.stderr).toContain('Cannot connect to the Docker daemon');
    });

    test.skipIf(!hasScript)('-it: a terminal with its size, and the exit code', async () => {
      const command = 'stty rows 33 cols 77; docker run -it --rm box sh -c "stty size; exit 5"';
      const env = { ...environment(), TERM: 'xterm' };
      const result = await run(['script', '-qec', command, '/dev/null'], { env, limitMs: 30_000 });
      expect(result.stdout).toContain('33 77');
      expect(result.code).toBe(5);
    });

    test('shares what it is told to share, and no more', async () => {
      const ownNet = readlinkSync('/proc/self/ns/net');
      const link = 'readlink /proc/self/ns/net';
      const inHost = await docker('run', '--rm', '--network', 'host', 'box', 'sh', '-c', link);
      const own = await docker('run', '--rm', 'box', 'sh', '-c', link);
      expect(own).not.toBe(inHost);
      expect(own).not.toBe(ownNet);
      await docker('run', '-d', '--name', 'first', 'box', 'sleep', '1000');
      const joined = ['--network', 'container:first', 'box', 'sh', '-c', link];
      expect(await docker('run', '--rm', ...joined)).toBe(
        await docker('exec', 'first', 'readlink', '/proc/self/ns/net'),
      );
      const lonely = await docker('run', '--rm', '--network', 'none', 'box', 'ip', '-o', 'link');
      expect(lonely.split('\n')).toHaveLength(1);
      expect(lonely).toContain('lo:');
    });

    test('leaves anonymous volumes to the next container unless -v takes them along', async () => {
      const write = ['-v', '/anon', 'box', 'sh', '-c', 'echo x > /anon/f'];
      await docker('run', '--name', 'old', ...write);
      const name = await docker('inspect', '-f', '{{(index .Mounts 0).Name}}', 'old');
      expect(name).toMatch(/^[0-9a-f]{64}$/);
      await docker('rm', 'old');
      const read = ['-v', `${name}:/d`, 'box', 'cat', '/d/f'];
      expect(await docker('run', '--rm', ...read)).toBe('x');
      await docker('volume', 'rm', name);
      await docker('run', '--name', 'old', ...write);
      await docker('rm', '-v', 'old');
      expect(await docker('volume', 'ls', '-q')).toBe('');
    });

    test('has the volumes of another container, or a mount that its volume names, or a part of one', async () => {
      const box = (...args: string[]) => docker('run', '--rm', ...args);
      const words = 'mkdir -p /data/sub; echo log > /data/sub/f; exec sleep 1000';
      await docker(
        'run',
        '-d',
        '--name',
        'producer',
        '-v',
        'shared:/data',
        'box',
        'sh',
        '-c',
        words,
      );
      await eventually(
        'the file is there',
        async () =>
          expect(await box('--volumes-from', 'producer', 'box', 'cat', '/data/sub/f')).toBe('log'),
        SOON,
      );
      const denied = await tryDocker([
        'run',
        '--rm',
        '--volumes-from',
        'producer:ro',
        'box',
        'touch',
        '/data/g',
      ]);
      expect(denied.stderr).toContain('Read-only file system');
      const missing = await tryDocker(['run', '--rm', '--volumes-from', 'nobody', 'box', 'true']);
      expect(missing).toMatchObject({
        code: 125,
        stderr: expect.stringMatching(/No such container/),
      });
      const part = 'type=volume,source=shared,target=/part,volume-subpath=sub';
      expect(await box('--mount', part, 'box', 'cat', '/part/f')).toBe('log');
      expect(await docker('ps', '--filter', 'volume=shared', '--format', '{{.Names}}')).toBe(
        'producer',
      );
      await docker('rm', '-f', 'producer');
      await docker('volume', 'rm', 'shared');
      const options = ['type=tmpfs', 'device=tmpfs', 'o=size=1m'].flatMap((o) => ['-o', o]);
      await docker('volume', 'create', ...options, 'memory');
      expect(await box('-v', 'memory:/m', 'box', 'grep', '-c', ' /m tmpfs ', '/proc/mounts')).toBe(
        '1',
      );
      await docker('volume', 'rm', 'memory');
    });

    test('logs as it is told, and says which drivers there are', async () => {
      await docker('run', '-d', '--name', 'silent', '--log-driver', 'none', 'box', 'echo', 'x');
      expect(await tryDocker(['logs', 'silent'])).toMatchObject({
        code: 1,
        stderr: expect.stringMatching(/configured logging driver does not support reading/),
      });
      const marked = ['--log-opt', 'labels=kind', '--log-opt', 'tag={{.Name}}', '-l', 'kind=loud'];
      await docker(
        'run',
        '--name',
        'loud',
        '--log-driver',
        'json-file',
        ...marked,
        'box',
        'echo',
        'x',
      );
      expect(await docker('logs', '--details', 'loud')).toBe('kind=loud,tag=loud x');
      const refused = await tryDocker(['run', '--log-driver', 'splunk', 'box', 'true']);
      expect(refused).toMatchObject({
        code: 125,
        stderr: expect.stringMatching(/json-file, local/),
      });
    });

    test('keeps named volumes and drops anonymous ones of --rm', async () => {
      await docker(
        'run',
        '--rm',
        '-v',
        'kept:/data',
        '-v',
        '/anon',
        'box',
        'sh',
        '-c',
        'echo x > /data/f',
      );
      expect(await docker('run', '--rm', '-v', 'kept:/d:ro', 'box', 'cat', '/d/f')).toBe('x');
      expect(await docker('volume', 'ls', '-q')).toBe('kept');
      const denied = await tryDocker(['run', '--rm', '-v', 'kept:/d:ro', 'box', 'touch', '/d/g']);
      expect(denied.stderr).toContain('Read-only file system');
      await docker('volume', 'rm', 'kept');
    });
  });

  describe('ports and addresses', () => {
    const SERVE = ['box', 'sh', '-c', 'mkdir /w; echo page > /w/index.html; httpd -f -p 80 -h /w'];
    const page = (port: number) =>
      eventually(
        `port ${port}`,
        async () => expect((await http(host().address, port)).body).toBe('page\n'),
        SOON,
      );

    test('are published on every address, on one, from a range, and on any', async () => {
      const ports = ['-p', '8081:80', '-p', '127.0.0.1:8082:80', '-p', '8081-8083:80', '-p', '80'];
      await docker('run', '-d', '--name', 'web', ...ports, ...SERVE);
      await page(8081);
      const published = (await docker('port', 'web', '80')).split('\n');
      expect(published).toContain('0.0.0.0:8081');
      expect(published).toContain('127.0.0.1:8082');
      expect(published).toContain('0.0.0.0:8083');
      const any = Number(published.find((line) => !/808\d$/.test(line))?.split(':')[1]);
      await page(any);
      await expect(http(host().address, 8082, '/', 1000)).rejects.toThrow();
      const local = ['--network', 'host', 'box', 'wget', '-qO-', 'http://127.0.0.1:8082/'];
      expect(await docker('run', '--rm', ...local)).toBe('page');
    });

    test('are published over UDP, at any port of an address, range by range, and all that are exposed', async () => {
      const serve = [80, 81, 82].map((port) => {
        return `mkdir /w${port}; echo ${port} > /w${port}/index.html; httpd -p ${port} -h /w${port}`;
      });
      const ports = ['-p', '8090:90/udp', '-p', '127.0.0.1::80', '-p', '8094-8095:80-81', '-P'];
      const command = ['box', 'sh', '-c', [...serve, 'sleep 1000'].join('; ')];
      await docker('run', '-d', '--name', 'web', ...ports, '--expose', '82', ...command);
      const published = async (port: string): Promise<string[]> =>
        (await docker('port', 'web', port)).split('\n');
      const says = (port: number, text: string) =>
        eventually(
          `port ${port}`,
          async () => expect((await http(host().address, port)).body).toBe(`${text}\n`),
          SOON,
        );
      await says(8094, '80');
      await says(8095, '81');
      const exposed = await published('82');
      await says(Number(exposed[0]?.split(':').at(-1)), '82');
      const local = (await published('80')).find((line) => line.startsWith('127.0.0.1:')) ?? '';
      const ask = ['--network', 'host', 'box', 'wget', '-qO-', `http://${local}/`];
      expect(await docker('run', '--rm', ...ask)).toBe('80');
      const localPort = Number(local.split(':')[1]);
      await expect(http(host().address, localPort, '/', 1000)).rejects.toThrow();

      const netns = `/proc/${await inspect('web', '{{.State.Pid}}')}/ns/net`;
      const echo = [process.execPath, supportFile('network-many.mjs'), 'serve', '90'];
      const server = spawn('nsenter', [`--net=${netns}`, ...echo], { stdio: 'ignore' });
      try {
        const send = [process.execPath, supportFile('network-udp.mjs'), host().address, '8090'];
        await eventually(
          'the datagram',
          async () => expect((await run(send)).stdout).toBe(`x from ${host().address}\n`),
          SOON,
        );
      } finally {
        server.kill('SIGKILL');
      }
    });

    test('of another container are refused, and free when that is gone', async () => {
      await docker('run', '-d', '--name', 'web', '-p', '8081:80', ...SERVE);
      const second = await tryDocker(['run', '--rm', '-p', '8081:80', 'box', 'true']);
      expect(second.code).toBe(125);
      expect(second.stderr).toContain('Bind for 0.0.0.0:8081 failed: port is already allocated');
      await docker('rm', '-f', 'web');
      expect((await tryDocker(['run', '--rm', '-p', '8081:80', 'box', 'true'])).code).toBe(0);
    });

    test('containers reach one another by address, and the way out', async () => {
      await docker('run', '-d', '--name', 'web', ...SERVE);
      const address = await inspect('web', '{{.NetworkSettings.Networks.bridge.IPAddress}}');
      const get = ['run', '--rm', 'box', 'wget', '-qO-', `http://${address}/`];
      await eventually('the page', async () => expect(await docker(...get)).toBe('page'), SOON);
      const gateway = host().address.replace(/\.\d+$/, '.1');
      await docker('run', '--rm', 'box', 'ping', '-c', '1', '-W', '3', gateway);
    });

    test('unpublished ports are not reached from outside, and nothing of the bridge stays', async () => {
      await docker('run', '-d', '--name', 'web', ...SERVE);
      const address = await inspect('web', '{{.NetworkSettings.IPAddress}}');
      const route = ['ip', 'route', 'replace', `${address}/32`, 'via', host().address];
      succeeded(await run(route));
      try {
        expect((await run(['curl', '-s', '-m', '1', `http://${address}/`])).code).not.toBe(0);
      } finally {
        await run(['ip', 'route', 'del', `${address}/32`]);
      }
      await docker('rm', '-f', 'web');
      const links = await run(['ip', 'netns', 'exec', host().netns, 'ip', '-o', 'link']);
      expect(succeeded(links).stdout).not.toMatch(/skep0|skl/);
    });
  });

  describe('life', () => {
    test('start, stop, kill, restart and rm say what Docker says', async () => {
      await docker('create', '--name', 'life', 'box', 'sleep', '1000');
      expect(await docker('ps', '-a', '--format', '{{.Names}} {{.State}}')).toBe('life created');
      await docker('start', 'life');
      await docker('start', 'life'); // 304
      const refused = await tryDocker(['rm', 'life']);
      expect(refused.stderr).toContain(
        'cannot remove container "/life": container is running: stop the container before removing or force remove',
      );
      await docker('stop', '-t', '0', 'life');
      await docker('stop', 'life'); // 304
      expect(await inspect('life', '{{.State.Status}} {{.State.ExitCode}}')).toBe('exited 137');
      const killed = await tryDocker(['kill', 'life']);
      expect(killed.stderr).toMatch(/cannot kill container: life: container \w+ is not running/);
      await docker('restart', '-t', '0', 'life');
      await docker('kill', 'life');
      expect(await docker('wait', 'life')).toBe('137');
      await docker('rm', 'life');
      expect((await tryDocker(['inspect', 'life'])).stderr).toContain('No such object: life');
    });

    // What a client asks of a container in the wrong state: nothing to do is 304, what cannot be is a conflict.
    test('what its state forbids is answered by 409, what it is already by 304', async () => {
      const box = ['--name', 'edges', 'box', 'sleep', '1000'];
      const edges: readonly [string, () => Promise<unknown>, Readonly<Record<string, number>>][] = [
        [
          'created',
          () => docker('create', ...box),
          { stop: 304, pause: 409, unpause: 409, kill: 409, exec: 409 },
        ],
        ['running', () => docker('start', 'edges'), { start: 304, unpause: 409, remove: 409 }],
        [
          'paused',
          () => docker('pause', 'edges'),
          { start: 409, pause: 409, exec: 409, remove: 409 },
        ],
        [
          'exited',
          () => docker('stop', '-t', '0', 'edges'),
          { stop: 304, pause: 409, unpause: 409, kill: 409, exec: 409 },
        ],
      ];
      for (const [state, reach, answers] of edges) {
        await reach();
        expect(await statusOf('edges')).toBe(state);
        for (const [verb, status] of Object.entries(answers)) {
          const path = verb === 'remove' ? '/containers/edges' : `/containers/edges/${verb}`;
          const answer = await sendApiRequest(host().socket, {
            method: verb === 'remove' ? 'DELETE' : 'POST',
            path,
            headers: { 'Content-Type': 'application/json' },
            body: verb === 'exec' ? JSON.stringify({ Cmd: ['true'] }) : null,
          });
          expect(answer, `${verb} while ${state}`).toMatchObject({ kind: 'answer', status });
        }
        expect(await statusOf('edges')).toBe(state);
      }
    });

    test('one that ignores its stop signal has the time that it was made with, or that it is given', async () => {
      const stubborn = ['box', 'sh', '-c', 'trap "" TERM; while :; do sleep 0.1; done'];
      await docker('run', '-d', '--name', 'stubborn', '--stop-timeout', '3', ...stubborn);
      const stopSeconds = async (...flags: readonly string[]): Promise<number> => {
        const beganMs = performance.now();
        await docker('stop', ...flags, 'stubborn');
        return (performance.now() - beganMs) / 1000;
      };
      const own = await stopSeconds();
      expect(own).toBeGreaterThanOrEqual(3);
      expect(await inspect('stubborn', '{{.State.ExitCode}}')).toBe('137');
      await docker('start', 'stubborn');
      const given = await stopSeconds('-t', '1');
      expect(given).toBeGreaterThanOrEqual(1);
      expect(given).toBeLessThan(3);
    });

    test('a probe that hangs is killed each time, and none of it stays', async () => {
      const health = [
        '--health-interval',
        '200ms',
        '--health-timeout',
        '300ms',
        '--health-retries',
        '2',
      ];
      await docker(
        'run',
        '-d',
        '--name',
        'hangs',
        ...health,
        '--health-cmd',
        'sleep 999',
        'box',
        'sleep',
        '1000',
      );
      await eventually(
        'it is unhealthy',
        async () => expect(await inspect('hangs', '{{.State.Health.Status}}')).toBe('unhealthy'),
        SOON,
      );
      expect(await inspect('hangs', '{{(index .State.Health.Log 0).Output}}')).toContain(
        'health check exceeded timeout (300 ms)',
      );
      await eventually(
        'further probes',
        async () =>
          expect(Number(await inspect('hangs', '{{.State.Health.FailingStreak}}'))).toBeGreaterThan(
            4,
          ),
        SOON,
      );
      const processes = (await docker('top', 'hangs', '-o', 'args')).split('\n');
      expect(processes.filter((line) => line.includes('999')).length).toBeLessThanOrEqual(2); // one probe and its shell
    });

    test('runs again over what it wrote and logged', async () => {
      const script = 'echo x >> /runs; wc -l < /runs';
      await docker('run', '--name', 'again', 'box', 'sh', '-c', script);
      expect(await docker('start', '-a', 'again')).toBe('2');
      expect(await docker('logs', 'again')).toBe('1\n2');
      expect(await docker('logs', '--tail', '1', 'again')).toBe('2');
    });

    test('names are unique, chosen when none is given, and can be changed', async () => {
      await docker('create', '--name', 'one', 'box');
      const twice = await tryDocker(['create', '--name', 'one', 'box']);
      expect(twice.stderr).toContain('Conflict. The container name "/one" is already in use');
      await docker('rename', 'one', 'two');
      await docker('create', '--name', 'one', 'box');
      const third = await docker('create', 'box');
      expect(await inspect(third, '{{.Name}}')).toMatch(/^\/[a-z]+_[a-z]+$/);
      expect((await tryDocker(['rename', 'two', 'one'])).stderr).toContain('Conflict');
    });

    test('pause holds it, unpause lets it go on', async () => {
      await docker('run', '-d', '--name', 'frozen', 'box', 'sleep', '1000');
      await docker('pause', 'frozen');
      expect(await docker('ps', '--format', '{{.Status}}')).toContain('(Paused)');
      expect((await tryDocker(['pause', 'frozen'])).stderr).toContain('is already paused');
      expect((await tryDocker(['exec', 'frozen', 'true'])).stderr).toContain('is paused, unpause');
      await docker('unpause', 'frozen');
      await docker('exec', 'frozen', 'true');
      await docker('pause', 'frozen');
      await docker('stop', '-t', '0', 'frozen');
      expect(await statusOf('frozen')).toBe('exited');
    });

    test('update changes limits of a running one', async () => {
      await docker('run', '-d', '--name', 'limited', '-m', '64m', 'box', 'sleep', '1000');
      const limit =
        'cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null';
      const shown = () => docker('exec', 'limited', 'sh', '-c', `${limit}; true`);
      expect(await shown()).toBe(String(64 * 1024 ** 2));
      await docker('update', '-m', '96m', '--memory-swap', '96m', '--restart', 'always', 'limited');
      expect(await shown()).toBe(String(96 * 1024 ** 2));
      await docker('restart', '-t', '0', 'limited');
      expect(await shown()).toBe(String(96 * 1024 ** 2));
      expect(await inspect('limited', '{{.HostConfig.RestartPolicy.Name}}')).toBe('always');
      const tooMuch = await tryDocker(['update', '-m', '97m', 'limited']);
      expect(tooMuch.stderr).toContain('smaller than already set memoryswap limit');
      expect(await shown()).toBe(String(96 * 1024 ** 2));

      await docker('run', '-d', '--name', 'spun', 'box', 'sh', '-c', 'while :; do :; done');
      const pid = await inspect('spun', '{{.State.Pid}}');
      await docker('update', '--cpu-quota', '10000', 'spun');
      const perCent = async () =>
        Number.parseFloat(await docker('stats', '--no-stream', '--format', '{{.CPUPerc}}', 'spun'));
      await eventually(
        'a tenth of a core',
        async () => {
          const used = await perCent();
          expect(used).toBeGreaterThan(7);
          expect(used).toBeLessThan(13);
        },
        SOON,
      );
      expect(await inspect('spun', '{{.State.Pid}} {{.State.Status}}')).toBe(`${pid} running`);
      await docker('rm', '-f', 'spun');
    });

    test('events tell it in Docker’s words', async () => {
      const since = String(Math.floor(Date.now() / 1000));
      const id = await docker('create', '--name', 'told', 'box', 'true');
      await docker('start', '-a', id);
      await docker('rename', 'told', 'tale');
      await docker('rm', 'tale');
      const until = String(Math.floor(Date.now() / 1000) + 1);
      const format = ['--filter', `container=${id}`, '--format', '{{.Action}}'];
      const told = await docker('events', '--since', since, '--until', until, ...format);
      expect(told.split('\n').filter((action) => action !== 'attach')).toEqual([
        'create',
        'start',
        'die',
        'rename',
        'destroy',
      ]);
    });

    test('prune removes those at rest only', async () => {
      await docker('run', '-d', '--name', 'up', 'box', 'sleep', '1000');
      await docker('run', '--name', 'done', 'box', 'true');
      await docker('container', 'prune', '-f');
      expect(await docker('ps', '-a', '--format', '{{.Names}}')).toBe('up');
    });

    test('an image in use cannot be removed', async () => {
      await docker('create', '--name', 'user', 'box');
      expect((await tryDocker(['rmi', 'box'])).code).toBe(1);
    });
  });

  describe('restart rules', () => {
    const COUNT = '{{.RestartCount}} {{.State.Status}}';

    test('on-failure ends after its retries; always goes on until it is stopped', async () => {
      await docker('run', '-d', '--name', 'fails', '--restart', 'on-failure:2', 'box', 'false');
      await eventually(
        '2 retries',
        async () => expect(await inspect('fails', COUNT)).toBe('2 exited'),
        SOON,
      );
      await docker('run', '-d', '--name', 'always', '--restart', 'always', 'box', 'true');
      await eventually(
        '3 restarts',
        async () => expect(Number(await inspect('always', '{{.RestartCount}}'))).toBeGreaterThan(2),
        SOON,
      );
      await docker('stop', 'always');
      expect(await statusOf('always')).toBe('exited');
    });
  });

  describe('a daemon that is killed', () => {
    test('leaves them running; the next one takes them up, and what ended ended', async () => {
      const { current } = shared;
      const serve = 'mkdir /w; echo page > /w/index.html; httpd -f -p 80 -h /w';
      await docker('run', '-d', '--name', 'web', '-p', '8081:80', 'box', 'sh', '-c', serve);
      await docker('run', '-d', '--name', 'paused', 'box', 'sleep', '1000');
      await docker('pause', 'paused');
      await docker('create', '--name', 'created', 'box');
      const gone = 'sleep 1; exit 3';
      await docker('run', '-d', '--name', 'ends', 'box', 'sh', '-c', gone);
      await docker('run', '-d', '--rm', '--name', 'removed', 'box', 'sh', '-c', gone);
      await docker('run', '-d', '--restart', 'always', '--name', 'again', 'box', 'sh', '-c', gone);
      await docker('run', '-d', '--restart', 'always', '--name', 'rests', 'box', 'sleep', '1000');
      await docker(
        'run',
        '-d',
        '--restart',
        'unless-stopped',
        '--name',
        'stays',
        'box',
        'sleep',
        '9',
      );
      await docker('stop', '-t', '0', 'rests', 'stays');
      const pid = await inspect('web', '{{.State.Pid}}');
      await current.dev('kill', host().name);
      await eventually(
        'the short ones end',
        () => expect(spawnSync('pgrep', ['-f', gone]).status).not.toBe(0),
        SOON,
      );
      expect((await http(host().address, 8081)).body).toBe('page\n');
      await current.dev('start', host().name);
      expect(await inspect('web', '{{.State.Status}} {{.State.Pid}}')).toBe(`running ${pid}`);
      expect((await http(host().address, 8081)).body).toBe('page\n');
      const second = await tryDocker(['run', '--rm', '-p', '8081:80', 'box', 'true']);
      expect(second.stderr).toContain('port is already allocated');
      expect(await statusOf('paused')).toBe('paused');
      expect(await statusOf('created')).toBe('created');
      expect(await inspect('ends', '{{.State.Status}} {{.State.ExitCode}}')).toBe('exited 3');
      expect((await tryDocker(['inspect', 'removed'])).code).toBe(1);
      await whenStatus('again', 'running');
      expect(await statusOf('rests')).toBe('running');
      expect(await statusOf('stays')).toBe('exited');
      expect(await docker('start', '-a', 'created')).toBe('default');
    });
  });

  describe('files', () => {
    const SCRIPT = [
      'mkdir -p /d/sub; echo a > /d/sub/a; ln -s /etc/passwd /d/link; chmod 4755 /d/sub/a',
      'rm /bin/yes; echo v > /vol/v; sleep 1000',
    ].join('; ');
    const start = async () => {
      await docker('run', '-d', '--name', 'files', '-v', '/vol', 'box', 'sh', '-c', SCRIPT);
      await eventually('its files', () => docker('exec', 'files', 'test', '-f', '/vol/v'), SOON);
    };

    test('cp copies out and in, while it runs and when it has ended', async () => {
      await start();
      for (const out of ['running', 'ended']) {
        const target = join(dir, out);
        await docker('cp', 'files:/d', target);
        expect(readFileSync(join(target, 'sub/a'), 'utf8')).toBe('a\n');
        expect(readlinkSync(join(target, 'link'))).toBe('/etc/passwd');
        writeFileSync(join(dir, 'in.txt'), out);
        await docker('cp', join(dir, 'in.txt'), `files:/d/${out}.txt`);
        await docker('cp', target, `files:/copied-${out}`);
        await docker('stop', '-t', '0', 'files');
      }
      await docker('start', 'files');
      const read = ['cat', '/d/running.txt', '/d/ended.txt', '/copied-ended/sub/a'];
      expect(await docker('exec', 'files', ...read)).toBe('runningendeda');
      expect((await tryDocker(['cp', 'files:/nope', dir])).stderr).toContain(
        'Could not find the file /nope in container files',
      );
      expect(await docker('cp', 'files:/vol/v', '-')).toContain('v');
    });

    test('links of the container do not lead cp out of it', async () => {
      const secret = join(dir, 'secret');
      mkdirSync(secret);
      writeFileSync(join(secret, 'f'), 'of the host');
      const links = `ln -s ${secret} /out; ln -s ../../../../../../..${secret} /up; sleep 1000`;
      await docker('run', '-d', '--name', 'links', 'box', 'sh', '-c', links);
      await eventually('its links', () => docker('exec', 'links', 'readlink', '/up'), SOON);
      const innocent = join(dir, 'innocent.txt');
      writeFileSync(innocent, 'x');
      for (const state of ['running', 'ended']) {
        for (const place of ['/out', '/up', `/../../../..${secret}`]) {
          const read = await tryDocker(['cp', `links:${place}/f`, join(dir, 'stolen')]);
          expect(read.code, `${state} ${place}`).toBe(1);
          expect((await tryDocker(['cp', innocent, `links:${place}/`])).code).toBe(1);
        }
        await docker('stop', '-t', '0', 'links');
      }
      expect(readdirSync(secret)).toEqual(['f']);
    });

    test('names in an archive do not lead out of where it is unpacked', async () => {
      await docker('create', '--name', 'target', 'box');
      const evil = join(dir, 'evil');
      mkdirSync(evil);
      symlinkSync('/etc', join(evil, 'link'));
      writeFileSync(join(evil, 'escaped'), 'x');
      const tar = join(dir, 'evil.tar');
      const names = 's,^escaped,../../../../../../tmp/skep-escaped,';
      succeeded(
        await run(['tar', '-C', evil, '-cPf', tar, `--transform=${names}`, 'link', 'escaped']),
      );
      const url = 'http://d/containers/target/archive?path=/tmp';
      const put = ['curl', '-s', '-w', '%{http_code}', '--unix-socket', host().socket];
      const answer = await run([...put, '-T', tar, '-H', 'Content-Type: application/x-tar', url]);
      expect(answer.stdout).toBe('200');
      expect(readdirSync('/tmp')).not.toContain('skep-escaped');
      expect(await docker('cp', 'target:/tmp/tmp/skep-escaped', '-')).toContain('x');
    });

    test('diff lists what was changed, and nothing of ours', async () => {
      await start();
      expect((await docker('diff', 'files')).split('\n')).toEqual([
        'C /bin',
        'D /bin/yes',
        'A /d',
        'A /d/link',
        'A /d/sub',
        'A /d/sub/a',
      ]);
    });

    test('commit makes an image of what was changed, running or not, and of nothing', async () => {
      await start();
      const flags = ['-a', 'me', '-m', 'why', '-c', 'ENV NEW=1', '-c', 'CMD ["cat", "/d/sub/a"]'];
      const id = await docker('commit', ...flags, 'files', 'made:1');
      expect(id).toMatch(/^sha256:[0-9a-f]{64}$/);
      expect(await docker('run', '--rm', 'made:1')).toBe('a');
      const look = 'echo $NEW; ls /bin/yes /vol 2>&1; stat -c %a /d/sub/a; readlink /d/link; id -u';
      expect(await docker('run', '--rm', '--entrypoint', '', 'made:1', 'sh', '-c', look)).toBe(
        '1\nls: /bin/yes: No such file or directory\n/vol:\n4755\n/etc/passwd\n0',
      );
      const said = await docker(
        'image',
        'inspect',
        '-f',
        '{{.Author}} {{.Config.Labels.a}}',
        'made:1',
      );
      expect(said).toBe('me image');
      await docker('stop', '-t', '0', 'files');
      await docker('commit', 'files', 'made:2');
      expect(await docker('run', '--rm', 'made:2', 'cat', '/d/sub/a')).toBe('a');
      await docker('create', '--name', 'same', 'made:1');
      await docker('commit', 'same', 'made:3');
      expect(await docker('run', '--rm', 'made:3')).toBe('a');
      await docker('rm', 'same');
      await docker('rmi', 'made:3', 'made:2', 'made:1');
    });

    test('export is its root without volumes, and an image when it is imported', async () => {
      await start();
      const tar = join(dir, 'export.tar');
      await docker('export', '-o', tar, 'files');
      const names = succeeded(await run(['tar', '-tf', tar])).stdout.split('\n');
      expect(names).toContain('d/sub/a');
      expect(names).toContain('vol/');
      expect(names).not.toContain('vol/v');
      expect(names).not.toContain('bin/yes');
      expect(names.filter((name) => name.startsWith('proc/'))).toEqual(['proc/']);
      const id = await docker('import', '-c', 'CMD ["ls", "/d/sub"]', tar, 'again:1');
      expect(id).toMatch(/^sha256:[0-9a-f]{64}$/);
      expect(await docker('run', '--rm', 'again:1')).toBe('a');
      const look = 'cat /d/sub/a; stat -c %a /d/sub/a; readlink /d/link; ls /vol';
      expect(await docker('run', '--rm', 'again:1', 'sh', '-c', look)).toBe('a\n4755\n/etc/passwd');
      await docker('rmi', 'again:1');
    });
  });

  describe('what it uses', () => {
    test('stats, top and ps', async () => {
      const busy = 'while true; do :; done';
      const limits = ['-m', '64m', '--cpus', '0.5'];
      await docker('run', '-d', '--name', 'busy', ...limits, 'box', 'sh', '-c', busy);
      const format = '{{.Name}}|{{.CPUPerc}}|{{.MemUsage}}|{{.NetIO}}|{{.BlockIO}}|{{.PIDs}}';
      const [name, cpu, memory, net, block, pids] = (
        await docker('stats', '--no-stream', '--format', format, 'busy')
      ).split('|');
      expect([name, pids]).toEqual(['busy', '1']);
      expect(Number.parseFloat(cpu!)).toBeGreaterThan(1);
      expect(Number.parseFloat(cpu!)).toBeLessThan(60); // of one core, however many there are
      expect(memory).toMatch(/^\d.* \/ 64MiB$/);
      expect(net).toMatch(/ \/ /);
      expect(block).toMatch(/ \/ /);
      expect(await docker('top', 'busy')).toMatch(/^UID +PID +PPID +C +STIME +TTY +TIME +CMD\n/);
      expect(await docker('top', 'busy', '-o', 'pid,comm')).toMatch(/^PID +COMMAND\n\d+ +sh$/);
      const row = await docker('ps', '--format', '{{.Names}}|{{.Image}}|{{.Command}}|{{.Status}}');
      expect(row).toMatch(/^busy\|box\|"sh -c 'while true; …"\|Up |^busy\|box\|.*\|Up /);
      expect(
        await docker('ps', '-q', '--filter', 'label=a=image', '--filter', 'ancestor=box'),
      ).toBe((await inspect('busy', '{{.Id}}')).slice(0, 12));
    });

    test('attach follows a running one, and leaves it running', async () => {
      const tick = 'while true; do echo tick; sleep 0.1; done';
      await docker('run', '-d', '--name', 'ticks', 'box', 'sh', '-c', tick);
      const client = spawn('docker', ['attach', '--no-stdin', '--sig-proxy=false', 'ticks'], {
        env: { ...process.env, ...environment() },
      });
      const first = await new Promise<string>((resolve) =>
        client.stdout.once('data', (chunk: Buffer) => resolve(chunk.toString())),
      );
      expect(first).toContain('tick');
      client.kill('SIGKILL');
      expect(await statusOf('ticks')).toBe('running');
    });
  });

  test('a task’s container is looked at the same way; when it is ended by hand its service has another', async () => {
    const { current } = shared;
    const create = ['service', 'create', '--name', 'svc', '--detach', '--stop-grace-period', '1s'];
    await current.skep([...create, 'box', 'sleep', '1000']);
    await current.running('svc', 1);
    const id = await docker('ps', '-q', '--filter', 'is-task=true');
    expect(await docker('top', id, '-o', 'comm')).toBe('COMMAND\nsleep');
    expect(await docker('stats', '--no-stream', '--format', '{{.PIDs}}', id)).toBe('1');
    expect(await docker('diff', id)).toBe('');
    expect(await docker('cp', `${id}:/etc/hostname`, '-')).toContain(id);
    for (const verb of ['restart', 'start']) {
      expect((await tryDocker([verb, id])).stderr).toContain('it belongs to a task');
    }
    await docker('pause', id);
    expect(await docker('inspect', '-f', '{{.State.Status}}', id)).toBe('paused');
    await docker('unpause', id);
    expect((await tryDocker(['rm', id])).stderr).toContain('stop the container before removing');
    const waits = docker('wait', id);
    await eventually(
      'the wait',
      () => expect(shared.timesBegun('POST', `/containers/${id}/wait`)).toBe(1),
      SOON,
    );
    expect(await docker('kill', id)).toBe(id);
    expect(await waits).toBe('137');
    const next = await eventually(
      'the next task',
      async () => {
        const now = await docker('ps', '-q', '--filter', 'is-task=true');
        expect(now).toMatch(/^[0-9a-f]{12}$/);
        expect(now).not.toBe(id);
        return now;
      },
      SOON,
    );
    await docker('rm', '-f', next);
    expect(await docker('inspect', '-f', '{{.State.ExitCode}}', next)).toBe('137');
    const last = await current.running('svc', 1);
    expect(await docker('stop', '-t', '1', `svc.1.${last[0]!.id}`)).toContain('svc.1.');
    await current.skep(['service', 'rm', '-d', 'svc']);
    await eventually('it is gone', async () => expect(await docker('ps', '-aq')).toBe(''), SOON);
  });

  test('a task that turns unhealthy is replaced, whether its probe fails or hangs', async () => {
    const { current } = shared;
    const probe = 'if [ -e /hang ]; then exec sleep 999; fi; test ! -e /sick';
    await current.skep([
      ...['service', 'create', '--name', 'ill', '--detach', '--restart-delay', '0s'],
      ...['--stop-signal', 'SIGKILL'],
      ...['--health-cmd', probe, '--health-interval', '300ms', '--health-timeout', '500ms'],
      ...['--health-retries', '2', 'box', 'sleep', '1000'],
    ]);
    const [held] = await current.running('ill', 1);
    const pausedId = await docker('ps', '-q', '--filter', 'is-task=true');
    await docker('pause', pausedId);
    await sleep(2500); // of 1.6 s until its probes would have failed often enough
    expect(await statusOf(pausedId)).toBe('paused');
    await docker('unpause', pausedId);
    expect((await current.running('ill', 1))[0]!.id).toBe(held!.id);
    for (const cause of ['sick', 'hang']) {
      const [task] = await current.running('ill', 1);
      await current.skep(['exec', task!.id, 'touch', `/${cause}`]);
      await eventually(
        `the task that is ${cause} has failed`,
        async () => {
          const tasks = await current.tasks('ill');
          expect(tasks.find(({ id }) => id === task!.id)).toMatchObject({
            current: 'Failed',
            error: expect.stringContaining('unhealthy container'),
          });
        },
        { withinMs: 20_000 },
      );
      const [next] = await current.running('ill', 1);
      expect(next!.id).not.toBe(task!.id);
    }
    await current.skep(['service', 'rm', '-d', 'ill']);
    await eventually('it is gone', async () => expect(await docker('ps', '-aq')).toBe(''), SOON);
  });

  shared.testAnswers(100);
});

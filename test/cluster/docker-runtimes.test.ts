// What makes a container, which devices it asks for, and what it has of other containers: with the real
// docker command, and as services.
import { spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readlinkSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { clusterTestsCanRun, eventually, run, succeeded } from '../support/cluster.ts';
import { programPath } from '../support/programs.ts';
import { useCluster } from '../support/use-cluster.ts';

const hasDocker = spawnSync('docker', ['--version']).status === 0;
const title = hasDocker
  ? 'runtimes, devices and other containers'
  : 'runtimes, devices and other containers (skipped: docker is not installed)';
const CDI_DIR = '/etc/cdi';
const SOON = { withinMs: 15_000 };
const RUNTIMES = ['crun', 'runc'].filter((name) => programPath(name) !== null);

describe.skipIf(!clusterTestsCanRun || !hasDocker)(title, { timeout: 60_000 }, () => {
  let dir: string;
  beforeAll(() => {
    dir = mkdtempSync(join(tmpdir(), 'skep-test-'));
  });
  afterAll(() => rmSync(dir, { recursive: true, force: true }));
  const shared = useCluster('runtimes', { managers: 1, workers: 0 }, (cluster) =>
    cluster.image({ name: 'box:latest', cmd: ['sleep', '1000'] }),
  );
  afterEach(async () => {
    const ids = (await docker('ps', '-aq', '--filter', 'is-task=false')).split('\n');
    const left = ids.filter((id) => id !== '');
    if (left.length > 0) await docker('rm', '-f', ...left);
  });

  const tryDocker = (args: readonly string[]) => {
    const env = { DOCKER_HOST: `unix://${shared.current.hosts[0]!.socket}`, DOCKER_CONFIG: dir };
    return run(['docker', ...args], { limitMs: 30_000, env });
  };
  const docker = async (...args: readonly string[]): Promise<string> =>
    succeeded(await tryDocker(args)).stdout.trim();
  const pidOf = async (name: string): Promise<string> =>
    docker('inspect', '-f', '{{.State.Pid}}', name);

  describe.each(RUNTIMES)('%s', (name) => {
    test('makes a container by its name, which has a network, output and an end', async () => {
      const words = 'hostname; ip -o -4 addr show eth0 | wc -l; echo e >&2; exit 7';
      const ran = await tryDocker([
        ...['run', '--name', 'one', '--runtime', name, '--hostname', 'named', '-m', '32m'],
        ...['box', 'sh', '-c', words],
      ]);
      expect(ran).toMatchObject({ code: 7, stdout: 'named\n1\n', stderr: 'e\n' });
      expect(await docker('inspect', '-f', '{{.HostConfig.Runtime}}', 'one')).toBe(name);
      expect((await tryDocker(['start', '-a', 'one'])).code).toBe(7);
      const odd = await tryDocker(['run', '--rm', '--runtime', name, 'box', 'nope']);
      expect(odd.code).toBe(127);
      expect(odd.stderr).toContain('exec: "nope": executable file not found in $PATH');
    });

    test('makes the tasks of a service', async () => {
      const service = `by-${name}`;
      await shared.current.skep([
        ...['service', 'create', '--detach', '--no-resolve-image', '--name', service],
        ...['--runtime', name, 'box', 'sh', '-c', 'echo runs; sleep 1000'],
      ]);
      await shared.current.running(service, 1);
      await eventually(
        'its log',
        async () => {
          const text = await shared.current.skep(['service', 'logs', '--raw', service]);
          expect(text.trim()).toBe('runs');
        },
        SOON,
      );
      const task = await docker(
        'ps',
        '-q',
        '--filter',
        `label=com.docker.swarm.service.name=${service}`,
      );
      expect(await docker('inspect', '-f', '{{.HostConfig.Runtime}}', task)).toBe(name);
      expect(await docker('exec', task, 'cat', '/proc/1/comm')).toBe('sleep');
      await docker('service', 'rm', service);
    });
  });

  test('the node says which runtimes it has, and refuses others by name', async () => {
    const info = JSON.parse(await docker('info', '-f', '{{json .}}'));
    expect(Object.keys(info.Runtimes).sort()).toEqual(['native', ...RUNTIMES].sort());
    expect(info.DefaultRuntime).toBe('native');
    const kata = await tryDocker(['run', '--rm', '--runtime', 'kata', 'box', 'true']);
    expect(kata.code).toBe(125);
    expect(kata.stderr).toContain('unknown or invalid runtime name: kata');
    await docker('run', '-d', '--name', 'own', 'box');
    expect(await docker('inspect', '-f', '{{.HostConfig.Runtime}}', 'own')).toBe('native');
  });

  describe('devices', () => {
    // A test of this machine that runs beside has no GPU of ours: the document has a name of its own.
    const file = join(CDI_DIR, `skep-test-${process.pid}.json`);
    const isMade = !existsSync(CDI_DIR);
    beforeAll(() => {
      mkdirSync(CDI_DIR, { recursive: true });
      const device = (name: string, hostPath: string) => ({
        name,
        containerEdits: {
          env: [`GPU_${name}=here`],
          deviceNodes: [{ path: `/dev/gpu${name}`, hostPath, permissions: 'rw' }],
          mounts: [{ hostPath: '/etc/hostname', containerPath: '/lib/gpu', options: ['ro'] }],
        },
      });
      const devices = [device('0', '/dev/zero'), device('1', '/dev/full')];
      const document = { cdiVersion: '0.5.0', kind: 'skep-test.org/gpu', devices };
      writeFileSync(file, JSON.stringify(document));
    });
    afterAll(() => {
      rmSync(file);
      if (isMade) rmdirSync(CDI_DIR);
    });
    const look = 'ls /dev; env; head -c 2 /dev/gpu0 | wc -c; test -s /lib/gpu && echo library';

    test('are given by --gpus', async () => {
      const all = await docker('run', '--rm', '--gpus', 'all', 'box', 'sh', '-c', look);
      expect(all).toMatch(/gpu0\n(.*\n)*gpu1\n/);
      expect(all).toContain('GPU_0=here');
      expect(all).toMatch(/\n2\nlibrary$/);
      const first = await docker('run', '--rm', '--gpus', '1', 'box', 'sh', '-c', look);
      expect(first).toContain('gpu0');
      expect(first).not.toContain('gpu1');
      const second = await docker('run', '--rm', '--gpus', 'device=1', 'box', 'ls', '/dev');
      expect(second).toMatch(/gpu1/);
      expect(second).not.toMatch(/gpu0/);
      const three = await tryDocker(['run', '--rm', '--gpus', '3', 'box', 'true']);
      expect(three.stderr).toContain('--gpus 3: this node has 2: 0, 1');
      const other = await tryDocker(['run', '--rm', '--gpus', 'driver=acme', 'box', 'true']);
      expect(other.code).toBe(125);
      expect(other.stderr).toContain(
        'could not select device driver "acme" with capabilities: [[gpu]]',
      );
    });

    test('are given to the tasks of a service', async () => {
      await shared.current.skep([
        ...[
          'service',
          'create',
          '--detach',
          '--no-resolve-image',
          '--name',
          'gpus',
          '--gpus',
          'all',
        ],
        ...['box', 'sh', '-c', `${look}; sleep 1000`],
      ]);
      await shared.current.running('gpus', 1);
      await eventually(
        'its log',
        async () => {
          const text = await shared.current.skep(['service', 'logs', '--raw', 'gpus']);
          expect(text).toContain('GPU_1=here');
          expect(text.trimEnd()).toMatch(/\n2\nlibrary$/);
        },
        SOON,
      );
      await docker('service', 'rm', 'gpus');
    });
  });

  describe('other containers', () => {
    const namespace = async (name: string, type: string) =>
      readlinkSync(`/proc/${await pidOf(name)}/ns/${type}`);

    test('give their process ids, and their IPC where they are made for it', async () => {
      await docker('run', '-d', '--name', 'donor', '--ipc', 'shareable', 'box');
      await docker('exec', 'donor', 'sh', '-c', 'echo shared > /dev/shm/f');
      const joins = ['--pid', 'container:donor', '--ipc', 'container:donor'];
      await docker('run', '-d', '--name', 'guest', ...joins, 'box', 'sleep', '2000');
      for (const type of ['pid', 'ipc']) {
        expect(await namespace('guest', type)).toBe(await namespace('donor', type));
      }
      expect(await docker('exec', 'guest', 'cat', '/dev/shm/f')).toBe('shared');
      expect(await docker('exec', 'donor', 'ps')).toContain('sleep 2000');
      // Another process is another namespace, at its next start.
      await docker('restart', '-t', '0', 'donor');
      await docker('restart', '-t', '0', 'guest');
      expect(await namespace('guest', 'pid')).toBe(await namespace('donor', 'pid'));
      await docker('stop', '-t', '0', 'donor');
      const late = await tryDocker(['start', 'guest']);
      expect(late.stderr).toContain('cannot join PID of a non running container');
      await docker('run', '-d', '--name', 'closed', 'box');
      const refused = await tryDocker(['run', '--rm', '--ipc', 'container:closed', 'box', 'true']);
      expect(refused.stderr).toContain('non-shareable IPC (hint: use IpcMode:shareable');
    });

    test('are found by links', async () => {
      await docker('run', '-d', '--name', 'db', '-e', 'PASS=x', '--expose', '5432', 'box');
      const of = 'cat /etc/hosts; env; ping -c 1 -W 2 store >/dev/null && echo reached';
      await docker('run', '-d', '--name', 'web', '--link', 'db:store', 'box');
      const seen = await docker('exec', 'web', 'sh', '-c', of);
      const address = await docker('inspect', '-f', '{{.NetworkSettings.IPAddress}}', 'db');
      expect(seen).toMatch(new RegExp(`^${address}\\sstore \\w{12} db$`, 'm'));
      expect(await docker('inspect', '-f', '{{.HostConfig.Links}}', 'web')).toBe(
        '[/db:/web/store]',
      );
      const inMain = await docker('run', '--rm', '--link', 'db:store', 'box', 'env');
      for (const line of [
        `STORE_PORT_5432_TCP=tcp://${address}:5432`,
        `STORE_PORT=tcp://${address}:5432`,
        'STORE_ENV_PASS=x',
      ]) {
        expect(inMain.split('\n')).toContain(line);
      }
      // It follows the other one to its next address.
      await docker('stop', '-t', '0', 'db');
      await docker('run', '-d', '--name', 'takes-its-address', 'box');
      await docker('start', 'db');
      const next = await docker('inspect', '-f', '{{.NetworkSettings.IPAddress}}', 'db');
      await eventually(
        'the next address',
        async () =>
          expect(await docker('exec', 'web', 'cat', '/etc/hosts')).toContain(`${next}\tstore`),
        SOON,
      );
      expect((await tryDocker(['rm', '--link', 'web'])).stderr).toContain('default link name');
      expect((await tryDocker(['rm', '--link', 'web/nobody'])).stderr).toContain('No such link');
      await docker('run', '-d', '--name', 'brief', '--link', 'db:store', '--link', 'db:b2', 'box');
      await docker('rm', '--link', 'brief/store');
      expect(await docker('inspect', '-f', '{{.HostConfig.Links}}', 'brief')).toBe(
        '[/db:/brief/b2]',
      );
      const hosts = await docker('exec', 'brief', 'cat', '/etc/hosts');
      expect([/\tstore /.test(hosts), /\tb2 /.test(hosts)]).toEqual([false, true]);
      await docker('stop', '-t', '0', 'db', 'web');
      const dead = await tryDocker(['start', 'web']);
      expect(dead.stderr).toContain('Cannot link to a non running container: /db AS /web/store');
      const unknown = await tryDocker(['create', '--link', 'nobody', 'box']);
      expect(unknown.stderr).toContain('could not get container for nobody');
    });

    test('are found by names of one’s own in a network that has names', async () => {
      await docker('network', 'create', 'front');
      await docker('run', '-d', '--name', 'cache', '--network', 'front', 'box');
      const linked = ['--network', 'front', '--link', 'cache:redis'];
      await docker('run', '-d', '--name', 'app', ...linked, 'box');
      await docker('run', '-d', '--name', 'other', '--network', 'front', 'box');
      expect(await docker('exec', 'app', 'nslookup', 'redis')).toMatch(
        /Address.*10\.|Address.*172\./,
      );
      expect((await tryDocker(['exec', 'other', 'nslookup', 'redis'])).code).not.toBe(0);
      await docker('rm', '-f', 'app', 'cache', 'other');
      await docker('network', 'rm', 'front');
    });
  });
});

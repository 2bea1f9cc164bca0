// Clients that others wrote, unmodified, on a manager's socket: docker-py, docker-compose, dockerode, Prometheus, curl.
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import Dockerode from 'dockerode';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  clusterTestsCanRun,
  eventually,
  http,
  REPOSITORY,
  run,
  succeeded,
} from '../support/cluster.ts';
import { unpackPackages } from '../support/debian-packages.ts';
import { useCluster } from '../support/use-cluster.ts';

const PYTHON = '/usr/bin/python3';
const hasDockerPy = spawnSync(PYTHON, ['-c', 'import docker']).status === 0;
const hasCompose = spawnSync('/usr/bin/docker-compose', ['version']).status === 0;
const named = (name: string, isThere: boolean) =>
  isThere ? name : `${name} (skipped: it is not installed)`;

describe.skipIf(!clusterTestsCanRun)('clients of the Engine API', { timeout: 120_000 }, () => {
  let dir: string;
  beforeAll(() => {
    dir = mkdtempSync(join(tmpdir(), 'skep-test-'));
  });
  afterAll(() => rmSync(dir, { recursive: true, force: true }));
  const shared = useCluster('clients', { managers: 1, workers: 1 }, (cluster) =>
    cluster.image({ name: 'box:latest', labels: { a: 'image' } }),
  );
  const socketPath = () => shared.current.hosts[0]!.socket;
  const environment = () => ({ DOCKER_HOST: `unix://${socketPath()}`, DOCKER_CONFIG: dir });

  test.skipIf(!hasDockerPy)(named('docker-py 5', hasDockerPy), async () => {
    const script = join(REPOSITORY, 'test/support/docker-py-client.py');
    const { stdout } = succeeded(await run([PYTHON, script], { env: environment() }));
    const lines = stdout.trim().split('\n');
    expect(lines.map((line) => JSON.parse(line))).toEqual([
      ['version', '1.50'],
      ['run', 'hi\n'],
      ['exec', [2, '1\n']],
      ['exec demux', ['o\n', 'e\n']],
      ['exec tty', '/dev/pts/0\r\n'],
      ['exec stream', 'streamed\n'],
      ['exec input', ['hello\n', 0]],
      ['logs', ['err', 'out']],
      ['logs stream', 'out\n'],
      ['stats', true],
      ['top', 'sleep 1000'],
      ['put and get', ['f', 3, 'abc']],
      ['diff', true],
      ['list', ['py-other']],
      ['pause', 'paused'],
      ['wait', 137],
      ['missing', [404, 'No such container: py-other']],
      ['attach', 'attached\n'],
      ['image', { a: 'image' }],
      ['volume', [{ a: 'b' }, ['py-volume']]],
      ['network', ['swarm', ['py-net']]],
      ['secret', ['py-secret']],
      ['build', 501],
      ['nodes', ['manager', 'worker']],
      ['scaled', [1, true]],
      ['service logs', 'task\n'],
      ['updated', { Warnings: null }],
      ['current', null],
      ['stale', [500, expect.stringContaining('update out of sequence')]],
      ['removed', [404, 'service py-service not found']],
      ['events', true],
    ]);
  });

  describe.skipIf(!hasCompose)(named('docker-compose 1.29', hasCompose), () => {
    const NETWORK = 'proj_default';
    const FILE = `
version: '2.4'
services:
  web:
    image: box
    network_mode: bridge
    command: sh -c 'echo web starts; exec sleep 1000'
    environment: {A: one}
    labels: {role: front}
    volumes: ['data:/data']
    ports: ['18080:80']
  job:
    image: box
    network_mode: none
    command: sh -c 'echo job says hello; exit 3'
    depends_on: [web]
  cache:
    image: box
    command: sleep 1000
    networks: {default: {aliases: [store]}}
  asker:
    image: box
    command: sh -c 'for name in cache store; do ping -c 1 -W 5 $$name || exit 1; done'
    depends_on: [cache]
volumes:
  data: {}
`;
    const compose = async (...args: readonly string[]) => {
      const argv = [
        '/usr/bin/docker-compose',
        '--no-ansi',
        '-p',
        'proj',
        '-f',
        join(dir, 'compose.yml'),
      ];
      const { stdout } = succeeded(await run([...argv, ...args], { cwd: dir, env: environment() }));
      return stdout;
    };
    const states = async () =>
      (await compose('ps'))
        .split('\n')
        .filter((line) => line.startsWith('proj_'))
        .map((line) => /^(\S+) .* (Up|Exit \d+|Paused)\b/.exec(line)?.slice(1).join(' '));

    test('up, ps, logs, exec, top, port, restart, pause, recreate, kill, rm, down', async () => {
      writeFileSync(join(dir, 'compose.yml'), FILE);
      await compose('up', '-d');
      await eventually(
        'all are as they ought to be',
        async () =>
          expect(await states()).toEqual([
            // It found the other one on the project's own network, by both of its names.
            ...['proj_asker_1 Exit 0', 'proj_cache_1 Up', 'proj_job_1 Exit 3', 'proj_web_1 Up'],
          ]),
        { withinMs: 20_000, everyMs: 200 },
      );
      const logs = await compose('logs', '--no-color');
      expect(logs).toContain('| job says hello\n');
      expect(logs).toContain('| web starts\n');
      expect(await compose('port', 'web', '80')).toBe('0.0.0.0:18080\n');
      expect(await compose('top', 'web')).toContain('sleep 1000');
      expect(await compose('images')).toMatch(/proj_web_1 +box +latest/);
      await compose('restart', '-t', '0', 'web');
      await compose('pause', 'web');
      expect(await states()).toContain('proj_web_1 Paused');
      await compose('unpause', 'web');
      // It takes the old one's anonymous volumes over, for which it reads the image's configuration.
      await compose('up', '-d', '--force-recreate', '-t', '0', 'web');
      expect(await states()).toContain('proj_web_1 Up');
      const connected = () => shared.timesBegun('POST', `/networks/${NETWORK}/connect`);
      const before = connected();
      await compose('up', '-d', '--force-recreate', '-t', '0', 'cache');
      expect(connected()).toBeGreaterThan(before);
      expect(shared.timesBegun('POST', `/networks/${NETWORK}/disconnect`)).toBe(connected());
      const docker = new Dockerode({ socketPath: socketPath() });
      const ends = (await docker.getContainer('proj_cache_1').inspect()).NetworkSettings.Networks;
      expect(ends[NETWORK]?.Aliases).toEqual(expect.arrayContaining(['cache', 'store']));
      await compose('run', '--rm', '-T', 'asker');
      await compose('kill', 'web');
      expect(await states()).toContain('proj_web_1 Exit 137');
      await compose('rm', '-f');
      await compose('down', '-v');
      const filters = { label: ['com.docker.compose.project'] };
      expect(await docker.listContainers({ all: true, filters })).toEqual([]);
      expect(await docker.listNetworks({ filters })).toEqual([]);
      expect((await docker.listVolumes()).Volumes).toEqual([]);
    });
  });

  describe('dockerode', () => {
    const docker = () => new Dockerode({ socketPath: socketPath() });

    test('has its way with containers', async () => {
      const made = await docker().createContainer({
        name: 'node-box',
        Image: 'box',
        Cmd: ['sh', '-c', 'echo out; echo err >&2; exec sleep 1000'],
        Labels: { of: 'dockerode' },
      });
      await made.start();
      const exec = await made.exec({ Cmd: ['cat'], AttachStdin: true, AttachStdout: true });
      const stream = await exec.start({ hijack: true, stdin: true });
      const [out, err] = [new PassThrough(), new PassThrough()];
      made.modem.demuxStream(stream, out, err);
      stream.end('through cat\n');
      await new Promise((resolve) => stream.once('end', resolve));
      expect(String(out.read())).toBe('through cat\n');
      expect((await exec.inspect()).ExitCode).toBe(0);
      const filters = { label: ['of=dockerode'] };
      expect((await docker().listContainers({ filters })).map(({ Names }) => Names)).toEqual([
        ['/node-box'],
      ]);
      const logs = (await made.logs({ stdout: true, stderr: true })).toString();
      expect(logs).toContain('out\n');
      expect(logs).toContain('err\n');
      const stats = await made.stats({ stream: false });
      expect(stats.pids_stats?.current).toBe(1);
      const archive = await made.getArchive({ path: '/bin/busybox' });
      let bytes = 0;
      for await (const chunk of archive) bytes += (chunk as Buffer).length;
      expect(bytes).toBeGreaterThan(1_000_000);
      const ended = made.wait();
      await made.kill();
      expect((await ended).StatusCode).toBe(137);
      await made.remove();
      await expect(made.inspect()).rejects.toMatchObject({ statusCode: 404 });
    });

    test('runs a container attached, and hears of it in events', async () => {
      const events = await docker().getEvents({ filters: { type: ['container'] } });
      // Of others, too: tasks of the service before may still be ending.
      const seen: { Action: string; Actor: { ID: string } }[] = [];
      events.on('data', (chunk: Buffer) => {
        for (const line of chunk.toString().trim().split('\n')) seen.push(JSON.parse(line));
      });
      const out = new PassThrough();
      const [result, container] = await docker().run('box', ['echo', 'attached'], out, {
        Tty: true,
      });
      expect([result.StatusCode, String(out.read())]).toEqual([0, 'attached\r\n']);
      await container.remove();
      const actions = () =>
        seen.filter(({ Actor }) => Actor.ID === container.id).map(({ Action }) => Action);
      await eventually(
        'its end is told',
        () => expect(actions()).toEqual(['create', 'attach', 'start', 'die', 'destroy']),
        { withinMs: 5_000 },
      );
      (events as unknown as { destroy: () => void }).destroy();
    });

    test('has its way with the cluster', async () => {
      const info = await docker().info();
      expect(info.Swarm.LocalNodeState).toBe('active');
      expect((await docker().listNodes()).length).toBe(2);
      const service = await docker().createService({
        Name: 'node-service',
        TaskTemplate: { ContainerSpec: { Image: 'box', Args: ['sleep', '1000'] } },
        Mode: { Replicated: { Replicas: 2 } },
      });
      const filters = JSON.stringify({ service: ['node-service'], 'desired-state': ['running'] });
      await eventually(
        'both run',
        async () => {
          const tasks = await docker().listTasks({ filters });
          expect(tasks.map(({ Status }) => Status.State)).toEqual(['running', 'running']);
        },
        { withinMs: 20_000 },
      );
      const { Version, Spec } = await service.inspect();
      await service.update({ ...Spec, version: Version.Index, Labels: { changed: 'yes' } });
      expect((await service.inspect()).Spec.Labels).toEqual({ changed: 'yes' });
      await service.remove();
      await expect(service.inspect()).rejects.toMatchObject({ statusCode: 404 });
      const network = await docker().createNetwork({ Name: 'node-net', Driver: 'overlay' });
      expect((await network.inspect()).Scope).toBe('swarm');
      await network.remove();
      const secret = await docker().createSecret({ Name: 'node-secret', Data: 'eA==' });
      expect((await secret.inspect()).Spec.Name).toBe('node-secret');
      await secret.remove();
    });
  });

  test('Prometheus finds nodes, services and tasks of the cluster, and reads what tasks use', async () => {
    await shared.current.skep([
      ...['service', 'create', '--detach', '--no-resolve-image', '--name', 'scraped'],
      ...[
        '--limit-memory',
        '64M',
        '--label',
        'team=a',
        '--publish',
        '18081:80',
        'box',
        'sleep',
        '1000',
      ],
    ]);
    await shared.current.running('scraped', 1);
    const folder = join(dir, 'prometheus');
    mkdirSync(folder);
    const program = join(await unpackPackages(folder, ['prometheus']), 'usr/bin/prometheus');
    const jobs = ['nodes', 'services', 'tasks'].map((role) => {
      const sd = { host: `unix://${socketPath()}`, role, refresh_interval: '1s' };
      return { job_name: role, dockerswarm_sd_configs: [sd], scrape_interval: '1h' };
    });
    // It reads no socket of a file.
    const nodes = shared.current.hosts.map(({ socket }) =>
      createServer((client) => {
        const daemon = connect(socket);
        client.on('error', () => daemon.destroy()).pipe(daemon);
        daemon.on('error', () => client.destroy()).pipe(client);
      }),
    );
    const addresses = await Promise.all(
      nodes.map(async (server) => {
        await once(server.listen(0, '127.0.0.1'), 'listening');
        return `127.0.0.1:${(server.address() as AddressInfo).port}`;
      }),
    );
    const containers = {
      ...{ job_name: 'containers', metrics_path: '/skep/metrics', scrape_interval: '1s' },
      static_configs: [{ targets: addresses }],
    };
    const scrapes = { scrape_configs: [...jobs, containers] };
    writeFileSync(join(folder, 'prometheus.yml'), JSON.stringify(scrapes));
    const port = 20_000 + (process.pid % 10_000);
    const child = spawn(
      program,
      [
        `--config.file=${join(folder, 'prometheus.yml')}`,
        `--storage.tsdb.path=${join(folder, 'data')}`,
        `--web.listen-address=127.0.0.1:${port}`,
      ],
      { cwd: folder, stdio: 'ignore' },
    );
    try {
      const found = await eventually(
        'all three are discovered',
        async () => {
          const { body } = await http('127.0.0.1', port, '/api/v1/targets?state=active');
          const targets = JSON.parse(body).data.activeTargets as readonly {
            readonly discoveredLabels: Readonly<Record<string, string>>;
          }[];
          const jobsSeen = new Set(targets.map(({ discoveredLabels }) => discoveredLabels['job']));
          expect([...jobsSeen].sort()).toEqual(['containers', 'nodes', 'services', 'tasks']);
          return targets.map(({ discoveredLabels }) => discoveredLabels);
        },
        { withinMs: 60_000, everyMs: 500 },
      );
      const of = (job: string) => found.filter((labels) => labels['job'] === job);
      expect(
        of('nodes')
          .map((it) => it['__meta_dockerswarm_node_hostname'])
          .sort(),
      ).toEqual(['manager-1', 'worker-1']);
      expect(of('services')[0]).toMatchObject({
        __meta_dockerswarm_service_name: 'scraped',
        __meta_dockerswarm_service_label_team: 'a',
        __meta_dockerswarm_service_mode: 'replicated',
        __meta_dockerswarm_network_name: 'ingress',
      });
      expect(of('services')[0]!['__address__']).toMatch(/^10\.\d+\.\d+\.\d+:18081$/);
      expect(of('tasks')[0]).toMatchObject({
        __meta_dockerswarm_task_state: 'running',
        __meta_dockerswarm_service_name: 'scraped',
      });
      const own = '{container_label_com_docker_swarm_service_name="scraped"}';
      const uses = [
        ...['container_cpu_usage_seconds_total', 'container_memory_usage_bytes'],
        ...['container_spec_memory_limit_bytes', 'container_threads'],
      ];
      await eventually(
        'what its task uses is read',
        async () => {
          for (const name of uses) {
            const query = encodeURIComponent(`sum(${name}${own})`);
            const { body } = await http('127.0.0.1', port, `/api/v1/query?query=${query}`);
            const [found] = JSON.parse(body).data.result as { value: [number, string] }[];
            expect(Number(found?.value[1]), name).toBeGreaterThan(0);
          }
        },
        { withinMs: 20_000, everyMs: 500 },
      );
    } finally {
      for (const server of nodes) server.close();

      child.kill('SIGKILL');
      await new Promise((resolve) => child.once('close', resolve));
      await shared.current.skep(['service', 'rm', '-d', 'scraped']);
    }
  });

  describe('curl', () => {
    const curl = async (...args: readonly string[]) => {
      const argv = [
        'curl',
        '-sS',
        '-i',
        '--http1.1',
        '--max-time',
        '10',
        '--unix-socket',
        socketPath(),
      ];
      return run([...argv, ...args]);
    };

    test('sees the bytes of each kind of answer', async () => {
      const ping = (await curl('-I', 'http://d/_ping')).stdout;
      expect(ping).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
      expect(ping).toMatch(/^Api-Version: 1\.50\r$/m);
      expect(ping).toMatch(/^Swarm: active\/manager\r$/m);
      const missing = (await curl('http://d/v1.44/services/none')).stdout;
      expect(missing).toMatch(/^HTTP\/1\.1 404 Not Found\r\n/);
      expect(missing).toMatch(/^Content-Type: application\/json\r$/m);
      expect(missing.split('\r\n\r\n')[1]).toBe('{"message":"service none not found"}\n');
      const old = (await curl('http://d/v1.10/info')).stdout;
      expect(old).toContain('400 Bad Request');
      expect(old).toContain('client version 1.10 is too old');
      const events = await curl('-N', 'http://d/events?since=0&until=1');
      expect(events.stdout).toMatch(/^Transfer-Encoding: chunked\r$/m);
      expect(events.code).toBe(0);
    });

    test('gets headers before the first event, and frames of logs', async () => {
      const stream = await curl('-N', '--max-time', '1', 'http://d/events');
      expect(stream.code).toBe(28); // its own time limit
      expect(stream.stdout).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
      const docker = new Dockerode({ socketPath: socketPath() });
      const container = await docker.createContainer({
        Image: 'box',
        Cmd: ['sh', '-c', 'echo o; echo e >&2'],
      });
      await container.start();
      await container.wait();
      const path = (version: string) =>
        `http://d/${version}/containers/${container.id}/logs?stdout=1&stderr=1`;
      const now = (await curl(path('v1.50'))).stdout;
      expect(now).toMatch(/^Content-Type: application\/vnd\.docker\.multiplexed-stream\r$/m);
      expect(now).toContain('\x01\0\0\0\0\0\0\x02o\n');
      expect(now).toContain('\x02\0\0\0\0\0\0\x02e\n');
      expect((await curl(path('v1.41'))).stdout).toMatch(
        /^Content-Type: application\/vnd\.docker\.raw-stream\r$/m,
      );
      await container.remove();
    });
  });

  shared.testAnswers(100);
});

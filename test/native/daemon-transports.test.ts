/** A daemon as it is started by systemd and reached from elsewhere: passed sockets, TLS, ssh; by docker and by skep. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type CertificateFolder, makeCertificates } from '../support/certificates.ts';
import {
  clusterTestsCanRun,
  eventually,
  REPOSITORY,
  run,
  SKEP,
  succeeded,
} from '../support/cluster.ts';
import { buildBusyboxImage } from '../support/image-builder.ts';
import { ValidatingProxy } from '../support/validating-proxy.ts';

const SKEPD = join(REPOSITORY, 'bin/skepd');
const hasDocker = spawnSync('docker', ['--version']).status === 0;
/** Clears what would lead the clients elsewhere. */
const NO_TLS = { SKEP_HOST: '', DOCKER_HOST: '', DOCKER_TLS_VERIFY: '', DOCKER_TLS: '' };

/** A program that does on this machine what ssh would do on another, and notes what it was asked for. */
const FAKE_SSH = (skep: string, log: string): string => `#!/bin/sh
echo "$@" >> ${log}
while [ "$1" != -- ]; do shift; done
[ "$2" = away ] && { echo "connect to host away: no route" >&2; exit 255; }
shift 3
exec ${skep} "$@"
`;

describe.skipIf(!clusterTestsCanRun)('a daemon', () => {
  let dir: string;
  let daemon: ChildProcess;
  let client: CertificateFolder;
  let paths: { own: string; passed: string };
  let passedPort: number;
  let ownPort: number;
  let said = '';
  /** by the socket that each stands before */
  const proxies = new Map<string, ValidatingProxy>();

  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), 'skep-transports-'));
    paths = { own: join(dir, 'own.sock'), passed: join(dir, 'passed.sock') };
    const made = makeCertificates(dir, ['daemon', 'client']);
    client = made['client']!;
    const { ca, cert, key } = made['daemon']!;
    const passedUnix = await listening({ path: join(dir, 'made.sock') });
    const passedTcp = await listening({ port: 0, host: '127.0.0.1' });
    const probe = await listening({ port: 0, host: '127.0.0.1' });
    [passedPort, ownPort] = [passedTcp, probe].map((it) => (it.address() as AddressInfo).port) as [
      number,
      number,
    ];
    probe.close();
    const argv = [
      ...[SKEPD, '--data-dir', join(dir, 'data'), '--cgroup-parent', `skep-tr-${process.pid}`],
      ...['-H', 'fd://', '-H', `unix://${paths.own}`, '-H', `tcp://127.0.0.1:${ownPort}`],
      ...['--tlsverify', '--tlscacert', ca, '--tlscert', cert, '--tlskey', key],
    ];
    // As systemd does it: the number of the process is known to itself alone.
    const shell = 'export LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=api:tcp; exec "$@"';
    daemon = spawn('sh', ['-c', shell, 'sh', ...argv], {
      stdio: ['ignore', 'pipe', 'pipe', handleOf(passedUnix), handleOf(passedTcp)],
    });
    for (const stream of [daemon.stdout!, daemon.stderr!]) {
      stream.on('data', (chunk) => {
        said += String(chunk);
      });
    }
    // Closing it would remove the socket by the name that it knows.
    renameSync(join(dir, 'made.sock'), paths.passed);
    passedUnix.close();
    passedTcp.close();
    await eventually('the daemon is ready', () => expect(said).toContain('daemon ready'), {
      withinMs: 20_000,
    });
  }, 40_000);

  afterAll(async () => {
    const ended = new Promise((resolve) => daemon.once('exit', resolve));
    daemon.kill('SIGTERM');
    await ended;
    for (const proxy of proxies.values()) await proxy.stop();
    rmSync(dir, { recursive: true, force: true });
    const complaints = [...proxies.values()].flatMap((proxy) => [...proxy.complaints]);
    expect(complaints, "answers that are not as Docker's documents say").toEqual([]);
    for (const [socket, { judged }] of proxies) expect(judged, socket).toBeGreaterThan(0);
  });

  /** A socket beside another: what is answered there is held against Docker's documents. */
  const judgedAt = async (socket: string): Promise<string> => {
    const proxy = proxies.get(socket) ?? new ValidatingProxy(`${socket}-judged`, socket);
    if (!proxies.has(socket)) await proxy.start();
    proxies.set(socket, proxy);
    return proxy.socketPath;
  };

  const listening = (place: { path: string } | { port: number; host: string }): Promise<Server> =>
    new Promise((resolve) => {
      const server: Server = createServer().listen(place, () => resolve(server));
    });
  /** The kernel's socket, which a child may be given. */
  const handleOf = (server: Server): never => (server as unknown as { _handle: never })._handle;
  const skep = (args: readonly string[], env: Record<string, string> = {}) =>
    run([SKEP, ...args], { env: { ...NO_TLS, ...env } });
  const info = ['info', '--format', '{{.Swarm.LocalNodeState}}'];

  test.each(['own', 'passed'] as const)('serves its %s unix socket', async (which) => {
    const { stdout, stderr } = await skep([
      '-H',
      `unix://${await judgedAt(paths[which])}`,
      ...info,
    ]);
    expect(stdout, stderr).toBe('inactive\n');
  });

  test('serves TCP to clients with a certificate, passed or its own', async () => {
    for (const port of [passedPort, ownPort]) {
      const flags = ['--tlsverify', '--tlscacert', client.ca, '--tlscert', client.cert];
      const host = ['-H', `tcp://127.0.0.1:${port}`];
      const byFlags = await skep([...host, ...flags, '--tlskey', client.key, ...info]);
      expect(byFlags.stdout, byFlags.stderr).toBe('inactive\n');
      const byEnvironment = await skep(info, {
        DOCKER_HOST: `tcp://127.0.0.1:${port}`,
        DOCKER_TLS_VERIFY: '1',
        DOCKER_CERT_PATH: client.dir,
      });
      expect(byEnvironment.stdout, byEnvironment.stderr).toBe('inactive\n');
      const without = await skep([...host, ...flags.slice(0, 3), ...info], {
        DOCKER_CERT_PATH: join(dir, 'empty'),
      });
      expect([without.code, without.stdout]).toEqual([1, '']);
    }
  });

  test.skipIf(!hasDocker)('serves TCP to docker', async () => {
    const env = {
      ...NO_TLS,
      DOCKER_HOST: `tcp://127.0.0.1:${ownPort}`,
      DOCKER_TLS_VERIFY: '1',
      DOCKER_CERT_PATH: client.dir,
      DOCKER_CONFIG: dir,
    };
    const { stdout, stderr } = await run(['docker', 'version', '--format', '{{.Server.Os}}'], {
      env,
    });
    expect(stdout, stderr).toBe('linux\n');
  });

  test('is reached by ssh, from skep and from docker', async () => {
    const bin = mkdtempSync(join(dir, 'bin-'));
    const log = join(bin, 'log');
    writeFileSync(join(bin, 'ssh'), FAKE_SSH(SKEP, log));
    chmodSync(join(bin, 'ssh'), 0o755);
    const env = {
      ...NO_TLS,
      PATH: `${bin}:${process.env['PATH']}`,
      DOCKER_CONFIG: dir,
    };
    const socket = await judgedAt(paths.own);
    const host = `ssh://me@there:99${socket}`;
    const bySkep = await run([SKEP, '-H', host, ...info], { env });
    expect(bySkep.stdout, bySkep.stderr).toBe('inactive\n');
    const { stdout: asked } = await run(['cat', log]);
    expect(asked).toBe(
      `-o ConnectTimeout=30 -T -l me -p 99 -- there skep --host unix://${socket} system dial-stdio\n`,
    );
    const away = await run([SKEP, '-H', 'ssh://away', ...info], { env });
    expect([away.code, away.stderr]).toEqual([
      1,
      expect.stringContaining('connect to host away: no route'),
    ]);
    if (!hasDocker) return;
    const byDocker = await run(['docker', '-H', host, 'version', '--format', '{{.Server.Os}}'], {
      env,
    });
    expect(byDocker.stdout, byDocker.stderr).toBe('linux\n');
  });

  test('is started as dockerd is', { timeout: 40_000 }, async () => {
    const socket = join(dir, 'as-dockerd.sock');
    const pidFile = join(dir, 'as-dockerd.pid');
    const argv = ['-H', `unix://${socket}`, '--data-root', join(dir, 'root'), '--pidfile', pidFile];
    const other = spawn(`${SKEPD}-dockerd`, [...argv, '--exec-root', join(dir, 'exec'), '--debug']);
    const ended = new Promise((resolve) => other.once('exit', resolve));
    try {
      await eventually(
        'it answers',
        async () => {
          const { stdout, stderr } = await skep(['-H', `unix://${socket}`, ...info]);
          expect(stdout, stderr).toBe('inactive\n');
        },
        { withinMs: 20_000 },
      );
      expect(readFileSync(pidFile, 'utf8')).toBe(String(other.pid));
    } finally {
      other.kill('SIGTERM');
      await ended;
    }
    expect(existsSync(pidFile)).toBe(false);
  });

  test.skipIf(!hasDocker)(
    'is found as dockerd by a test suite that starts an engine from PATH',
    {
      timeout: 60_000,
    },
    async () => {
      const bin = join(dir, 'bin');
      const image = join(dir, 'box.tar');
      const socket = join(dir, 'suite.sock');
      const pidFile = join(dir, 'suite.pid');
      mkdirSync(bin);
      symlinkSync(`${SKEPD}-dockerd`, join(bin, 'dockerd'));
      buildBusyboxImage({ name: 'box:latest', outTar: image });
      const env = { ...NO_TLS, PATH: `${bin}:${process.env['PATH']}`, DOCKER_CONFIG: dir };
      const sh = (line: string) => run(['sh', '-c', line], { env });
      expect((await sh('command -v dockerd')).stdout).toBe(`${join(bin, 'dockerd')}\n`);
      expect((await sh('dockerd --version')).stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
      const unknown = await sh('dockerd --containerd /run/containerd.sock');
      expect([unknown.code === 0, unknown.stderr]).toEqual([
        false,
        expect.stringContaining('--containerd'),
      ]);
      const folders = ['--data-root', join(dir, 'suite'), '--exec-root', join(dir, 'suite-exec')];
      const flags = ['--pidfile', pidFile, '--host', `unix://${socket}`, '--log-level', 'debug'];
      const advertised = ['--swarm-default-advertise-addr', '127.0.0.1'];
      // Its networks are none of this machine's.
      const shell = 'ip link set lo up && exec dockerd "$@"';
      const inOwn = ['-n', 'sh', '-c', shell, 'sh', ...folders, ...flags, ...advertised];
      const engine = spawn('unshare', inOwn, { env: { ...process.env, ...env }, stdio: 'ignore' });
      const ended = new Promise((resolve) => engine.once('exit', resolve));
      const host = `unix://${await judgedAt(socket)}`;
      const docker = async (...args: readonly string[]) =>
        succeeded(await run(['docker', '-H', host, ...args], { env })).stdout.trim();
      try {
        await eventually(
          'it answers',
          async () => expect(await docker('info', '-f', '{{.ServerVersion}}')).not.toBe(''),
          { withinMs: 20_000 },
        );
        expect(readFileSync(pidFile, 'utf8')).toBe(String(engine.pid));
        await docker('load', '-i', image);
        expect(await docker('run', '--rm', '--network', 'none', 'box', 'echo', 'hello')).toBe(
          'hello',
        );
        await docker('swarm', 'init', '--listen-addr', '127.0.0.1:2377');
        const node = ['--format', '{{.Self}} {{.ManagerStatus}}'];
        expect(await docker('node', 'ls', ...node)).toBe('true Leader');
        expect(await docker('node', 'inspect', 'self', '-f', '{{.Status.Addr}}')).toBe('127.0.0.1');
        await docker('swarm', 'leave', '--force');
        expect(await docker('info', '-f', '{{.Swarm.LocalNodeState}}')).toBe('inactive');
      } finally {
        await run(['docker', '-H', `unix://${socket}`, 'swarm', 'leave', '--force'], { env });
        engine.kill('SIGTERM');
        await ended;
      }
      expect([engine.exitCode, existsSync(pidFile), existsSync(socket)]).toEqual([0, false, false]);
    },
  );

  test('does not start for everybody unless it is told to', async () => {
    const argv = [SKEPD, '--data-dir', join(dir, 'other'), '-H', 'tcp://0.0.0.0:0'];
    const refused = await run(argv);
    expect([refused.code, refused.stderr]).toEqual([
      1,
      expect.stringContaining('whoever connects would be root on this host'),
    ]);
  });
});

/** The daemon started as dockerd with dockerd's flags of TLS, and the real docker command as its client. */
import { spawn, spawnSync } from 'node:child_process';
import { copyFileSync, mkdtempSync, rmSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type CertificateFolder, makeCertificates } from '../support/certificates.ts';
import { clusterTestsCanRun, eventually, REPOSITORY, run, SKEP } from '../support/cluster.ts';
import { buildBusyboxImage } from '../support/image-builder.ts';

const DOCKERD = join(REPOSITORY, 'bin/skepd-dockerd');
const hasDocker = spawnSync('docker', ['--version']).status === 0;
const title = hasDocker
  ? 'a daemon started as dockerd'
  : 'a daemon started as dockerd (skipped: docker is not installed)';
/** By TLS 1.3 the daemon refuses when the client thinks that it is connected: its alert may come after the end. */
const NO_CERTIFICATE = /error during connect: .*(tls: |EOF|reset)/;
/** Clears what would lead clients elsewhere. */
const NOWHERE = { SKEP_HOST: '', DOCKER_HOST: '', DOCKER_TLS_VERIFY: '', DOCKER_TLS: '' };

describe.skipIf(!clusterTestsCanRun || !hasDocker)(title, { timeout: 60_000 }, () => {
  let dir: string;
  let own: CertificateFolder;
  let client: CertificateFolder;
  let stranger: CertificateFolder;
  let image: string;
  beforeAll(() => {
    dir = mkdtempSync(join(tmpdir(), 'skep-dockerd-tls-'));
    const made = makeCertificates(dir, ['daemon', 'client']);
    [own, client] = [made['daemon']!, made['client']!];
    stranger = makeCertificates(mkdtempSync(join(dir, 'other-')), ['stranger'])['stranger']!;
    image = join(dir, 'box.tar');
    buildBusyboxImage({ name: 'box:latest', outTar: image });
  });
  afterAll(() => rmSync(dir, { recursive: true, force: true }));

  /** One that nobody listened on a moment ago. */
  const freePort = (): Promise<number> =>
    new Promise((resolve) => {
      const probe = createServer().listen(0, '127.0.0.1', () => {
        const { port } = probe.address() as AddressInfo;
        probe.close(() => resolve(port));
      });
    });

  /** With these flags behind its place, and `use` while it is there. */
  const withDaemon = async (
    flags: readonly string[],
    env: Readonly<Record<string, string>>,
    use: (host: string) => Promise<void>,
  ): Promise<void> => {
    const folder = mkdtempSync(join(dir, 'run-'));
    const host = `tcp://127.0.0.1:${await freePort()}`;
    const places = ['--data-root', join(folder, 'root'), '--exec-root', join(folder, 'exec')];
    const argv = ['-H', host, ...places, '--pidfile', join(folder, 'pid'), ...flags];
    const daemon = spawn(DOCKERD, argv, { env: { ...process.env, ...NOWHERE, ...env } });
    const ended = new Promise((resolve) => daemon.once('exit', resolve));
    let said = '';
    for (const stream of [daemon.stdout, daemon.stderr]) {
      stream.on('data', (chunk: Buffer) => {
        said += chunk.toString();
      });
    }
    try {
      await eventually('it is ready', () => expect(said).toContain('daemon ready'), {
        withinMs: 30_000,
      });
      await use(host);
    } finally {
      daemon.kill('SIGTERM');
      await ended;
    }
  };
  const docker = (args: readonly string[], env: Record<string, string> = {}, input = '') =>
    run(['docker', ...args], { input, env: { ...NOWHERE, DOCKER_CONFIG: dir, ...env } });
  const flagsOf = ({ ca, cert, key }: CertificateFolder): string[] => [
    ...['--tlsverify', '--tlscacert', ca, '--tlscert', cert, '--tlskey', key],
  ];
  /** Of a client without a certificate. */
  const authorityAlone = () => {
    const folder = mkdtempSync(join(dir, 'ca-'));
    copyFileSync(client.ca, join(folder, 'ca.pem'));
    return { DOCKER_CERT_PATH: folder };
  };
  const version = ['version', '--format', '{{.Server.Os}}'];

  test('with --tlsverify and files that it is told serves who has a certificate, by streams as well', async () => {
    await withDaemon(flagsOf(own), {}, async (host) => {
      const known = ['-H', host, ...flagsOf(client)];
      const served = await docker([...known, ...version]);
      expect(served.stdout, served.stderr).toBe('linux\n');
      await docker([...known, 'load', '-i', image]);
      const runs = [...known, 'run', '--rm', '--network', 'none'];
      const failing = await docker([...runs, 'box', 'sh', '-c', 'echo out; echo err >&2; exit 7']);
      expect([failing.code, failing.stdout, failing.stderr]).toEqual([7, 'out\n', 'err\n']);
      // The end of the input alone, over TLS.
      const input = 'quiet\n'.repeat(20_000);
      const filter = await docker([...runs, '-i', 'box', 'tr', 'a-z', 'A-Z'], {}, input);
      expect(filter.stdout === input.toUpperCase(), filter.stderr).toBe(true);
      const unknown = await docker(['-H', host, ...flagsOf(stranger), ...version]);
      expect([unknown.code, unknown.stderr]).toEqual([1, expect.stringContaining('x509')]);
      const [withOther, without] = [
        [
          '--tlsverify',
          '--tlscacert',
          client.ca,
          '--tlscert',
          stranger.cert,
          '--tlskey',
          stranger.key,
        ],
        ['--tlsverify'],
      ];
      for (const [flags, why] of [
        [withOther, NO_CERTIFICATE],
        [without, NO_CERTIFICATE],
        [[], /HTTP request to an HTTPS server|malformed HTTP response|EOF|reset/],
      ] as const) {
        const refused = await docker(['-H', host, ...flags, ...version], authorityAlone());
        expect([refused.code, refused.stdout.trim()]).toEqual([1, '']);
        expect(refused.stderr).toMatch(why);
      }
    });
  });

  test('with --tlsverify finds its files as dockerd does, and both commands theirs by the same variables', async () => {
    await withDaemon(['--tlsverify'], { DOCKER_CERT_PATH: own.dir }, async (host) => {
      const env = { DOCKER_HOST: host, DOCKER_TLS_VERIFY: '1', DOCKER_CERT_PATH: client.dir };
      const served = await docker(version, env);
      expect(served.stdout, served.stderr).toBe('linux\n');
      const bySkep = await run([SKEP, ...version], { env: { ...NOWHERE, ...env } });
      expect(bySkep.stdout, bySkep.stderr).toBe('linux\n');
    });
  });

  test('with --tls alone serves every client by TLS', async () => {
    const files = ['--tls', '--tlscert', own.cert, '--tlskey', own.key];
    await withDaemon(files, {}, async (host) => {
      const byTls = await docker(['-H', host, '--tls', ...version], authorityAlone());
      expect(byTls.stdout, byTls.stderr).toBe('linux\n');
      const plain = await docker(['-H', host, ...version]);
      expect([plain.code, plain.stdout.trim()]).toEqual([1, '']);
    });
  });

  test('does not start without the files that it needs, and says which', async () => {
    const env = { ...NOWHERE, DOCKER_CERT_PATH: join(dir, 'nothing') };
    const argv = ['-H', 'tcp://127.0.0.1:0', '--data-root', join(dir, 'none'), '--tlsverify'];
    const { code, stderr } = await run([DOCKERD, ...argv], { env });
    expect([code, stderr]).toEqual([1, expect.stringContaining(join(dir, 'nothing'))]);
  });
});

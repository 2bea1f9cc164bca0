// Registries as the operators of hosts set them up, in files: TLS by an own authority with client certificates, proxies,
// mirrors; and what one registry is asked for by five hosts. Docker's registry is the peer, and counts by its own access log.
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { clusterTestsCanRun, eventually, type TestCluster } from '../support/cluster.ts';
import { type ConnectProxy, startProxy } from '../support/connect-proxy.ts';
import { FaultProxy } from '../support/fault-proxy.ts';
import { buildBusyboxImage } from '../support/image-builder.ts';
import {
  hasDockerRegistry,
  hasSkopeo,
  push,
  startRegistry,
  type TestRegistry,
} from '../support/image-registry.ts';
import { makeCertificates, type TestCertificates } from '../support/test-certificates.ts';
import { useCluster } from '../support/use-cluster.ts';

/** All development clusters' bridges lie in it. */
const SUBNETS = '172.30.0.0/16';
/** Nobody resolves these: only the proxies know where they are. */
const SECURE = 'registry.example:5000';
const PLAIN = 'plain.example:5000';
/** Only its mirrors exist. */
const MIRRORED = 'mirrored.example';
/** Its mirror is dead. */
const ORIGIN = 'origin.example:5000';
const HOSTS = 5;
/** A registry gives each blob once, or twice when two managers begin at the same moment. */
const SERVED_MAX = 2;
const UNTRUSTED = 'tls: certificate signed by unknown authority "Test CA"';
const LOOP = ['sh', '-c', 'while :; do sleep 1; done'];

describe.skipIf(!clusterTestsCanRun || !hasDockerRegistry || !hasSkopeo)(
  'registries of five hosts (needs root, docker-registry, skopeo)',
  () => {
    const dir = mkdtempSync(join(tmpdir(), 'skep-test-'));
    const settings = join(dir, 'skepd.yml');
    writeFileSync(settings, '');
    const certificatesOf = join(dir, 'certs.d', SECURE);
    const started: { stop(): Promise<void> }[] = [];
    let certificates: TestCertificates;
    /** with TLS, for clients with a certificate and a password */
    let secure: TestRegistry;
    let plain: TestRegistry;
    /** in front of `plain`, on the bridge */
    let door: FaultProxy;
    let toSecure: ConnectProxy;
    let toPlain: ConnectProxy;
    /** what `pull` said before the settings were there */
    let toldWithoutSettings = '';

    async function startPeers(bridge: string): Promise<void> {
      certificates = makeCertificates(dir);
      const { certificate, key, ca: clientCa } = certificates;
      const tls = { certificate, key, clientCa };
      secure = await startRegistry({ dir: join(dir, 'secure'), basicAuth: true, tls });
      plain = await startRegistry({ dir: join(dir, 'plain') });
      door = new FaultProxy(plain.host);
      await door.start(bridge);
      toSecure = await startProxy(secure.host, bridge);
      toPlain = await startProxy(plain.host, bridge);
      started.push(secure, plain, door, toSecure, toPlain);
    }

    /** The client's certificate, and whom to trust, as Docker's `certs.d` has them. */
    function trust(): void {
      const { ca, clientCertificate, clientKey } = certificates;
      mkdirSync(certificatesOf, { recursive: true });
      copyFileSync(clientCertificate, join(certificatesOf, 'client.cert'));
      copyFileSync(clientKey, join(certificatesOf, 'client.key'));
      copyFileSync(ca, join(certificatesOf, 'ca.crt'));
    }

    /** Every daemon reads its settings, one manager at a time. */
    async function restarted(cluster: TestCluster): Promise<void> {
      await Promise.all(cluster.workers.map(({ name }) => cluster.restart(name)));
      for (const { name } of cluster.managers) {
        await cluster.restart(name);
        await eventually(
          'all nodes are ready',
          async () => {
            const nodes = await cluster.skep(['node', 'ls', '--format', '{{.Status}}']);
            expect(nodes.trim().split('\n')).toEqual(Array(HOSTS).fill('Ready'));
          },
          { withinMs: 60_000 },
        );
      }
    }

    const shared = useCluster(
      'regs',
      { managers: 3, workers: 2, daemonFlags: ['--config', settings] },
      async (cluster) => {
        const bridge = cluster.hosts[0]!.address.replace(/\.\d+$/, '.1');
        await startPeers(bridge);
        toldWithoutSettings = (await cluster.try(['pull', `${door.host}/any:1`])).stderr;
        trust();
        const written = {
          'registry-certs-dir': [join(dir, 'certs.d')],
          'insecure-registry': [SUBNETS, PLAIN, ORIGIN],
          'registry-mirror': [
            `${MIRRORED}=http://${bridge}:1`,
            `${MIRRORED}=http://${door.host}`,
            `${ORIGIN}=http://${bridge}:1`,
          ],
          'https-proxy': toSecure.url,
          'http-proxy': toPlain.url,
          'no-proxy': SUBNETS,
        };
        writeFileSync(settings, JSON.stringify(written)); // JSON is YAML
        await restarted(cluster);
      },
    );

    afterAll(async () => {
      for (const one of started) await one.stop();
      rmSync(dir, { recursive: true, force: true });
    });

    /** Into the plain registry, by skopeo. @param architecture default this machine's */
    function pushed(name: string, architecture?: string): void {
      const outTar = join(dir, 'image.tar');
      const files = { name };
      const of = architecture === undefined ? {} : { architecture };
      buildBusyboxImage({ name, outTar, cmd: LOOP, gzipLayers: true, files, ...of });
      push(plain, outTar, name);
    }

    /** Of the layers and the config of a repository, each; that of busybox is there from the first image on. */
    const expectServedOnce = (registry: TestRegistry, repository: string): void => {
      const served = [...registry.blobsServed(repository).values()];
      expect(served.length, 'blobs').toBeGreaterThanOrEqual(2);
      expect(Math.max(...served), JSON.stringify(served)).toBeLessThanOrEqual(SERVED_MAX);
    };

    const running = (service: string, count: number) =>
      shared.current.running(service, count, { withinMs: 60_000 });

    /** A client whose passwords a credential helper keeps, in one file. */
    function withHelper(): { env: Record<string, string>; kept: string } {
      const kept = join(dir, 'kept');
      const get = `test -e ${kept} && cat ${kept} || { echo credentials not found in native keychain; exit 1; }`;
      const cases = [`store) cat > ${kept} ;;`, `get) ${get} ;;`, `erase) rm ${kept} ;;`];
      const helper = join(dir, 'docker-credential-test');
      writeFileSync(helper, `#!/bin/sh\ncase $1 in\n${cases.join('\n')}\nesac\n`, { mode: 0o755 });
      const config = join(dir, 'docker');
      mkdirSync(config, { recursive: true });
      writeFileSync(join(config, 'config.json'), '{"credsStore":"test"}');
      return { env: { DOCKER_CONFIG: config, PATH: `${dir}:${process.env['PATH']}` }, kept };
    }

    test('TLS by an own authority, a client certificate and a password that a helper keeps, behind a proxy: to every host', {
      timeout: 120_000,
    }, async () => {
      const cluster = shared.current;
      const { env, kept } = withHelper();
      const name = `${SECURE}/team/web:1`;
      const outTar = join(dir, 'image.tar');
      buildBusyboxImage({ name, outTar, cmd: LOOP, files: { name } });
      await cluster.skep(['load', '-i', outTar]);
      const login = ['login', '-u', 'alice', '--password-stdin', SECURE];
      const guess = await cluster.try(login, { env, input: 'guess' });
      expect(guess.stderr).toContain('unauthorized: authentication required');
      expect(await cluster.skep(login, { env, input: 'secret' })).toBe('Login Succeeded\n');
      expect(JSON.parse(readFileSync(kept, 'utf8'))).toMatchObject({ Secret: 'secret' });
      expect(await cluster.skep(['push', name], { env })).toMatch(/1: digest: sha256:/);
      await cluster.skep(['rmi', name]);
      const create = ['--name', 'secure', '--mode', 'global', '-d', name];
      await cluster.skep(['service', 'create', '--with-registry-auth', ...create], { env });
      await running('secure', HOSTS);
      expectServedOnce(secure, 'team/web');
      expect(new Set(toSecure.asked)).toEqual(new Set([SECURE]));
      await cluster.skep(['logout', SECURE], { env });
      expect(existsSync(kept)).toBe(false);
      await cluster.skep(['service', 'rm', '-d', 'secure']);
    });

    test('plain HTTP by the proxy for it; one cold pull of five hosts costs the registry each blob once or twice', {
      timeout: 120_000,
    }, async () => {
      const cluster = shared.current;
      pushed('five:1');
      const create = ['--name', 'five', '--mode', 'global', '-d', `${PLAIN}/five:1`];
      await cluster.skep(['service', 'create', ...create]);
      await running('five', HOSTS);
      expectServedOnce(plain, 'five');
      expect(toPlain.asked).toContain(`http://${PLAIN}/v2/five/manifests/1`);
      await cluster.skep(['service', 'rm', '-d', 'five']);
    });

    test('a dead mirror is passed over on every host, the next one serves', {
      timeout: 120_000,
    }, async () => {
      const cluster = shared.current;
      pushed('copied:1');
      const create = ['--name', 'copied', '--mode', 'global', '-d', `${MIRRORED}/copied:1`];
      await cluster.skep(['service', 'create', ...create]);
      await running('copied', HOSTS);
      expectServedOnce(plain, 'copied');
      await cluster.skep(['service', 'rm', '-d', 'copied']);
    });

    test('a registry whose mirrors are all dead serves itself', { timeout: 120_000 }, async () => {
      const cluster = shared.current;
      pushed('origin:1');
      const name = `${ORIGIN}/origin:1`;
      await cluster.skep(['service', 'create', '--name', 'origin', '--mode', 'global', '-d', name]);
      await running('origin', HOSTS);
      expectServedOnce(plain, 'origin');
      expect(toPlain.asked).toContain(`http://${ORIGIN}/v2/origin/manifests/1`);
      await cluster.skep(['service', 'rm', '-d', 'origin']);
    });

    test('a registry that speaks plain HTTP serves once the setting names it', {
      timeout: 120_000,
    }, async () => {
      expect(toldWithoutSettings).toContain('http: server gave HTTP response to HTTPS client');
      pushed('allowed:1');
      const pulled = await shared.current.skep(['pull', `${door.host}/allowed:1`]);
      expect(pulled).toContain('Downloaded newer image');
    });

    test('an image of another architecture alone is placed nowhere, and its task says why', {
      timeout: 120_000,
    }, async () => {
      const cluster = shared.current;
      pushed('foreign:1', 's390x');
      const create = ['--name', 'foreign', '-d', `${door.host}/foreign:1`];
      await cluster.skep(['service', 'create', ...create]);
      await eventually(
        'the task waits',
        async () => {
          const [task] = await cluster.tasks('foreign');
          expect(task).toMatchObject({ current: 'Pending', node: '' });
          expect(task!.error).toContain(
            `no suitable node (unsupported platform on ${HOSTS} nodes)`,
          );
        },
        { withinMs: 60_000 },
      );
      await cluster.skep(['service', 'rm', '-d', 'foreign']);
    });

    test('a service is scaled to all hosts while the registry is down', {
      timeout: 120_000,
    }, async () => {
      const cluster = shared.current;
      pushed('scaled:1');
      const spread = ['--replicas-max-per-node', '1', '--constraint', 'node.role==worker'];
      const name = `${door.host}/scaled:1`;
      await cluster.skep(['service', 'create', '--name', 'scaled', ...spread, '-d', name]);
      await running('scaled', 1);
      const before = plain.blobsServed('scaled');
      const [address, port] = door.host.split(':');
      await door.stop();
      try {
        const anywhere = ['--constraint-rm', 'node.role==worker'];
        await cluster.skep(['service', 'update', '-d', ...anywhere, 'scaled']);
        await cluster.skep(['service', 'scale', '-d', `scaled=${HOSTS}`]);
        const tasks = await running('scaled', HOSTS);
        expect(new Set(tasks.map(({ node }) => node)).size).toBe(HOSTS);
        expect(plain.blobsServed('scaled')).toEqual(before);
      } finally {
        await door.start(address, Number(port));
      }
      await cluster.skep(['service', 'rm', '-d', 'scaled']);
    });

    test('an update of a service on several hosts stops nobody before the next image is there', {
      timeout: 120_000,
    }, async () => {
      const cluster = shared.current;
      pushed('rolled:1');
      pushed('rolled:2');
      const create = ['--name', 'rolled', '--replicas', '3', '--replicas-max-per-node', '1'];
      const quick = ['--stop-grace-period', '1s', '--update-monitor', '1s'];
      const all = ['--update-parallelism', '0', '--update-order', 'stop-first'];
      const image = (version: number): string => `${door.host}/rolled:${version}`;
      await cluster.skep(['service', 'create', ...create, ...quick, ...all, '-d', image(1)]);
      const before = (await running('rolled', 3)).map(({ id }) => id).sort();
      let release = (): void => {};
      const until = new Promise<void>((resolve) => {
        release = resolve;
      });
      door.fault = ({ method, url }) =>
        method === 'GET' && url.includes('/blobs/') ? { kind: 'hold', until } : null;
      const tasks = async (current: string): Promise<string[]> =>
        (await cluster.tasks('rolled'))
          .filter((task) => task.current === current)
          .map(({ id }) => id)
          .sort();
      try {
        const update = ['--image', image(2), '--no-resolve-image', '-d', 'rolled'];
        await cluster.skep(['service', 'update', ...update]);
        await eventually(
          'the next tasks wait for their image',
          async () => expect(await tasks('Preparing')).toHaveLength(3),
          { withinMs: 30_000 },
        );
        for (let looks = 0; looks < 10; looks++) expect(await tasks('Running')).toEqual(before);
      } finally {
        release();
        door.fault = () => null;
      }
      const isNext = async (): Promise<void> => {
        const now = await tasks('Running');
        expect(now).toHaveLength(3);
        expect(now.filter((id) => before.includes(id))).toEqual([]);
      };
      await eventually('the next tasks run', isNext, { withinMs: 60_000 });
      await cluster.skep(['service', 'rm', '-d', 'rolled']);
    });

    /** What a registry answers of this kind is told by the task, and what the operator wants of the update then is done. */
    test.each([
      ['pause', 'manifest unknown: manifest unknown', null],
      [
        'rollback',
        'unauthorized: who are you',
        {
          status: 401,
          headers: { 'WWW-Authenticate': 'Basic realm="Registry Realm"' },
          body: '{"errors":[{"code":"UNAUTHORIZED","message":"who are you"}]}',
        },
      ],
      [
        'pause',
        'toomanyrequests: slow down',
        {
          status: 429,
          headers: { 'Retry-After': '1' },
          body: '{"errors":[{"code":"TOOMANYREQUESTS","message":"slow down"}]}',
        },
      ],
      ['pause', UNTRUSTED, null],
      ['rollback', UNTRUSTED, null],
    ] as const)(
      'an update ends with %s at a registry that says %s',
      {
        timeout: 120_000,
      },
      async (action, words, answer) => {
        const cluster = shared.current;
        const service = `failing-${action}-${/^\w+/.exec(words)![0]}`;
        pushed(`${service}:1`);
        const watch = [
          '--update-monitor',
          '1s',
          '--rollback-monitor',
          '1s',
          '--restart-delay',
          '1s',
        ];
        const flags = ['--name', service, '--replicas', '2', ...watch];
        const onFailure = ['--update-failure-action', action];
        const first = `${door.host}/${service}:1`;
        await cluster.skep(['service', 'create', ...flags, ...onFailure, '-d', first]);
        const before = (await running(service, 2)).map(({ id }) => id).sort();
        const isUntrusted = words === UNTRUSTED;
        if (isUntrusted) rmSync(join(certificatesOf, 'ca.crt'));
        door.fault = ({ url }) =>
          answer !== null && url.includes('/manifests/none') ? { kind: 'answer', ...answer } : null;
        try {
          const [host, repository] = isUntrusted ? [SECURE, 'team/none'] : [door.host, service];
          const next = [
            '--image',
            `${host}/${repository}:none`,
            '--no-resolve-image',
            '-d',
            service,
          ];
          await cluster.skep(['service', 'update', ...next]);
          const end = action === 'pause' ? 'paused' : 'rollback_completed';
          await eventually(
            `its update is ${end}`,
            async () => {
              const format = ['--format', '{{.UpdateStatus.State}}', service];
              expect((await cluster.skep(['service', 'inspect', ...format])).trim()).toBe(end);
            },
            { withinMs: 60_000 },
          );
          const failed = (await cluster.tasks(service)).filter(({ error }) => error !== '');
          expect(failed[0]?.error).toContain(`pull ${repository}:none from ${host}: ${words}`);
          const serving = (await cluster.tasks(service)).filter(
            ({ current, desired }) => current === 'Running' && desired === 'Running',
          );
          expect(serving.map(({ id }) => id).sort()).toEqual(before);
        } finally {
          door.fault = () => null;
          trust();
        }
        await cluster.skep(['service', 'rm', '-d', service]);
      },
    );
  },
);

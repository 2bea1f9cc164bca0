// The web service once more with a program that people run: nginx, from this machine's own packages; and its way through a
// registry as the chapters of the course have it.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { describeError } from '../../common/base/errors.ts';
import { clusterTestsCanRun, eventually, http } from '../support/cluster.ts';
import { buildDebianImage, hasDebianPackages } from '../support/debian-image.ts';
import { FaultProxy } from '../support/fault-proxy.ts';
import { hasDockerRegistry, startRegistry } from '../support/image-registry.ts';
import { useCluster } from '../support/use-cluster.ts';

const BUILD_LIMIT_MS = 300_000;
const PORT = 8081;
const STACK = `
services:
  web:
    image: skep-test/nginx:1
    ports: ["${PORT}:80"]
    restart: always
    deploy:
      replicas: 2
      resources:
        limits: { cpus: "0.5", memory: 64M }
`;

const canRun = clusterTestsCanRun && hasDebianPackages;

describe.skipIf(!canRun)('nginx as a service (needs packages of Debian)', () => {
  let dir: string;
  /** why there is no image (no package mirror, for one); null = there is */
  let unavailable: string | null = null;
  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), 'skep-test-'));
    writeFileSync(join(dir, 'stack.yml'), STACK);
    await buildDebianImage({
      ...{ name: 'skep-test/nginx:1', outTar: join(dir, 'nginx.tar') },
      ...{ packages: ['nginx-light'], exposedPorts: ['80/tcp'] },
      cmd: ['/usr/sbin/nginx', '-g', 'daemon off;'],
    }).catch((err: unknown) => {
      unavailable = `no nginx image: ${describeError(err)}`;
    });
  }, BUILD_LIMIT_MS);
  afterAll(() => rmSync(dir, { recursive: true, force: true }));
  beforeEach((context) => {
    if (unavailable !== null) context.skip(unavailable);
  });
  const request = { managers: 1, workers: 1, insecureRegistries: ['172.30.0.0/16'] };
  const shared = useCluster('nginx', request, async (cluster) => {
    if (unavailable === null) await cluster.dev('load', join(dir, 'nginx.tar'));
  });

  /** Within some seconds, on every host. */
  async function isWelcome(): Promise<void> {
    for (const { address, name } of shared.current.hosts) {
      const { status, body } = await eventually(name, () => http(address, PORT), {
        withinMs: 5000,
      });
      expect(status).toBe(200);
      expect(body).toContain('Welcome to nginx!');
    }
  }

  test('answers on every host and can be scaled', { timeout: 90_000 }, async () => {
    const cluster = shared.current;
    const file = join(dir, 'stack.yml');
    await cluster.skep(['stack', 'deploy', '--resolve-image', 'never', '-c', file, 'n']);
    await cluster.running('n_web', 2);
    await isWelcome();
    await cluster.skep(['service', 'scale', '--detach=false', 'n_web=4']);
    expect(await cluster.running('n_web', 4)).toHaveLength(4);
    await cluster.skep(['stack', 'rm', 'n']);
    await eventually(
      'no container',
      async () => {
        for (const { name: host } of cluster.hosts) {
          expect(await cluster.skep(['ps', '-aq'], { host })).toBe('');
        }
      },
      { withinMs: 20_000 },
    );
  });

  test.skipIf(!hasDockerRegistry)(
    'goes to a registry with a password, comes back, and runs on every host from there',
    { timeout: 120_000 },
    async () => {
      const cluster = shared.current;
      const env = { DOCKER_CONFIG: join(dir, 'docker') };
      const registry = await startRegistry({ dir: join(dir, 'registry'), basicAuth: true });
      const door = new FaultProxy(registry.host);
      try {
        await door.start(cluster.hosts[0]!.address.replace(/\.\d+$/, '.1'));
        const name = `${door.host}/oldboy/nginx:1`;
        const denied = 'unauthorized: authentication required';
        await cluster.skep(['tag', 'skep-test/nginx:1', name]);
        expect((await cluster.try(['push', name], { env })).stderr).toContain(denied);
        const login = ['login', '-u', 'alice', '--password-stdin', door.host];
        expect(await cluster.skep(login, { env, input: 'secret' })).toBe('Login Succeeded\n');
        expect(await cluster.skep(['push', name], { env })).toMatch(
          /: Pushed[\s\S]*1: digest: sha256:/,
        );
        for (const { name: host } of cluster.hosts) {
          await cluster.skep(['rmi', 'skep-test/nginx:1'], { host });
        }
        expect(await cluster.skep(['rmi', name])).toContain(`Untagged: ${name}`);
        expect(await cluster.skep(['image', 'ls', '-q'])).toBe('');
        expect((await cluster.try(['pull', name])).stderr).toContain(denied);
        expect(await cluster.skep(['pull', name], { env })).toContain(
          `Status: Downloaded newer image for ${name}`,
        );
        const publish = ['--mode', 'global', '--publish', `${PORT}:80`];
        const create = ['--name', 'web', ...publish, '--with-registry-auth', '-d', name];
        await cluster.skep(['service', 'create', ...create], { env });
        await cluster.running('web', 2, { withinMs: 60_000 });
        await isWelcome();
        await cluster.skep(['service', 'rm', '-d', 'web']);
      } finally {
        await door.stop();
        await registry.stop();
      }
    },
  );
});

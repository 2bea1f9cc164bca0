// The web service once more with a program that people run: nginx, from this machine's own packages.
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { clusterTestsCanRun, eventually, http, REPOSITORY, run } from '../support/cluster.ts';
import { useCluster } from '../support/use-cluster.ts';

const BUILDER = join(REPOSITORY, '../shared/tools/debian-image.sh');
const BUILD_LIMIT_MS = 240_000;
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

const canRun = clusterTestsCanRun && existsSync(BUILDER);

describe.skipIf(!canRun)('nginx as a service (needs a builder of Debian images)', () => {
  let dir: string;
  /** why there is no image (no package mirror, for one); null = there is */
  let unavailable: string | null = null;
  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), 'skep-test-'));
    writeFileSync(join(dir, 'stack.yml'), STACK);
    const image = ['-o', join(dir, 'nginx.tar'), '-t', 'skep-test/nginx:1', '-p', '80/tcp'];
    const command = ['-c', '["nginx","-g","daemon off;"]', 'nginx-light'];
    const built = await run([BUILDER, ...image, ...command], { limitMs: BUILD_LIMIT_MS });
    if (built.code !== 0) unavailable = `no nginx image: ${built.stderr.trim()}`;
  }, BUILD_LIMIT_MS);
  afterAll(() => rmSync(dir, { recursive: true, force: true }));
  beforeEach((context) => {
    if (unavailable !== null) context.skip(unavailable);
  });
  const shared = useCluster('nginx', { managers: 1, workers: 1 }, async (cluster) => {
    if (unavailable === null) await cluster.dev('load', join(dir, 'nginx.tar'));
  });

  test('answers on every host and can be scaled', { timeout: 90_000 }, async () => {
    const cluster = shared.current;
    const file = join(dir, 'stack.yml');
    await cluster.skep(['stack', 'deploy', '--resolve-image', 'never', '-c', file, 'n']);
    await cluster.running('n_web', 2);
    for (const { address, name } of cluster.hosts) {
      const { status, body } = await eventually(name, () => http(address, PORT), {
        withinMs: 5000,
      });
      expect(status).toBe(200);
      expect(body).toContain('Welcome to nginx!');
    }
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
});

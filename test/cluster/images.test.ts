// Images in a real cluster: a registry on the cluster's bridge, behind a proxy that counts and breaks.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { clusterTestsCanRun, eventually } from '../support/cluster.ts';
import { FaultProxy } from '../support/fault-proxy.ts';
import { buildBusyboxImage } from '../support/image-builder.ts';
import { hasDockerRegistry, startRegistry, type TestRegistry } from '../support/image-registry.ts';
import { useCluster } from '../support/use-cluster.ts';

/** All development clusters' bridges lie in it. */
const SUBNETS = '172.30.0.0/16';

describe.skipIf(!clusterTestsCanRun || !hasDockerRegistry)(
  'images of a cluster (needs root, docker-registry)',
  () => {
    const dir = mkdtempSync(join(tmpdir(), 'skep-test-'));
    let registry: TestRegistry;
    let proxy: FaultProxy;

    const shared = useCluster(
      'images',
      { managers: 1, workers: 2, insecureRegistries: [SUBNETS] },
      async (cluster) => {
        registry = await startRegistry({ dir: join(dir, 'registry') });
        proxy = new FaultProxy(registry.host);
        const bridge = cluster.hosts[0]!.address.replace(/\.\d+$/, '.1');
        await proxy.start(bridge);
      },
    );

    afterAll(async () => {
      await proxy?.stop();
      await registry?.stop();
      rmSync(dir, { recursive: true, force: true });
    });

    /** An image of this name on the first manager alone. */
    async function loaded(name: string): Promise<void> {
      const outTar = join(dir, 'image.tar');
      const cmd = ['sh', '-c', 'while :; do sleep 1; done'];
      buildBusyboxImage({ name, outTar, cmd, gzipLayers: true, files: { name } });
      await shared.current.skep(['load', '-i', outTar]);
    }

    const blobsServed = (): Map<string, number> => {
      const counts = new Map<string, number>();
      for (const { url } of proxy.asked('GET', /\/blobs\/sha256:/)) {
        counts.set(url, (counts.get(url) ?? 0) + 1);
      }
      return counts;
    };

    test('one pull feeds all nodes, and a service moves while the registry is down', {
      timeout: 120_000,
    }, async () => {
      const cluster = shared.current;
      const name = `${proxy.host}/web:1`;
      await loaded(name);
      const pushed = await cluster.skep(['push', name]);
      expect(pushed).toContain(`The push refers to repository [${proxy.host}/web]`);
      expect(pushed).toMatch(/1: digest: sha256:[0-9a-f]{64} size: \d+/);
      await cluster.skep(['rmi', name]);
      expect(await cluster.skep(['image', 'ls', '-q'])).toBe('');

      const [first, second] = [cluster.workers[0]!, cluster.workers[1]!];
      const on = (host: { name: string }): string => `node.hostname==${host.name}`;
      const flags = ['--name', 'web', '--constraint', on(first), '-d'];
      await cluster.skep(['service', 'create', ...flags, name]);
      await cluster.running('web', 1);
      const served = blobsServed();
      // Two layers; and the config, which the client's question for the digest and platform has read as well.
      expect([...served.values()].sort()).toEqual([1, 1, 2]);

      proxy.fault = () => ({ kind: 'answer', status: 503 });
      const move = ['--constraint-rm', on(first), '--constraint-add', on(second)];
      await cluster.skep(['service', 'update', '-d', ...move, 'web']);
      await eventually(
        'the task runs on the other worker',
        async () => {
          const tasks = (await cluster.tasks('web')).filter((task) => task.current === 'Running');
          expect(tasks.map((task) => task.node)).toEqual([second.name]);
        },
        { withinMs: 40_000 },
      );
      expect(blobsServed()).toEqual(served);
      proxy.fault = () => null;
      await cluster.skep(['service', 'rm', 'web']);
    });

    test('a task says what the registry says', { timeout: 60_000 }, async () => {
      const cluster = shared.current;
      proxy.fault = () => ({
        kind: 'answer',
        status: 401,
        headers: { 'WWW-Authenticate': 'Basic realm="Registry Realm"' },
      });
      const image = `${proxy.host}/private:1`;
      const flags = ['--name', 'private', '--restart-condition', 'none', '-d'];
      await cluster.skep(['service', 'create', '--no-resolve-image', ...flags, image]);
      await eventually(
        'the task tells of the password',
        async () => {
          const [task] = await cluster.tasks('private');
          expect(task?.error).toContain('unauthorized');
        },
        { withinMs: 30_000 },
      );
      proxy.fault = () => null;
      await cluster.skep(['service', 'rm', 'private']);
    });

    test('an image is given to every node without a registry', { timeout: 60_000 }, async () => {
      const cluster = shared.current;
      await loaded('handed/out:1');
      const told = await cluster.skep(['image', 'push', '--cluster', 'handed/out:1']);
      for (const { name } of cluster.workers) {
        expect(told).toContain(`${name}: Image is there`);
        const rows = await cluster.skep(['image', 'ls', 'handed/out'], { host: name });
        expect(rows).toContain('handed/out');
        expect(await cluster.skep(['image', 'verify'], { host: name })).toMatch(/sha256:\w+: ok/);
      }
      const history = await cluster.skep(['history', 'handed/out:1']);
      expect(history).toContain('layer 1');
      expect(await cluster.skep(['system', 'df'])).toMatch(/Images +1 +0 +\d/);
      const worker = cluster.workers[0]!.name;
      const refused = await cluster.try(['push', '--cluster', 'handed/out:1'], { host: worker });
      expect(refused.stderr).toContain('not a swarm manager');
      const pruned = await cluster.skep(['image', 'prune', '-af'], { host: worker });
      expect(pruned).toContain('untagged: handed/out:1');
    });
  },
);

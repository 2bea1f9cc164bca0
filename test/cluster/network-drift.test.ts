// What others alter in the network of a host is found from a manager, and repaired.
import { describe, expect, test } from 'vitest';
import { clusterTestsCanRun, eventually, http, tableRows } from '../support/cluster.ts';
import { useCluster } from '../support/use-cluster.ts';

const IMAGE = 'skep-test/busybox:1';

describe.skipIf(!clusterTestsCanRun)('drift of the network of a cluster', () => {
  const shared = useCluster('drift', { managers: 1, workers: 1 }, (cluster) =>
    cluster.image({ name: IMAGE }),
  );

  test('is none where tasks of one node alone have a published port', async () => {
    const cluster = shared.current;
    await cluster.skep([
      ...['service', 'create', '--detach', '--no-resolve-image', '--name', 'single'],
      ...['--constraint', 'node.role==manager', '-p', '8081:80', IMAGE],
      ...['httpd', '-f', '-p', '80', '-h', '/etc'],
    ]);
    await cluster.running('single', 1);
    const { code, stdout } = await cluster.try(['net', 'verify']);
    expect(stdout).not.toContain('wrong');
    expect(code).toBe(0);
    await cluster.skep(['service', 'rm', 'single']);
  });

  test('is told by skep net verify, and repaired when asked to or after some seconds', {
    timeout: 60_000,
  }, async () => {
    const cluster = shared.current;
    await cluster.skep(['network', 'create', '-d', 'overlay', 'inner']);
    await cluster.skep([
      ...[
        'service',
        'create',
        '--detach',
        '--no-resolve-image',
        '--name',
        'web',
        '--mode',
        'global',
      ],
      ...['--network', 'inner', '-p', '8080:80', IMAGE],
      ...['httpd', '-f', '-p', '80', '-h', '/etc'],
    ]);
    await cluster.running('web', 2);
    const worker = cluster.host('worker-1');
    const answers = () => http(worker.address, 8080, '/hostname');
    await eventually('the port answers', async () => expect((await answers()).status).toBe(200), {
      withinMs: 10_000,
    });

    const right = await cluster.try(['net', 'verify']);
    expect(right.stdout).not.toContain('wrong');
    expect(right.code).toBe(0);
    expect(tableRows(right.stdout)).toHaveLength(3);

    await cluster.dev('run', 'worker-1', '--', 'nft', 'flush', 'ruleset');
    const repaired = await cluster.try(['net', 'verify', '--repair']);
    expect(repaired.code).toBe(0);
    expect((await answers()).status).toBe(200);

    await cluster.dev('run', 'worker-1', '--', 'ip', 'link', 'del', 'skep_in');
    await eventually(
      'it is repaired',
      async () => {
        const rows = tableRows(await cluster.skep(['net', 'verify']));
        expect(Number(rows.find(([name]) => name === 'worker-1')?.at(-1))).toBeGreaterThan(3);
        expect((await answers()).status).toBe(200);
      },
      { withinMs: 10_000 },
    );
  });
});

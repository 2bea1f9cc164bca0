// A whole life of a cluster leaves this machine as it was: every process, mount, namespace, link,
// route, firewall table, control group and file.
import { existsSync } from 'node:fs';
import { afterEach, describe, expect, test } from 'vitest';
import {
  clusterTestsCanRun,
  eventually,
  otherClusters,
  run,
  SKEP,
  startCluster,
  succeeded,
  type TestCluster,
} from '../support/cluster.ts';
import { difference, type Inventory, takeInventory } from '../support/host-inventory.ts';

const IMAGE = 'skep-test/busybox:1';
/** Clusters of others that were seen; they may come and go while a test runs. */
const others = new Set<string>();

function inventory(): Inventory {
  for (const name of otherClusters()) others.add(name);
  return takeInventory([...others]);
}

/** What is not as it was: what was there in the beginning may since be known as somebody else's. */
function changes(before: Inventory): string[] {
  const after = inventory();
  return difference(before, after).filter(
    (line) => line.startsWith('+') || ![...others].some((name) => line.includes(name)),
  );
}

describe.skipIf(!clusterTestsCanRun)('a cluster that ends', () => {
  let running: TestCluster | null = null;
  afterEach(async () => {
    if (running) await run([SKEP, 'dev', 'down', '--name', running.name]);
    running = null;
  });

  /** Something of everything that a task can hold. */
  async function fill(cluster: TestCluster): Promise<void> {
    await cluster.image({ name: IMAGE, files: { 'www/index.html': 'hello\n' } });
    await cluster.skep(['network', 'create', '-d', 'overlay', 'inner']);
    await cluster.skep([
      ...['service', 'create', '--detach', '--no-resolve-image', '--name', 'full'],
      ...['--replicas', '4', '--publish', '8088:80', '--network', 'inner'],
      ...['--mount', 'type=volume,source=data,target=/data'],
      ...['--mount', 'type=tmpfs,target=/scratch'],
      ...['--limit-memory', '64M', '--limit-cpu', '0.5', '--limit-pids', '50'],
      ...['--health-cmd', 'true', '--health-interval', '500ms', '--stop-grace-period', '1s'],
      ...[IMAGE, 'httpd', '-f', '-p', '80', '-h', '/www'],
    ]);
    await cluster.running('full', 4);
    // One that keeps failing, so that there are ended tasks too.
    await cluster.skep([
      ...['service', 'create', '--detach', '--no-resolve-image', '--name', 'failing'],
      ...['--restart-delay', '200ms', IMAGE, 'false'],
    ]);
    await eventually(
      'some failed tasks',
      async () => expect((await cluster.tasks('failing')).length).toBeGreaterThan(2),
      { withinMs: 15_000 },
    );
  }

  test('services removed: nothing of their tasks stays', { timeout: 120_000 }, async () => {
    const cluster = await startCluster('rm', { managers: 1, workers: 1 });
    running = cluster;
    await cluster.image({ name: IMAGE, files: { 'www/index.html': 'hello\n' } });
    const before = inventory();
    await fill(cluster);
    expect(changes(before)).not.toEqual([]);
    await cluster.skep(['service', 'rm', 'full', 'failing']);
    await eventually(
      'no container is known',
      async () => {
        for (const { name } of cluster.hosts) {
          expect(await cluster.skep(['ps', '-aq'], { host: name })).toBe('');
          expect(cluster.taskGroups(name)).toEqual([]);
        }
      },
      { withinMs: 20_000 },
    );
    await cluster.skep(['network', 'rm', 'inner']);
    for (const { name } of cluster.hosts) {
      // A volume is the user's: it goes when he says so.
      const volumes = (await cluster.skep(['volume', 'ls', '-q'], { host: name })).trim();
      if (volumes !== '')
        await cluster.skep(['volume', 'rm', ...volumes.split('\n')], { host: name });
    }
    const ours = new RegExp(cluster.name);
    await eventually(
      'the hosts are as they were',
      () => {
        const rest = changes(before);
        expect(rest.filter((line) => ours.test(line))).toEqual([]);
      },
      { withinMs: 15_000, everyMs: 500 },
    );
    await cluster.dev('down');
    running = null;
  });

  test('dev down of a busy cluster: nothing of it stays', { timeout: 120_000 }, async () => {
    const before = inventory();
    const cluster = await startCluster('down', { managers: 1, workers: 1 });
    running = cluster;
    await fill(cluster);
    const during = changes(before);
    // The list would see it: something of nearly each kind is there now.
    for (const kind of ['processes', 'mounts', 'network namespaces', 'links', 'cgroups', 'files']) {
      expect(
        during.some((line) => line.startsWith(`+ ${kind}: `)),
        kind,
      ).toBe(true);
    }
    await cluster.dev('down');
    running = null;
    await eventually('the machine is as it was', () => expect(changes(before)).toEqual([]), {
      withinMs: 20_000,
      everyMs: 1000,
    });
  });

  test('dev down after the daemons were killed: the same', { timeout: 120_000 }, async () => {
    const before = inventory();
    const cluster = await startCluster('kill', { managers: 1, workers: 1 });
    running = cluster;
    await fill(cluster);
    for (const { name } of cluster.hosts) await cluster.dev('kill', name);
    await cluster.dev('down');
    running = null;
    await eventually('the machine is as it was', () => expect(changes(before)).toEqual([]), {
      withinMs: 20_000,
      everyMs: 1000,
    });
    // Once more does no harm.
    succeeded(await run([SKEP, 'dev', 'down', '--name', cluster.name]));
    expect(existsSync(`/var/lib/skep-dev/${cluster.name}`)).toBe(false);
  });

  test('a name that is taken is refused, and what runs is left alone', {
    timeout: 90_000,
  }, async () => {
    const cluster = await startCluster('twice', { managers: 1, workers: 0 });
    running = cluster;
    const again = await run([SKEP, 'dev', 'up', '--name', cluster.name]);
    expect(again.code, again.stdout).not.toBe(0);
    expect(again.stderr).toContain(cluster.name);
    expect(await cluster.skep(['node', 'ls', '--format', '{{.Status}}'])).toBe('Ready\n');
  });
});

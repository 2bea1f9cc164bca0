/**
 * Two clusters live and end on this machine; prints what they left, one JSON object. Started on a
 * machine of its own (test/support/private-machine), where every difference is theirs.
 */
import assert from 'node:assert/strict';
import { eventually, startCluster, type TestCluster } from './cluster.ts';
import { difference, type Inventory, takeInventory } from './host-inventory.ts';

const IMAGE = 'skep-test/busybox:1';
const PATIENCE = { withinMs: 15_000, everyMs: 500 };

/** What cleanup.test.ts reads. */
export interface CleanupReport {
  /** what a busy cluster adds to the machine */
  readonly busy: string[];
  /** what services leave on running hosts, when they, their network and volumes were removed */
  readonly afterRemoval: string[];
  /** what is left by `dev down` of a busy cluster */
  readonly afterDown: string[];
  /** the same, when the daemons had been killed */
  readonly afterKill: string[];
}

/** Control groups are the one thing shared with the real machine: only those of our name count. */
function changes(before: Inventory, cluster: TestCluster): string[] {
  return difference(before, takeInventory()).filter(
    (line) => !/^[+-] cgroups: /.test(line) || line.includes(`skep-${cluster.name}-`),
  );
}

/** Shims that a daemon which started a container keeps ready for the next ones (`SpareShims`). */
const SPARES_EACH = 2;

function withoutSpares(lines: readonly string[], daemons: number): string[] {
  const shims = lines.filter((line) => /^\+ processes: \d+ skep-shim /.test(line));
  return shims.length > daemons * SPARES_EACH
    ? [...lines]
    : lines.filter((line) => !shims.includes(line));
}

/** The changes when there are none any more, or when patience is over. @param daemons that run on */
async function leftovers(
  before: Inventory,
  cluster: TestCluster,
  daemons: number,
): Promise<string[]> {
  let last: string[] = [];
  const attempt = (): void => {
    last = withoutSpares(changes(before, cluster), daemons);
    assert.equal(last.length, 0);
  };
  await eventually('as before', attempt, PATIENCE).catch(() => {}); // `last` says it
  return last;
}

/** Something of everything that a task can hold. */
async function fill(cluster: TestCluster): Promise<void> {
  await cluster.skep(['network', 'create', '-d', 'overlay', 'inner']);
  await cluster.skep([
    ...['service', 'create', '--detach', '--no-resolve-image', '--name', 'full'],
    ...['--replicas', '4', '--publish', '8088:80', '--network', 'inner'],
    ...['--mount', 'type=volume,source=data,target=/data', '--mount', 'type=tmpfs,target=/scratch'],
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
    async () => {
      const { length } = await cluster.tasks('failing');
      assert(length > 2, `${length} tasks`); // without words Node looks for some in the source, for seconds
    },
    PATIENCE,
  );
}

async function removeAll(cluster: TestCluster): Promise<void> {
  await cluster.skep(['service', 'rm', '-d', 'full', 'failing']);
  for (const { name: host } of cluster.hosts) {
    await eventually(
      'no container',
      async () => assert.equal(await cluster.skep(['ps', '-aq'], { host }), ''),
      PATIENCE,
    );
    // A volume is the user's: it goes when he says so.
    const volumes = (await cluster.skep(['volume', 'ls', '-q'], { host })).trim();
    if (volumes !== '') await cluster.skep(['volume', 'rm', ...volumes.split('\n')], { host });
  }
  await cluster.skep(['network', 'rm', 'inner']);
}

async function start(prefix: string): Promise<TestCluster> {
  const cluster = await startCluster(prefix, { managers: 1, workers: 1 });
  await cluster.image({ name: IMAGE, files: { 'www/index.html': 'hello\n' } });
  return cluster;
}

async function probe(): Promise<CleanupReport> {
  const empty = takeInventory();
  const first = await start('down');
  const idle = takeInventory();
  await fill(first);
  const busy = changes(empty, first);
  await removeAll(first);
  const afterRemoval = await leftovers(idle, first, first.hosts.length);
  await fill(first);
  await first.dev('down');
  const afterDown = await leftovers(empty, first, 0);
  const second = await start('kill');
  await fill(second);
  for (const { name } of second.hosts) await second.dev('kill', name);
  await second.dev('down');
  const afterKill = await leftovers(empty, second, 0);
  await second.dev('down'); // once more does no harm
  return { busy, afterRemoval, afterDown, afterKill };
}

console.log(`report ${JSON.stringify(await probe())}`);

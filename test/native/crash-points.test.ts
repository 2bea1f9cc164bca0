/**
 * A manager is killed at each operation that makes something durable, before it and after it, while it
 * writes, takes snapshots and changes its key; the next life on the same directory has everything that
 * was acknowledged. Real processes, real signals, real files. Needs no root.
 *
 * The files lie in memory: a kill loses nothing that a write has handed to the kernel, so the medium does
 * not matter (`test/sim` and `key-rotation.test.ts` cut the power), and syncs cost nothing.
 */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { serialize } from 'node:v8';
import { build } from 'esbuild';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { SystemClock } from '../../common/base/clock.ts';
import { SystemRandom } from '../../common/base/random.ts';
import { inspectRaftDirectory } from '../../daemon/raft-inspect.ts';
import { createCluster } from '../../manager/ca/bootstrap.ts';
import { NodeDisk } from '../../manager/raftnode/node-disk.ts';
import type { CrashReport, CrashRequest } from '../support/crashing-manager.ts';
import type { FatalPoint, FatalTarget } from '../support/fatal-disk.ts';

/** Operations of one life, from its start on, at each of which a process dies. */
const ORDINALS = 44;
/** And the first of each of these, wherever in a life they come. */
const PER_KIND = 4;
const KINDS = [
  'write raft/wal/spare.tmp', // a file goes by the name under which it was opened: also all flushes
  'sync raft/wal/spare.tmp',
  'rename raft/wal/spare.tmp',
  'rename raft/wal/TIP',
  'directory sync raft/wal',
  'unlink raft/wal/SEGMENT',
  'write raft/snap/SNAPSHOT.tmp',
  'sync raft/snap/SNAPSHOT.tmp',
  'rename raft/snap/SNAPSHOT.tmp',
  'directory sync raft/snap',
  'unlink raft/snap/SNAPSHOT',
  'create raft/manager.json.new',
  'sync raft/manager.json.new',
  'rename raft/manager.json.new',
  'directory sync raft',
];
/** Operations of a first start: making the cluster. */
const FIRST_ORDINALS = 30;
const LIFE_LIMIT_MS = 30_000;
const LIMIT_MS = 300_000;

let root: string;
let program: string;
let clusterFile: string;

beforeAll(async () => {
  root = await mkdtemp(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'skep-crash-'));
  program = join(root, 'crashing-manager.cjs');
  await build({
    entryPoints: [join(import.meta.dirname, '../support/crashing-manager.ts')],
    ...{ outfile: program, bundle: true, platform: 'node', format: 'cjs', logLevel: 'error' },
  });
  clusterFile = join(root, 'cluster');
  const random = new SystemRandom();
  const cluster = await createCluster({ random, nowMs: new SystemClock().wallMs() });
  await writeFile(clusterFile, serialize(cluster));
}, 60_000);
afterAll(() => rm(root, { recursive: true, force: true }));

interface Life {
  readonly reports: readonly CrashReport[];
  readonly signal: NodeJS.Signals | null;
  readonly code: number | null;
  readonly stderr: string;
}

function live(request: CrashRequest): Promise<Life> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [program, JSON.stringify(request)], {
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: LIFE_LIMIT_MS,
      killSignal: 'SIGTERM', // told from its own SIGKILL
    });
    const out: Buffer[] = [];
    const err: Buffer[] = [];
    child.stdout.on('data', (chunk: Buffer) => out.push(chunk));
    child.stderr.on('data', (chunk: Buffer) => err.push(chunk));
    child.once('error', reject);
    child.once('close', (code, signal) => {
      const lines = Buffer.concat(out).toString().split('\n').slice(0, -1);
      const reports = lines.map((line) => JSON.parse(line) as CrashReport);
      resolve({ reports, signal, code, stderr: Buffer.concat(err).toString() });
    });
  });
}

/** The lives of one directory, one after the other, and what was promised in them. */
class Directory {
  readonly dataDir: string;
  acknowledged = 0;
  readonly points: FatalPoint[] = [];

  constructor(name: string) {
    this.dataDir = join(root, name);
  }

  /** One more life; checks what it found. */
  async live(target: FatalTarget): Promise<Life> {
    const life = await live({ dataDir: this.dataDir, clusterFile, ...target });
    const where = `${JSON.stringify(target)}, after ${JSON.stringify(this.points.at(-1))}`;
    expect(life.stderr, where).toBe('');
    for (const line of life.reports) {
      if (line.kind === 'started')
        expect(line.count, where).toBeGreaterThanOrEqual(this.acknowledged);
      if (line.kind === 'acknowledged') this.acknowledged = line.count;
      if (line.kind === 'dying') this.points.push(line.point);
    }
    if (target.ordinal > 0) expect([life.signal, life.code], where).toEqual(['SIGKILL', null]);
    return life;
  }

  /** A last life without a death: it comes up, ends its change of key and leaves a clean directory. */
  async settle(): Promise<void> {
    const { reports, code } = await this.live({ kind: null, ordinal: 0, moment: 'before' });
    expect(code).toBe(0);
    expect(reports.at(-1)).toEqual({ kind: 'stopped' });
    const request = { dir: this.dataDir, unlockKey: null };
    const found = await inspectRaftDirectory(request, new NodeDisk(), new SystemRandom());
    expect(found.text).toMatch(/^damage: none$/m);
    expect(found.text).not.toContain('older');
    expect(found.isHealthy).toBe(true);
  }
}

/** Takes jobs until there are none. */
async function inParallel<T>(jobs: readonly T[], work: (job: T, worker: number) => Promise<void>) {
  const left = [...jobs];
  const workers = Math.max(2, Math.min(4, availableParallelism()));
  await Promise.all(
    Array.from({ length: workers }, async (_, worker) => {
      for (let job = left.shift(); job !== undefined; job = left.shift()) await work(job, worker);
    }),
  );
}

describe('a manager that is killed', () => {
  const upTo = (count: number): number[] => Array.from({ length: count }, (_, i) => i + 1);
  const places: Omit<FatalTarget, 'moment'>[] = [
    ...upTo(ORDINALS).map((ordinal) => ({ kind: null, ordinal })),
    ...KINDS.flatMap((kind) => upTo(PER_KIND).map((ordinal) => ({ kind, ordinal }))),
  ];
  const targets: FatalTarget[] = places.flatMap((place) =>
    (['before', 'after'] as const).map((moment) => ({ ...place, moment })),
  );

  test(`at any of ${targets.length} points comes up again with all that it acknowledged`, {
    timeout: LIMIT_MS,
  }, async () => {
    const startedMs = performance.now();
    const directories = new Map<number, Directory>();
    await inParallel(targets, async (target, worker) => {
      const directory = directories.get(worker) ?? new Directory(`data-${worker}`);
      if (!directories.has(worker)) {
        directories.set(worker, directory);
        await directory.settle(); // the cluster is made, undisturbed
      }
      await directory.live(target);
    });
    for (const directory of directories.values()) await directory.settle();

    const all = [...directories.values()];
    const points = all.flatMap((directory) => directory.points);
    expect(points).toHaveLength(targets.length);
    const acknowledged = all.map((directory) => directory.acknowledged);
    const seconds = ((performance.now() - startedMs) / 1000).toFixed(0);
    console.log(`${points.length} points, ${acknowledged} acknowledged, ${seconds} s`);
  });

  test('while its cluster is made comes up, with that cluster or a new one', {
    timeout: LIMIT_MS,
  }, async () => {
    await inParallel(upTo(FIRST_ORDINALS), async (ordinal) => {
      const directory = new Directory(`first-${ordinal}`);
      await directory.live({ kind: null, ordinal, moment: ordinal % 2 === 0 ? 'before' : 'after' });
      await directory.settle();
      await rm(directory.dataDir, { recursive: true });
    });
  });
});

/** What a container changed in its root: its own layer compared with those of its image. Reads only. */
import { readdirSync, type Stats } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import type { Clock } from '../../common/base/clock.ts';
import { TurnBudget } from '../../common/base/turn-budget.ts';
import { isOpaque, isWhiteout, lstatOrNull } from '../../native/ffi/fs.ts';
import { encodeTarHeader, tarTrailer } from '../images/tar-writer.ts';
import type { RootLayers } from '../runtime/native-runtime.ts';
import { lookUp } from '../volumes/lower-tree.ts';
import { RootTree } from './root-tree.ts';

export interface Change {
  readonly path: string;
  readonly kind: 'modified' | 'added' | 'deleted';
}

/** What was changed as the tar of an image's layer: deletions are marked as in OCI's layers. */
export async function* changedLayer(
  layers: RootLayers,
  clock: Pick<Clock, 'monotonicMs'>,
): AsyncGenerator<Buffer, void, undefined> {
  const tree = new RootTree(join(layers.taskDir, 'upper'));
  try {
    const changes = await changesOf(layers, clock);
    const gone = changes.filter(({ kind }) => kind === 'deleted');
    for (const { path } of gone) {
      const name = join(dirname(path), `.wh.${basename(path)}`).slice(1);
      yield encodeTarHeader({ name, kind: 'file', mode: 0 });
    }
    const there = changes.filter(({ kind }) => kind !== 'deleted');
    yield* tree.packEach(there.map(({ path }) => path));
    yield tarTrailer();
  } finally {
    tree.close();
  }
}

/** Made in every container, whatever it is for. */
const DEVICE_LINKS = ['fd', 'stdin', 'stdout', 'stderr', 'core', 'ptmx'].map((n) => `/dev/${n}`);

/**
 * By path. What is made for mounts, devices and their directories is nobody's change. In short turns: a container
 * may have changed a million files.
 */
export async function changesOf(
  { taskDir, lowerDirs, mounts, devices }: RootLayers,
  clock: Pick<Clock, 'monotonicMs'>,
): Promise<Change[]> {
  const ours = new Set([
    ...mounts.map(({ destination }) => destination),
    ...devices.map(({ path }) => path),
    ...DEVICE_LINKS,
  ]);
  const out: Change[] = [];
  const budget = new TurnBudget(clock);
  budget.begin();
  for (const _ of walk('', join(taskDir, 'upper'), lowerDirs, ours, out)) {
    if (budget.spent) await budget.renew();
  }
  return out.sort((a, b) => (a.path < b.path ? -1 : 1));
}

/**
 * Yields between its steps.
 * @param lower the directories of the image that show through at `path`, topmost first
 */
function* walk(
  path: string,
  upper: string,
  lower: readonly string[],
  ours: ReadonlySet<string>,
  out: Change[],
): Generator<void, void, undefined> {
  for (const name of namesIn(upper)) {
    yield;
    const place = `${path}/${name}`;
    const stats = lstatOrNull(join(upper, name));
    if (stats === null) continue; // it went meanwhile
    const before = lookUp(lower, name);
    if (isWhiteout(stats)) {
      if (before) out.push({ path: place, kind: 'deleted' });
      continue;
    }
    if (ours.has(place) && (before === null || !stats.isDirectory())) continue;
    if (!stats.isDirectory()) {
      out.push({ path: place, kind: before ? 'modified' : 'added' });
      continue;
    }
    const wasDirectory = before?.stats.isDirectory() ?? false;
    const below: Change[] = [];
    const directory = join(upper, name);
    const shown = wasDirectory && !isOpaque(directory) ? (before?.paths ?? []) : [];
    yield* walk(place, directory, shown, ours, below);
    if (wasDirectory && shown.length === 0) yield* hiddenBy(directory, place, before!.paths, below);
    const isNew = !wasDirectory;
    const isForMounts = isNew && below.length === 0 && holdsOurs(place, ours);
    if (isForMounts) continue;
    if (isNew) out.push({ path: place, kind: before ? 'modified' : 'added' });
    else if (below.length > 0 || differs(stats, before!.stats)) {
      out.push({ path: place, kind: 'modified' });
    }
    for (const change of below) out.push(change); // too many for arguments of one call
  }
}

/** Of the image, below a directory that was taken away and made anew. */
function* hiddenBy(
  directory: string,
  place: string,
  lower: readonly string[],
  out: Change[],
): Generator<void, void, undefined> {
  const names = new Set(lower.flatMap((one) => readdirSync(one)));
  const kept = new Set(namesIn(directory));
  for (const name of names) {
    yield;
    if (kept.has(name) || lookUp(lower, name) === null) continue;
    out.push({ path: `${place}/${name}`, kind: 'deleted' });
  }
}

/** None where the container took the directory away meanwhile. */
function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch (err) {
    if ((err as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw err;
  }
}

function holdsOurs(place: string, ours: ReadonlySet<string>): boolean {
  return [...ours].some((one) => one.startsWith(`${place}/`));
}

function differs(a: Stats, b: Stats): boolean {
  return a.mode !== b.mode || a.uid !== b.uid || a.gid !== b.gid;
}

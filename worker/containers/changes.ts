/** What a container changed in its root: its own layer compared with those of its image. Reads only. */
import { readdirSync, type Stats } from 'node:fs';
import { basename, dirname, join } from 'node:path';
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
export async function* changedLayer(layers: RootLayers): AsyncGenerator<Buffer, void, undefined> {
  const tree = new RootTree(join(layers.taskDir, 'upper'));
  try {
    const changes = changesOf(layers);
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

/** By path. What is made for mounts, devices and their directories is nobody's change. */
export function changesOf({ taskDir, lowerDirs, mounts, devices }: RootLayers): Change[] {
  const ours = new Set([
    ...mounts.map(({ destination }) => destination),
    ...devices.map(({ path }) => path),
    ...DEVICE_LINKS,
  ]);
  const out: Change[] = [];
  walk('', join(taskDir, 'upper'), lowerDirs, ours, out);
  return out.sort((a, b) => (a.path < b.path ? -1 : 1));
}

/** @param lower the directories of the image that show through at `path`, topmost first */
function walk(
  path: string,
  upper: string,
  lower: readonly string[],
  ours: ReadonlySet<string>,
  out: Change[],
): void {
  for (const name of readdirSync(upper)) {
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
    walk(place, directory, shown, ours, below);
    if (wasDirectory && shown.length === 0)
      below.push(...hiddenBy(directory, place, before!.paths));
    const isNew = !wasDirectory;
    const isForMounts = isNew && below.length === 0 && holdsOurs(place, ours);
    if (isForMounts) continue;
    if (isNew) out.push({ path: place, kind: before ? 'modified' : 'added' });
    else if (below.length > 0 || differs(stats, before!.stats)) {
      out.push({ path: place, kind: 'modified' });
    }
    out.push(...below);
  }
}

/** Of the image, below a directory that was taken away and made anew. */
function hiddenBy(directory: string, place: string, lower: readonly string[]): Change[] {
  const names = new Set(lower.flatMap((one) => readdirSync(one)));
  const kept = new Set(readdirSync(directory));
  return [...names]
    .filter((name) => !kept.has(name) && lookUp(lower, name) !== null)
    .map((name) => ({ path: `${place}/${name}`, kind: 'deleted' as const }));
}

function holdsOurs(place: string, ours: ReadonlySet<string>): boolean {
  return [...ours].some((one) => one.startsWith(`${place}/`));
}

function differs(a: Stats, b: Stats): boolean {
  return a.mode !== b.mode || a.uid !== b.uid || a.gid !== b.gid;
}

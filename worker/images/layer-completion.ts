/**
 * Fills in what a layer left to the layers below it: owner and mode of directories it only passed
 * through, and files that it names by hard link only.
 */
import { constants } from 'node:fs';
import { chmod, copyFile, lchown, utimes } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { SkepError } from '../../common/base/errors.ts';
import {
  getXattr,
  isOpaque,
  isPortableXattr,
  isWhiteout,
  listXattrs,
  lstatOrNull,
  setXattr,
} from '../../native/ffi/fs.ts';
import type { LayerSummary } from './layer-writer.ts';

/** @param lowerDirs unpacked layers below, topmost first */
export async function completeFromBelow(
  directory: string,
  summary: Pick<LayerSummary, 'implicitDirectories' | 'foreignLinks'>,
  lowerDirs: readonly string[],
): Promise<void> {
  for (const path of summary.implicitDirectories) {
    const source = findBelow(lowerDirs, path);
    if (source !== null && lstatOrNull(source)?.isDirectory()) {
      await copyDirectoryAttributes(source, realPath(directory, path));
    }
  }
  for (const { path, target } of summary.foreignLinks) {
    const source = findBelow(lowerDirs, target);
    if (source === null || !lstatOrNull(source)?.isFile()) {
      throw new SkepError(
        'invalid-argument',
        `unpack ${JSON.stringify(path)}: hard link to missing ${JSON.stringify(target)}`,
      );
    }
    await copyFileUp(source, realPath(directory, path));
  }
}

/** The topmost file or directory at `path`, links not followed; null when absent or deleted. */
function findBelow(lowerDirs: readonly string[], path: string): string | null {
  const parts = path.split('/');
  for (const lower of lowerDirs) {
    let current = lower;
    let hidden = false;
    for (const [i, part] of parts.entries()) {
      current = join(current, part);
      const stats = lstatOrNull(current);
      if (stats === null) break;
      if (i === parts.length - 1) return isWhiteout(stats) ? null : current;
      if (!stats.isDirectory()) return null; // a whiteout or a file hides what is below
      if (isOpaque(current)) hidden = true;
    }
    if (hidden) return null;
  }
  return null;
}

async function copyDirectoryAttributes(from: string, to: string): Promise<void> {
  const stats = lstatOrNull(from)!;
  await lchown(to, stats.uid, stats.gid);
  await chmod(to, stats.mode & 0o7777);
  copyXattrs(from, to);
  await utimes(to, stats.atimeMs / 1000, stats.mtimeMs / 1000);
}

/** `path` below `directory`. Throws when a link on the way would lead us elsewhere. */
function realPath(directory: string, path: string): string {
  let current = directory;
  for (const part of dirname(path).split('/')) {
    current = join(current, part);
    if (!lstatOrNull(current)?.isDirectory()) {
      throw new SkepError('invalid-argument', `unpack ${JSON.stringify(path)}: not in a directory`);
    }
  }
  return join(directory, path);
}

/** The two names become two files: nothing below may be changed, so they cannot share one. */
async function copyFileUp(source: string, path: string): Promise<void> {
  const stats = lstatOrNull(source)!;
  await copyFile(source, path, constants.COPYFILE_EXCL);
  await lchown(path, stats.uid, stats.gid);
  await chmod(path, stats.mode & 0o7777);
  copyXattrs(source, path);
  await utimes(path, stats.atimeMs / 1000, stats.mtimeMs / 1000);
}

function copyXattrs(from: string, to: string): void {
  for (const name of listXattrs(from)) {
    if (!isPortableXattr(name)) continue;
    const value = getXattr(from, name);
    if (value !== null) setXattr(to, name, value);
  }
}

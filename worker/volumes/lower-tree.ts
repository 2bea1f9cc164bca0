/**
 * Reads stacked overlayfs lower directories as the one tree that a container sees, without mounting
 * them: whiteouts, opaque directories, links. Copies a part of it. Knows nothing of volumes.
 */
import { constants, readdirSync, readlinkSync, type Stats } from 'node:fs';
import { chmod, copyFile, lchown, lutimes, mkdir, readlink, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { SkepError } from '../../common/base/errors.ts';
import {
  getXattr,
  isOpaque,
  isPortableXattr,
  isWhiteout,
  listXattrs,
  lstatOrNull,
  makeNode,
  setXattr,
} from '../../native/ffi/fs.ts';

const LINK_HOPS_MAX = 40; // MAXSYMLINKS

/** A file or directory of the merged tree. */
export interface MergedEntry {
  readonly stats: Stats;
  /** where it lies; of a directory: each lower directory that shows through, topmost first */
  readonly paths: readonly string[];
}

/** @param lowerDirs topmost first, absolute */
export class LowerTree {
  readonly #root: readonly string[];

  constructor(lowerDirs: readonly string[]) {
    this.#root = lowerDirs;
  }

  /**
   * The directory at `path` as a process inside would reach it (links followed, never out of the
   * tree); null when there is none.
   */
  findDirectory(path: string): readonly string[] | null {
    let pending = path.split('/');
    let trail: (readonly string[])[] = [this.#root];
    let hops = 0;
    while (pending.length > 0) {
      const part = pending.shift()!;
      if (part === '' || part === '.') continue;
      if (part === '..') {
        if (trail.length > 1) trail.pop();
        continue;
      }
      const entry = lookUp(trail.at(-1)!, part);
      if (entry?.stats.isSymbolicLink()) {
        if (++hops > LINK_HOPS_MAX) return null;
        const target = readlinkSync(entry.paths[0]!);
        if (target.startsWith('/')) trail = [this.#root];
        pending = [...target.split('/'), ...pending];
        continue;
      }
      if (!entry?.stats.isDirectory()) return null;
      trail.push(entry.paths);
    }
    return trail.at(-1)!;
  }

  /**
   * Copies the directory at `path` - its contents, and its own owner, mode, attributes and time -
   * onto the existing directory `target`. False (and nothing done) when there is no such directory.
   */
  async copyDirectory(path: string, target: string, signal?: AbortSignal): Promise<boolean> {
    const directories = this.findDirectory(path);
    if (directories === null || directories.length === 0) return false;
    await copyContents(directories, target, signal);
    return true;
  }
}

/** `name` in the directory that is the union of `directories`. */
export function lookUp(directories: readonly string[], name: string): MergedEntry | null {
  let top: Stats | null = null;
  const paths: string[] = [];
  for (const directory of directories) {
    const path = join(directory, name);
    const stats = lstatOrNull(path);
    if (stats === null) continue;
    if (isWhiteout(stats)) break;
    if (top === null) {
      top = stats;
      paths.push(path);
      if (!stats.isDirectory() || isOpaque(path)) break;
      continue;
    }
    if (!stats.isDirectory()) break;
    paths.push(path);
    if (isOpaque(path)) break;
  }
  return top && { stats: top, paths };
}

async function copyContents(
  directories: readonly string[],
  target: string,
  signal: AbortSignal | undefined,
): Promise<void> {
  const names = new Set(directories.flatMap((directory) => readdirSync(directory)));
  for (const name of names) {
    signal?.throwIfAborted();
    const entry = lookUp(directories, name);
    if (entry !== null) await copyEntry(entry, join(target, name), signal);
  }
  await copyAttributes(directories[0]!, target);
}

async function copyEntry(
  entry: MergedEntry,
  target: string,
  signal: AbortSignal | undefined,
): Promise<void> {
  const { stats } = entry;
  const source = entry.paths[0]!;
  if (stats.isDirectory()) {
    await mkdir(target, 0o700);
    await copyContents(entry.paths, target, signal);
    return;
  }
  if (stats.isSymbolicLink()) {
    await symlink(await readlink(source), target);
    await lchown(target, stats.uid, stats.gid);
    await lutimes(target, stats.atimeMs / 1000, stats.mtimeMs / 1000);
    return;
  }
  if (stats.isFile()) await copyFile(source, target, constants.COPYFILE_EXCL);
  else if (stats.isFIFO()) makeNode(target, 'fifo', 0o600);
  else if (stats.isSocket())
    return; // means nothing without the process that listens
  else makeNode(target, deviceKind(stats), 0o600, ...deviceNumbers(stats));
  await copyAttributes(source, target);
}

export function deviceKind(stats: Stats): 'character-device' | 'block-device' {
  if (stats.isCharacterDevice()) return 'character-device';
  if (stats.isBlockDevice()) return 'block-device';
  throw new SkepError('internal', `copy file: unknown type in mode ${stats.mode.toString(8)}`);
}

/** Major and minor of a Linux dev_t (as glibc's gnu_dev_major and gnu_dev_minor). */
export function deviceNumbers(stats: Stats): [number, number] {
  const device = BigInt(stats.rdev);
  const major = ((device >> 8n) & 0xfffn) | ((device >> 32n) & 0xfffff000n);
  const minor = (device & 0xffn) | ((device >> 12n) & 0xffffff00n);
  return [Number(major), Number(minor)];
}

/** Owner before mode (chown clears setuid), attributes after both, time last. */
async function copyAttributes(source: string, target: string): Promise<void> {
  const stats = lstatOrNull(source)!;
  await lchown(target, stats.uid, stats.gid);
  await chmod(target, stats.mode & 0o7777);
  for (const name of listXattrs(source)) {
    if (!isPortableXattr(name)) continue;
    const value = getXattr(source, name);
    if (value !== null) setXattr(target, name, value);
  }
  await lutimes(target, stats.atimeMs / 1000, stats.mtimeMs / 1000);
}

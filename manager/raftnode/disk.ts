/**
 * The file operations that consensus needs, as an interface, so that the simulator can lose, tear
 * and delay them. Knows nothing of logs or snapshots.
 */

import { dirname } from 'node:path';

/** An open file. One operation at a time per region; offsets and lengths in bytes. */
export interface DiskFile {
  readonly path: string;
  /** Writes all of `data` at `offset`, or rejects; the file grows as needed. */
  pwrite(data: Uint8Array, offset: number): Promise<void>;
  /** Up to `length` bytes from `offset`; fewer only at the end of the file. */
  read(offset: number, length: number): Promise<Buffer>;
  /** Cuts off what is behind the first `bytes`. */
  truncate(bytes: number): Promise<void>;
  /** Resolves when everything written before the call is durable. A rejection is final: see `Wal`. */
  fdatasync(): Promise<void>;
  /** `pwrite`, and durable when it resolves. A rejection is final as that of `fdatasync`. */
  writeThrough(data: Uint8Array, offset: number): Promise<void>;
  /** Fills `[0, bytes)` of a fresh file with zeros, so that later writes change no metadata. */
  zeroFill(bytes: number): Promise<void>;
  close(): Promise<void>;
}

/** `create` fails when the file exists; `read` and `write` fail when it does not. */
export type OpenMode = 'create' | 'read' | 'write';

/** Held until released; ends with the process in any case. */
export interface DiskLock {
  release(): Promise<void>;
}

/**
 * Failures are `Error`s with the errno name in `code` (`ENOENT`, `ENOSPC`, `EIO`, ...). Names in a
 * directory (create, rename, unlink) are durable only after `fsyncDir`.
 */
export interface Disk {
  open(path: string, mode: OpenMode): Promise<DiskFile>;
  rename(from: string, to: string): Promise<void>;
  unlink(path: string): Promise<void>;
  /** With all that is in it; fine when there is nothing. */
  removeTree(path: string): Promise<void>;
  /** Names in the directory, in no order. */
  readdir(path: string): Promise<string[]>;
  /** With parents; fine when it exists. Mode 0700. */
  mkdir(path: string): Promise<void>;
  /** Null when there is nothing. */
  stat(path: string): Promise<{ readonly bytes: number; readonly directory: boolean } | null>;
  fsyncDir(path: string): Promise<void>;
  /** Takes the one lock of a directory; throws SkepError `conflict` when another process holds it. */
  lock(dir: string): Promise<DiskLock>;
}

/** The errno name of a failed disk operation, or ''. */
export function errnoOf(err: unknown): string {
  if (typeof err !== 'object' || err === null || !('code' in err)) return '';
  return typeof err.code === 'string' ? err.code : '';
}

/** A whole small file; null when there is none. */
export async function readFile(disk: Disk, path: string): Promise<Buffer | null> {
  const stat = await disk.stat(path);
  if (stat === null) return null;
  const file = await disk.open(path, 'read');
  try {
    return await file.read(0, stat.bytes);
  } finally {
    await file.close();
  }
}

/** Replaces a small file: all of the old contents or all of the new, whatever happens. */
export async function writeFileDurably(disk: Disk, path: string, data: Uint8Array): Promise<void> {
  const temporary = `${path}.new`;
  if ((await disk.stat(temporary)) !== null) await disk.unlink(temporary);
  const file = await disk.open(temporary, 'create');
  try {
    await file.pwrite(data, 0);
    await file.fdatasync();
  } finally {
    await file.close();
  }
  await disk.rename(temporary, path);
  await disk.fsyncDir(dirname(path));
}

/** Copies a directory tree, durable when it resolves. `to` must not exist. */
export async function copyTree(disk: Disk, from: string, to: string): Promise<void> {
  await disk.mkdir(to);
  for (const name of await disk.readdir(from)) {
    const source = `${from}/${name}`;
    const stat = await disk.stat(source);
    if (stat === null || name.startsWith('lock')) continue;
    if (stat.directory) await copyTree(disk, source, `${to}/${name}`);
    else await copyFile(disk, source, `${to}/${name}`);
  }
  await disk.fsyncDir(to);
}

const COPY_BLOCK_BYTES = 1024 * 1024;

async function copyFile(disk: Disk, from: string, to: string): Promise<void> {
  const source = await disk.open(from, 'read');
  try {
    const target = await disk.open(to, 'create');
    try {
      for (let offset = 0; ; offset += COPY_BLOCK_BYTES) {
        const block = await source.read(offset, COPY_BLOCK_BYTES);
        if (block.length > 0) await target.pwrite(block, offset);
        if (block.length < COPY_BLOCK_BYTES) break;
      }
      await target.fdatasync();
    } finally {
      await target.close();
    }
  } finally {
    await source.close();
  }
}

/** A disk that ends the process just before or just after one operation that makes things durable. */
import type { Disk, DiskFile } from '../../manager/raftnode/disk.ts';

export type DurableOperation = 'write' | 'sync' | 'create' | 'rename' | 'unlink' | 'directory sync';

/** What the process was about to do, or had just done. */
export interface FatalPoint {
  readonly moment: 'before' | 'after';
  readonly operation: DurableOperation;
  /** of the file or directory; of a rename, where from */
  readonly path: string;
}

/** At which operation to die. */
export interface FatalTarget {
  /** as `kindOf` says; null = any */
  readonly kind: string | null;
  /** from 1, of that kind; 0 = never */
  readonly ordinal: number;
  readonly moment: FatalPoint['moment'];
}

/** `sync raft/wal/SEGMENT`: what is done to which kind of file. */
export function kindOf({ operation, path }: Omit<FatalPoint, 'moment'>, dataDir: string): string {
  const file = path
    .slice(dataDir.length + 1)
    .replace(/[0-9a-f]{8}-[0-9a-f]{14}\.wal/, 'SEGMENT')
    .replace(/[0-9a-f]{14}-[0-9a-f]{14}\.snap/, 'SNAPSHOT')
    .replace(/SNAPSHOT\.\d+\.tmp/, 'SNAPSHOT.tmp')
    .replace(/tip\.[0-9a-f]{8}/, 'TIP');
  return `${operation} ${file}`;
}

/**
 * `disk`, but `die` is called at the target. It ends the process, so its promise never settles; what
 * goes on meanwhile without waiting for the operation shows.
 */
export function fatalDisk(
  disk: Disk,
  { kind, ordinal, moment, dataDir }: FatalTarget & { readonly dataDir: string },
  die: (point: FatalPoint) => Promise<never>,
): Disk {
  let count = 0;
  const around = async <T>(
    operation: DurableOperation,
    path: string,
    act: () => Promise<T>,
  ): Promise<T> => {
    const isOne = kind === null || kind === kindOf({ operation, path }, dataDir);
    const isFatal = isOne && ++count === ordinal;
    if (isFatal && moment === 'before') await die({ moment, operation, path });
    const result = await act();
    if (isFatal && moment === 'after') await die({ moment, operation, path });
    return result;
  };
  const fatalFile = (file: DiskFile): DiskFile => ({
    path: file.path,
    pwrite: (data, offset) => around('write', file.path, () => file.pwrite(data, offset)),
    read: (offset, length) => file.read(offset, length),
    truncate: (bytes) => around('write', file.path, () => file.truncate(bytes)),
    fdatasync: () => around('sync', file.path, () => file.fdatasync()),
    writeThrough: async (data, offset) => {
      await around('write', file.path, () => file.pwrite(data, offset));
      await around('sync', file.path, () => file.fdatasync());
    },
    zeroFill: (bytes) => around('write', file.path, () => file.zeroFill(bytes)),
    close: () => file.close(),
  });
  return {
    open: async (path, mode) => {
      if (mode !== 'create') return fatalFile(await disk.open(path, mode));
      return fatalFile(await around('create', path, () => disk.open(path, mode)));
    },
    rename: (from, to) => around('rename', from, () => disk.rename(from, to)),
    unlink: (path) => around('unlink', path, () => disk.unlink(path)),
    removeTree: (path) => disk.removeTree(path),
    readdir: (path) => disk.readdir(path),
    mkdir: (path) => disk.mkdir(path),
    stat: (path) => disk.stat(path),
    fsyncDir: (path) => around('directory sync', path, () => disk.fsyncDir(path)),
    lock: (dir) => disk.lock(dir),
  };
}

/**
 * A disk in memory that forgets, tears and reorders what was not synced when it crashes. One object
 * is the disk of one machine over all lives of its process.
 */

import { SkepError } from '../../common/base/errors.ts';
import { SeededRandom } from '../../common/base/random.ts';
import type { Disk, DiskFile, DiskLock, OpenMode } from '../../manager/raftnode/disk.ts';

const SECTOR_BYTES = 512;

export type DiskOperation =
  | 'open'
  | 'create'
  | 'pwrite'
  | 'truncate'
  | 'read'
  | 'fdatasync'
  | 'rename'
  | 'unlink'
  | 'readdir'
  | 'mkdir'
  | 'stat'
  | 'fsyncDir';

interface Write {
  readonly offset: number;
  readonly data: Buffer;
  /** the file ends with it */
  readonly cuts?: boolean;
}

class Inode {
  /** What a crash certainly leaves. */
  durable: Buffer = Buffer.alloc(0);
  /** What a read sees. */
  cached: Buffer = Buffer.alloc(0);
  unsynced: Write[] = [];
}

/** A change of a directory that is not durable yet. */
interface NameChange {
  readonly dir: string;
  /** Names to remove, then the name to set. */
  readonly removed: readonly string[];
  readonly set: { readonly path: string; readonly inode: Inode } | null;
}

/** Sees what the disk holds for good. A file is known by an object of its own: names change. */
export interface DiskObserver {
  wrote(file: object, path: string, offset: number, data: Buffer): void;
  /** All that was written before the call of `fdatasync` is durable. */
  synced(file: object): void;
}

export interface SimDiskOptions {
  readonly random?: SeededRandom;
  /** Awaited within every operation; default: none, operations end in the same turn. */
  readonly latency?: (operation: DiskOperation) => Promise<void> | null;
  /** Most bytes in all files; default: no limit. Beyond it writes fail with ENOSPC. */
  readonly capacityBytes?: number;
}

export class SimDisk {
  readonly #random: SeededRandom;
  readonly #latency: ((operation: DiskOperation) => Promise<void> | null) | undefined;
  #names = new Map<string, Inode>();
  #durableNames = new Map<string, Inode>();
  #nameChanges: NameChange[] = [];
  #dirs = new Set<string>(['/']);
  #locks = new Set<string>();
  #life = 0;
  capacityBytes: number;
  /** Called before each operation; may throw (a fault), or crash this disk. */
  onOperation: ((operation: DiskOperation, path: string) => void) | null = null;
  /** True for an `fdatasync` that fails with EIO, after which unsynced data is as after a crash. */
  failsSync: ((file: object, path: string) => boolean) | null = null;
  observer: DiskObserver | null = null;
  /** How many times each operation was begun. */
  readonly counts = new Map<DiskOperation, number>();

  constructor(options: SimDiskOptions = {}) {
    this.#random = options.random ?? new SeededRandom(1);
    this.#latency = options.latency;
    this.capacityBytes = options.capacityBytes ?? Number.POSITIVE_INFINITY;
  }

  /** The disk as one life of the process sees it: its operations never end after `crash` or `kill`. */
  mount(): Disk {
    const life = this.#life;
    return {
      open: (path, mode) => this.#openFile(life, path, mode),
      rename: (from, to) => this.#rename(life, from, to),
      unlink: (path) => this.#unlink(life, path),
      removeTree: (path) => this.#removeTree(life, path),
      readdir: (path) => this.#readdir(life, path),
      mkdir: (path) => this.#mkdir(life, path),
      stat: (path) => this.#stat(life, path),
      fsyncDir: (path) => this.#fsyncDir(life, path),
      lock: (dir) => this.#lock(life, dir),
    };
  }

  /**
   * The machine dies: each unsynced write is kept, dropped or torn, each unsynced name change kept
   * or dropped. Operations of the old life never end.
   */
  crash(): void {
    this.#life++;
    this.#locks.clear();
    const names = new Map(this.#durableNames);
    const inOrder = this.#random.below(2) === 0;
    let lost = false;
    for (const change of this.#nameChanges) {
      const drop = this.#random.below(3) === 0;
      lost ||= drop;
      if (inOrder ? lost : drop) continue;
      applyChange(names, change);
    }
    this.#nameChanges = [];
    this.#names = names;
    this.#durableNames = new Map(names);
    for (const inode of new Set(names.values())) this.#crashInode(inode);
  }

  /** The process dies and the machine goes on: nothing is lost. */
  kill(): void {
    this.#life++;
    this.#locks.clear();
  }

  /** Paths of all files, sorted. */
  paths(): string[] {
    return [...this.#names.keys()].sort();
  }

  /** The bytes of a file, for looking at and for damaging: changes are durable at once. */
  contents(path: string): Buffer {
    const inode = this.#require(path);
    inode.durable = Buffer.from(inode.cached);
    return inode.cached;
  }

  /** Flips a bit in both what is read and what is durable. */
  flipBit(path: string, offset: number, bit = 0): void {
    const inode = this.#require(path);
    for (const bytes of new Set([inode.cached, inode.durable])) {
      if (offset < bytes.length) bytes[offset] = bytes[offset]! ^ (1 << bit);
    }
  }

  /** Replaces the contents durably. */
  setContents(path: string, bytes: Uint8Array): void {
    const inode = this.#names.get(path) ?? new Inode();
    inode.cached = Buffer.from(bytes);
    inode.durable = Buffer.from(bytes);
    inode.unsynced = [];
    this.#names.set(path, inode);
    this.#durableNames.set(path, inode);
  }

  removeFile(path: string): void {
    this.#names.delete(path);
    this.#durableNames.delete(path);
  }

  #openFile(life: number, path: string, mode: OpenMode): Promise<DiskFile> {
    return this.#operate(life, mode === 'create' ? 'create' : 'open', path, () => {
      if (mode !== 'create') return this.#file(life, path, this.#require(path));
      if (this.#names.has(path)) throw errno('EEXIST', path);
      const inode = new Inode();
      this.#change({ dir: parentOf(path), removed: [], set: { path, inode } });
      return this.#file(life, path, inode);
    });
  }

  #rename(life: number, from: string, to: string): Promise<void> {
    return this.#operate(life, 'rename', from, () => {
      if (this.#dirs.has(from)) {
        this.#renameTree(from, to);
        return;
      }
      const inode = this.#require(from);
      this.#change({ dir: parentOf(to), removed: [from], set: { path: to, inode } });
    });
  }

  /** Durable at once, unlike that of a file. */
  #renameTree(from: string, to: string): void {
    const moved = (path: string): string =>
      path === from || path.startsWith(`${from}/`) ? to + path.slice(from.length) : path;
    const movedNames = (names: ReadonlyMap<string, Inode>): Map<string, Inode> =>
      new Map([...names].map(([path, inode]) => [moved(path), inode]));
    this.#names = movedNames(this.#names);
    this.#durableNames = movedNames(this.#durableNames);
    this.#dirs = new Set([...this.#dirs].map(moved));
    this.#nameChanges = this.#nameChanges.map(({ dir, removed, set }) => ({
      dir: moved(dir),
      removed: removed.map(moved),
      set: set && { path: moved(set.path), inode: set.inode },
    }));
  }

  #unlink(life: number, path: string): Promise<void> {
    return this.#operate(life, 'unlink', path, () => {
      this.#require(path);
      this.#change({ dir: parentOf(path), removed: [path], set: null });
    });
  }

  /** One after the other, so that a crash leaves some. */
  #removeTree(life: number, path: string): Promise<void> {
    return this.#operate(life, 'unlink', path, () => {
      const isInside = (name: string): boolean => name === path || name.startsWith(`${path}/`);
      for (const name of [...this.#names.keys()].filter(isInside)) {
        this.#change({ dir: parentOf(name), removed: [name], set: null });
      }
      for (const dir of [...this.#dirs].filter(isInside)) this.#dirs.delete(dir);
    });
  }

  #readdir(life: number, path: string): Promise<string[]> {
    return this.#operate(life, 'readdir', path, () => {
      const prefix = `${path}/`;
      const all = [...this.#names.keys(), ...this.#dirs];
      const names = all.filter((p) => p.startsWith(prefix)).map((p) => p.slice(prefix.length));
      return [...new Set(names.map((name) => name.split('/')[0]!))].filter((name) => name !== '');
    });
  }

  #mkdir(life: number, path: string): Promise<void> {
    return this.#operate(life, 'mkdir', path, () => {
      for (let dir = path; dir !== '/' && dir !== ''; dir = parentOf(dir)) this.#dirs.add(dir);
    });
  }

  #stat(life: number, path: string): Promise<{ bytes: number; directory: boolean } | null> {
    return this.#operate(life, 'stat', path, () => {
      const inode = this.#names.get(path);
      if (inode !== undefined) return { bytes: inode.cached.length, directory: false };
      return this.#dirs.has(path) ? { bytes: 0, directory: true } : null;
    });
  }

  #fsyncDir(life: number, path: string): Promise<void> {
    return this.#operate(life, 'fsyncDir', path, () => {
      const [done, rest] = partition(this.#nameChanges, (change) => change.dir === path);
      for (const change of done) applyChange(this.#durableNames, change);
      this.#nameChanges = rest;
    });
  }

  async #lock(life: number, dir: string): Promise<DiskLock> {
    if (life !== this.#life) return await never();
    if (this.#locks.has(dir)) throw new SkepError('conflict', `lock ${dir}: in use`);
    this.#locks.add(dir);
    return {
      release: async () => {
        if (life === this.#life) this.#locks.delete(dir);
      },
    };
  }

  /** Counts, waits, acts; never acts for, or comes back to, a life that ended meanwhile. */
  async #operate<T>(
    life: number,
    operation: DiskOperation,
    path: string,
    act: () => T,
  ): Promise<T> {
    if (life !== this.#life) return await never();
    this.counts.set(operation, (this.counts.get(operation) ?? 0) + 1);
    this.onOperation?.(operation, path);
    const latency = this.#latency?.(operation) ?? null;
    if (latency !== null) await latency;
    if (life !== this.#life) return await never();
    const result = act();
    await null;
    return life === this.#life ? result : await never();
  }

  #file(life: number, path: string, inode: Inode): DiskFile {
    const file: DiskFile = {
      path,
      pwrite: (data, offset) => {
        const copy = Buffer.from(data);
        return this.#operate(life, 'pwrite', path, () =>
          this.#write(inode, { offset, data: copy }, path),
        );
      },
      read: (offset, length) =>
        this.#operate(life, 'read', path, () =>
          Buffer.from(inode.cached.subarray(offset, offset + length)),
        ),
      truncate: (bytes) =>
        this.#operate(life, 'truncate', path, () => {
          const cut = { offset: bytes, data: Buffer.alloc(0), cuts: true };
          inode.cached = overwritten(inode.cached, cut);
          inode.unsynced.push(cut);
        }),
      fdatasync: () => {
        const covered = new Set(inode.unsynced);
        return this.#operate(life, 'fdatasync', path, () => {
          if (this.failsSync?.(inode, path)) {
            this.#crashInode(inode);
            throw errno('EIO', path);
          }
          for (const write of inode.unsynced) {
            if (covered.has(write)) inode.durable = overwritten(inode.durable, write);
          }
          inode.unsynced = inode.unsynced.filter((write) => !covered.has(write));
          this.observer?.synced(inode);
        });
      },
      writeThrough: async (data, offset) => {
        await file.pwrite(data, offset);
        await file.fdatasync();
      },
      zeroFill: (bytes) =>
        this.#operate(life, 'pwrite', path, () =>
          this.#write(inode, { offset: 0, data: Buffer.alloc(bytes) }, path),
        ),
      close: async () => {},
    };
    return file;
  }

  #write(inode: Inode, write: Write, path: string): void {
    const growth = Math.max(0, write.offset + write.data.length - inode.cached.length);
    const isFull = growth > 0 && this.#lacksSpace(growth);
    // The kernel writes what fits before it says that the rest does not.
    const taken = isFull ? this.#random.below(write.data.length - growth + 1) : write.data.length;
    const done = { offset: write.offset, data: write.data.subarray(0, taken) };
    if (taken > 0) {
      inode.cached = overwritten(inode.cached, done);
      inode.unsynced.push(done);
      this.observer?.wrote(inode, path, done.offset, done.data);
    }
    if (isFull) throw errno('ENOSPC', path);
  }

  get usedBytes(): number {
    let used = 0;
    for (const inode of this.#names.values()) used += inode.cached.length;
    return used;
  }

  #lacksSpace(bytes: number): boolean {
    return Number.isFinite(this.capacityBytes) && this.usedBytes + bytes > this.capacityBytes;
  }

  #crashInode(inode: Inode): void {
    const writes = inode.unsynced.splice(0);
    let bytes = inode.durable;
    for (const write of writes) {
      const fate = this.#random.below(3);
      if (fate === 0) continue;
      if (fate === 1) bytes = overwritten(bytes, write);
      else for (const part of this.#sectorsOf(write)) bytes = overwritten(bytes, part);
    }
    inode.durable = bytes;
    inode.cached = Buffer.from(bytes);
  }

  /** A random subset of the sectors that the write touches. */
  #sectorsOf(write: Write): Write[] {
    const parts: Write[] = [];
    const end = write.offset + write.data.length;
    for (let at = write.offset; at < end; ) {
      const next = Math.min(end, (Math.floor(at / SECTOR_BYTES) + 1) * SECTOR_BYTES);
      const data = write.data.subarray(at - write.offset, next - write.offset);
      if (this.#random.below(2) === 0) parts.push({ offset: at, data });
      at = next;
    }
    return parts;
  }

  #change(change: NameChange): void {
    this.#nameChanges.push(change);
    applyChange(this.#names, change);
  }

  #require(path: string): Inode {
    const inode = this.#names.get(path);
    if (inode === undefined) throw errno('ENOENT', path);
    return inode;
  }
}

function applyChange(names: Map<string, Inode>, change: NameChange): void {
  for (const path of change.removed) names.delete(path);
  if (change.set !== null) names.set(change.set.path, change.set.inode);
}

function overwritten(bytes: Buffer, write: Write): Buffer {
  const end = write.offset + write.data.length;
  const target =
    end > bytes.length ? Buffer.concat([bytes, Buffer.alloc(end - bytes.length)]) : bytes;
  write.data.copy(target, write.offset);
  return write.cuts ? Buffer.from(target.subarray(0, end)) : target;
}

function partition<T>(items: readonly T[], test: (item: T) => boolean): [T[], T[]] {
  return [items.filter(test), items.filter((item) => !test(item))];
}

function parentOf(path: string): string {
  return path.slice(0, path.lastIndexOf('/')) || '/';
}

function never(): Promise<never> {
  return new Promise(() => {});
}

function errno(code: string, path: string): Error {
  return Object.assign(new Error(`${code}: ${path}`), { code });
}

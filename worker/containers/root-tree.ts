/**
 * The root directory of a container as a tree of files to look at and to pack. Its contents are
 * hostile and may change meanwhile: each path is resolved by the kernel inside the root, and what was
 * opened once is used by its descriptor.
 */
import {
  closeSync,
  constants,
  fstatSync,
  openSync,
  readdirSync,
  readlinkSync,
  type Stats,
} from 'node:fs';
import { open } from 'node:fs/promises';
import { posix } from 'node:path';
import { SkepError } from '../../common/base/errors.ts';
import {
  getXattr,
  isPortableXattr,
  listXattrs,
  lstatOrNull,
  O_PATH,
  openInRoot,
} from '../../native/ffi/fs.ts';
import { NativeError } from '../../native/ffi/library.ts';
import { encodeTarHeader, type TarHeader, tarPadding, tarTrailer } from '../images/tar-writer.ts';
import { deviceKind, deviceNumbers } from '../volumes/lower-tree.ts';
import { type Owners, SAME_OWNERS } from './owners.ts';

const { O_DIRECTORY, O_NOFOLLOW, O_RDONLY } = constants;
const READ_BYTES = 256 * 1024;
const USTAR_NAME_BYTES_MAX = 4096;
/** NAME_MAX of Linux. */
const NAME_BYTES_MAX = 255;
/** What the kernel says of a path at which nothing can be. */
const LEADS_NOWHERE: ReadonlySet<string> = new Set(['ENOENT', 'ENOTDIR', 'ELOOP', 'ENAMETOOLONG']);

export interface PathStat {
  readonly name: string;
  readonly stats: Stats;
  /** of a link, as it is written; '' = it is none */
  readonly linkTarget: string;
}

export interface PackOptions {
  /** of the entries, instead of the directory's own; '' = none */
  readonly prefix: string;
  /** other file systems stay empty */
  readonly oneFileSystem: boolean;
}

/** `/proc/self/fd/N`: the file behind a descriptor, wherever its name points by now. */
export const pathOf = (fd: number): string => `/proc/self/fd/${fd}`;

export class RootTree {
  readonly fd: number;
  readonly owners: Owners;
  readonly #hidden: readonly string[];
  readonly #path: string;

  /** @param hidden places of the tree whose contents are somewhere else and not there now */
  constructor(path: string, hidden: readonly string[] = [], owners: Owners = SAME_OWNERS) {
    this.owners = owners;
    this.#path = path;
    this.#hidden = hidden;
    this.fd = openSync(path, O_PATH | O_DIRECTORY);
  }

  close(): void {
    closeSync(this.fd);
  }

  /** A link in the last place is not followed, unless a slash or a dot is behind it. */
  stat(path: string): PathStat {
    return this.#within(path, (directory, base) => {
      const place = base === '' ? pathOf(directory) : `${pathOf(directory)}/${base}`;
      if (Buffer.byteLength(base) > NAME_BYTES_MAX) throw new NoSuchFile(path);
      const stats = base === '' ? fstatSync(directory) : lstatOrNull(place);
      if (stats === null) throw new NoSuchFile(path);
      const linkTarget = stats.isSymbolicLink() ? readlinkSync(place) : '';
      return { name: posix.basename(path) || '/', stats, linkTarget };
    });
  }

  /** A directory, links followed; the caller owns the descriptor. */
  openDirectory(path: string): number {
    const fd = this.#open(path, O_PATH);
    if (fstatSync(fd).isDirectory()) {
      this.#requireShown(fd, path);
      return fd;
    }
    closeSync(fd);
    throw new SkepError('invalid-argument', 'extraction point is not a directory');
  }

  /** What is at `path` as a tar archive, in pieces. */
  async *pack(path: string, options: PackOptions): AsyncGenerator<Buffer, void, undefined> {
    const { base, directory } = this.#split(path);
    const parent = this.#open(directory, O_PATH | O_DIRECTORY, path);
    try {
      this.#requireShown(parent, path);
      const fd = base === '' ? openSync(pathOf(parent), O_PATH) : openChild(parent, base, path);
      try {
        this.#requireShown(fd, path, true);
        const device = fstatSync(fd).dev;
        const packer = new Packer(options.oneFileSystem ? device : null, this.owners);
        const place = base === '' ? null : { parent, base };
        yield* packer.pack(fd, options.prefix, place);
      } finally {
        closeSync(fd);
      }
    } finally {
      closeSync(parent);
    }
    yield tarTrailer();
  }

  /** Each place as one entry, directories without what is in them; in order, without an end. */
  async *packEach(paths: readonly string[]): AsyncGenerator<Buffer, void, undefined> {
    const packer = new Packer(null, this.owners, false);
    for (const path of paths) {
      const { base, directory } = this.#split(path);
      const parent = this.#open(directory, O_PATH | O_DIRECTORY, path);
      try {
        yield* packer.child(parent, base, directory.replace(/^\/+/, ''));
      } finally {
        closeSync(parent);
      }
    }
  }

  #within<T>(path: string, work: (directory: number, base: string) => T): T {
    const { base, directory } = this.#split(path);
    const fd = this.#open(directory, O_PATH | O_DIRECTORY, path);
    try {
      this.#requireShown(fd, path);
      return work(fd, base);
    } finally {
      closeSync(fd);
    }
  }

  /** `base` '' = the directory itself: the path ends in a slash, a dot, or two. */
  #split(path: string): { readonly directory: string; readonly base: string } {
    const name = posix.basename(path);
    const isWhole = path.endsWith('/') || name === '.' || name === '..' || name === '';
    if (isWhole) return { directory: path === '' ? '/' : path, base: '' };
    return { directory: path.slice(0, -name.length) || '/', base: name };
  }

  /** @param asked for errors */
  #open(path: string, flags: number, asked = path): number {
    try {
      return openInRoot(this.fd, path, flags);
    } catch (err) {
      if (!(err instanceof NativeError)) throw err;
      if (LEADS_NOWHERE.has(err.errno)) throw new NoSuchFile(asked);
      throw err;
    }
  }

  /** `andBelow`: nothing hidden may lie below it either. */
  #requireShown(fd: number, path: string, andBelow = false): void {
    if (this.#hidden.length === 0) return;
    const inside = posix.join('/', readlinkSync(pathOf(fd)).slice(this.#path.length));
    const hidden = this.#hidden.find(
      (place) =>
        `${inside}/`.startsWith(`${place}/`) ||
        (andBelow && place.startsWith(inside === '/' ? '/' : `${inside}/`)),
    );
    if (hidden === undefined) return;
    const words = `copy ${path}: ${hidden} is a mount, which is there only while the container runs`;
    throw new SkepError('unimplemented', words);
  }
}

/** Whose tree it is knows who asks for it. */
export class NoSuchFile extends SkepError {
  readonly path: string;

  constructor(path: string) {
    super('not-found', `no such file: ${path}`);
    this.path = path;
  }
}

/** Not followed when it is a link. */
function openChild(directory: number, name: string, path: string): number {
  try {
    return openSync(`${pathOf(directory)}/${name}`, O_PATH | O_NOFOLLOW);
  } catch (err) {
    if (LEADS_NOWHERE.has((err as NodeJS.ErrnoException).code ?? '')) throw new NoSuchFile(path);
    throw err;
  }
}

/** Where an entry is known by name, for what a descriptor does not tell. */
interface Place {
  readonly parent: number;
  readonly base: string;
}

class Packer {
  readonly #device: number | null;
  readonly #isDeep: boolean;
  readonly #owners: Owners;
  /** inode -> the entry that has its contents */
  readonly #links = new Map<string, string>();

  /** @param device null = whatever the file system; `isDeep`: what is in directories, too */
  constructor(device: number | null, owners: Owners, isDeep = true) {
    this.#owners = owners;
    this.#device = device;
    this.#isDeep = isDeep;
  }

  async *pack(fd: number, name: string, place: Place | null): AsyncGenerator<Buffer> {
    const stats = fstatSync(fd);
    const isElsewhere = this.#device !== null && stats.dev !== this.#device;
    const header = headerOf(stats, name, place, this.#owners);
    if (header === null || Buffer.byteLength(name) > USTAR_NAME_BYTES_MAX) return;
    if (stats.isDirectory()) {
      if (name !== '') yield encodeTarHeader(header);
      if (isElsewhere || !this.#isDeep) return;
      for (const child of readdirSync(pathOf(fd)).sort()) yield* this.child(fd, child, name);
      return;
    }
    if (!stats.isFile() || isElsewhere) {
      yield encodeTarHeader(header);
      return;
    }
    const inode = `${stats.dev}:${stats.ino}`;
    const first = stats.nlink > 1 ? this.#links.get(inode) : undefined;
    if (first !== undefined) {
      yield encodeTarHeader({ ...header, kind: 'hardlink', linkName: first });
      return;
    }
    if (stats.nlink > 1) this.#links.set(inode, name);
    yield encodeTarHeader({ ...header, sizeBytes: stats.size });
    yield* contentsOf(fd, stats.size);
  }

  /** One that went meanwhile is left out. */
  async *child(directory: number, base: string, prefix: string): AsyncGenerator<Buffer> {
    let fd: number;
    try {
      fd = openSync(`${pathOf(directory)}/${base}`, O_PATH | O_NOFOLLOW);
    } catch (err) {
      if ((err as NodeJS.ErrnoException).code === 'ENOENT') return; // it went meanwhile
      throw err;
    }
    try {
      const name = prefix === '' ? base : `${prefix.replace(/\/$/, '')}/${base}`;
      yield* this.pack(fd, name, { parent: directory, base });
    } finally {
      closeSync(fd);
    }
  }
}

/** null: a socket, which means nothing without the process that listens. */
function headerOf(
  stats: Stats,
  name: string,
  place: Place | null,
  owners: Owners,
): TarHeader | null {
  const [uid, gid] = owners.inside(stats.uid, stats.gid);
  const head = {
    mode: stats.mode & 0o7777,
    uid,
    gid,
    mtimeSeconds: Math.floor(stats.mtimeMs / 1000),
  };
  const path = place === null ? null : `${pathOf(place.parent)}/${place.base}`;
  if (stats.isSocket()) return null;
  if (stats.isDirectory()) {
    const whole = name.endsWith('/') ? name : `${name}/`;
    return { ...head, name: whole, kind: 'directory', xattrs: xattrsOf(path) };
  }
  if (stats.isSymbolicLink()) {
    const linkName = path === null ? '' : readlinkSync(path);
    return { ...head, name, kind: 'symlink', linkName };
  }
  if (stats.isFile()) return { ...head, name, kind: 'file', xattrs: xattrsOf(path) };
  if (stats.isFIFO()) return { ...head, name, kind: 'fifo' };
  const [deviceMajor, deviceMinor] = deviceNumbers(stats);
  return { ...head, name, kind: deviceKind(stats), deviceMajor, deviceMinor };
}

function xattrsOf(path: string | null): ReadonlyMap<string, Buffer> {
  const out = new Map<string, Buffer>();
  if (path === null) return out;
  for (const name of listXattrs(path)) {
    if (!isPortableXattr(name)) continue;
    const value = getXattr(path, name);
    if (value !== null) out.set(name, value);
  }
  return out;
}

/** Exactly so many bytes, whatever becomes of the file meanwhile. */
async function* contentsOf(fd: number, sizeBytes: number): AsyncGenerator<Buffer> {
  const handle = await open(pathOf(fd), O_RDONLY);
  try {
    let left = sizeBytes;
    while (left > 0) {
      const buffer = Buffer.allocUnsafe(Math.min(READ_BYTES, left));
      const { bytesRead } = await handle.read(buffer, 0, buffer.length, null);
      const piece = bytesRead > 0 ? buffer.subarray(0, bytesRead) : buffer.fill(0);
      left -= piece.length;
      yield piece;
    }
  } finally {
    await handle.close();
  }
  yield tarPadding(sizeBytes);
}

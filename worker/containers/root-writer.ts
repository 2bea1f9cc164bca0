/**
 * Writes the entries of a tar archive into a directory of a container's root. Synchronous, as layers are
 * written: many small files. Every parent is resolved by the kernel inside the root, so that no entry
 * and no link, whoever puts it there meanwhile, leads out of it.
 */
import {
  closeSync,
  constants,
  fchmodSync,
  fchownSync,
  futimesSync,
  lchownSync,
  linkSync,
  lutimesSync,
  mkdirSync,
  openSync,
  readdirSync,
  rmdirSync,
  symlinkSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { posix } from 'node:path';
import { assertNever } from '../../common/base/assert.ts';
import { SkepError } from '../../common/base/errors.ts';
import {
  isPortableXattr,
  lstatOrNull,
  makeNode,
  O_PATH,
  openInRoot,
  type SpecialFileKind,
  setXattr,
} from '../../native/ffi/fs.ts';
import { NativeError } from '../../native/ffi/library.ts';
import type { TarEntry, TarSink } from '../images/tar-reader.ts';
import type { OwnerPair, Owners } from './owners.ts';
import { pathOf } from './root-tree.ts';

export interface ExtractOptions {
  /** owners as the archive has them; else all is root's */
  readonly copyOwners: boolean;
  /** extended attributes as the archive has them; default none */
  readonly copyXattrs?: boolean;
  /** a directory may take the place of a file and the other way round */
  readonly replacesKinds: boolean;
  readonly owners: Owners;
}

const { O_CREAT, O_DIRECTORY, O_EXCL, O_NOFOLLOW, O_RDONLY, O_WRONLY } = constants;
const DIRECTORY_MODE = 0o755;

interface OpenFile {
  readonly fd: number;
  readonly name: string;
  readonly entry: TarEntry;
}

export class RootWriter implements TarSink {
  readonly #directory: number;
  readonly #rootFd: number;
  readonly #at: string;
  readonly #options: ExtractOptions;
  readonly #times: { readonly name: string; readonly seconds: number }[] = [];
  #file: OpenFile | null = null;

  /**
   * @param rootFd the container's root
   * @param at the directory below it
   * @param directory its descriptor, which this takes over
   */
  constructor(rootFd: number, at: string, directory: number, options: ExtractOptions) {
    this.#rootFd = rootFd;
    this.#at = at;
    this.#options = options;
    this.#directory = directory;
  }

  entry(entry: TarEntry): void {
    const name = posix.join('/', entry.name).replace(/(.)\/$/, '$1');
    if (name === '/') return; // the directory itself stays as it is
    if (entry.sparse !== null) {
      throw new SkepError('unimplemented', `copy ${entry.name}: sparse files are not supported`);
    }
    this.#inParent(name, (path) => this.#write(entry, name, path));
  }

  data(bytes: Buffer): void {
    if (this.#file === null) return;
    for (let at = 0; at < bytes.length; ) at += writeSync(this.#file.fd, bytes, at);
  }

  end(): void {
    const file = this.#file;
    this.#file = null;
    if (file === null) return;
    try {
      const { entry, fd } = file;
      fchownSync(fd, ...this.#ownerOf(entry));
      fchmodSync(fd, entry.mode);
      if (this.#copies(entry)) this.#inParent(file.name, (path) => this.#setXattrs(path, entry));
      futimesSync(fd, entry.mtimeSeconds, entry.mtimeSeconds);
    } finally {
      closeSync(file.fd);
    }
  }

  /** After the last entry: writing into a directory changed its time. */
  finish(): void {
    for (const { name, seconds } of this.#times.reverse()) {
      this.#inParent(name, (path) => {
        if (lstatOrNull(path)?.isDirectory()) lutimesSync(path, seconds, seconds);
      });
    }
  }

  /** Idempotent in what a failure left open. */
  close(): void {
    if (this.#file !== null) closeSync(this.#file.fd);
    this.#file = null;
    closeSync(this.#directory);
  }

  /** Runs `work` with a path whose directory is a descriptor; what is missing on the way is made. */
  #inParent(name: string, work: (path: string) => void): void {
    const parent = this.#openDirectory(posix.dirname(name));
    try {
      work(`${pathOf(parent)}/${posix.basename(name)}`);
    } finally {
      closeSync(parent);
    }
  }

  #openDirectory(name: string): number {
    const path = name === '/' ? this.#at : `${this.#at}/${name}`;
    try {
      return openInRoot(this.#rootFd, path, O_PATH | O_DIRECTORY);
    } catch (err) {
      if (!(err instanceof NativeError) || err.errno !== 'ENOENT' || name === '/') throw err;
    }
    const { make } = this.#options.owners;
    this.#inParent(name, (missing) => {
      if (lstatOrNull(missing) === null) make(() => mkdirSync(missing, DIRECTORY_MODE));
      else
        throw new SkepError('invalid-argument', `cannot write below "${name}": it leads nowhere`);
    });
    return openInRoot(this.#rootFd, path, O_PATH | O_DIRECTORY);
  }

  #write(entry: TarEntry, name: string, path: string): void {
    const { make } = this.#options.owners;
    const isDirectory = entry.kind === 'directory';
    const before = lstatOrNull(path);
    if (before && before.isDirectory() !== isDirectory && !this.#options.replacesKinds) {
      const [from, to] = isDirectory
        ? ['non-directory', 'directory']
        : ['directory', 'non-directory'];
      const words = `cannot overwrite ${from} "${name}" with ${to}`;
      throw new SkepError('invalid-argument', words);
    }
    if (entry.kind === 'directory') {
      if (before && !before.isDirectory()) unlinkSync(path);
      if (!before?.isDirectory()) make(() => mkdirSync(path, DIRECTORY_MODE));
      this.#times.push({ name, seconds: entry.mtimeSeconds });
      this.#ownDirectory(path, entry);
      this.#setXattrs(path, entry);
      return;
    }
    if (before) removeTree(path);
    switch (entry.kind) {
      case 'file': {
        const flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW;
        const fd = make(() => openSync(path, flags, 0o600));
        this.#file = { fd, name, entry };
        return;
      }
      case 'symlink':
        make(() => symlinkSync(entry.linkName, path));
        break;
      case 'hardlink':
        this.#inParent(posix.join('/', entry.linkName), (target) => linkSync(target, path));
        return;
      case 'fifo':
      case 'character-device':
      case 'block-device':
        this.#makeNode(entry, entry.kind, path);
        break;
      default:
        assertNever(entry.kind);
    }
    lchownSync(path, ...this.#ownerOf(entry));
    lutimesSync(path, entry.mtimeSeconds, entry.mtimeSeconds);
  }

  /** By its descriptor: the container may put a link in its place. */
  #ownDirectory(path: string, entry: TarEntry): void {
    const fd = openSync(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    try {
      fchownSync(fd, ...this.#ownerOf(entry));
      fchmodSync(fd, entry.mode);
    } finally {
      closeSync(fd);
    }
  }

  #copies({ xattrs }: TarEntry): boolean {
    return this.#options.copyXattrs === true && xattrs.size > 0;
  }

  /** After the owner, whose change takes capabilities away. */
  #setXattrs(path: string, entry: TarEntry): void {
    if (!this.#copies(entry)) return;
    for (const [name, value] of entry.xattrs) {
      if (isPortableXattr(name)) setXattr(path, name, value);
    }
  }

  #makeNode(
    { mode, deviceMajor, deviceMinor }: TarEntry,
    kind: SpecialFileKind,
    path: string,
  ): void {
    this.#options.owners.make(() => makeNode(path, kind, mode, deviceMajor, deviceMinor));
  }

  #ownerOf({ uid, gid }: TarEntry): OwnerPair {
    const { owners, copyOwners } = this.#options;
    return copyOwners ? owners.outside(uid, gid) : owners.outside(0, 0);
  }
}

/**
 * What is at `path`, with all below it. Goes down by descriptors: the container may put a link to the host in
 * the place of a directory while this runs.
 */
function removeTree(path: string): void {
  if (!lstatOrNull(path)?.isDirectory()) {
    unlinkSync(path);
    return;
  }
  const fd = openSync(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  try {
    for (const name of readdirSync(pathOf(fd))) removeTree(`${pathOf(fd)}/${name}`);
  } finally {
    closeSync(fd);
  }
  rmdirSync(path);
}

/**
 * Writes the entries of one layer's tar into a directory that overlayfs takes as a lower layer.
 * Synchronous on purpose (it runs in a worker thread: 16 times faster than promises for many small
 * files). No entry can act outside the root, whatever names and links the layer contains.
 */
import {
  chmodSync,
  closeSync,
  constants,
  fchmodSync,
  fchownSync,
  ftruncateSync,
  futimesSync,
  lchownSync,
  linkSync,
  lutimesSync,
  mkdirSync,
  openSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { assertNever } from '../../common/base/assert.ts';
import { SkepError } from '../../common/base/errors.ts';
import {
  isPortableXattr,
  isWhiteout,
  lstatOrNull,
  makeNode,
  makeWhiteout,
  setOpaque,
  setXattr,
} from '../../native/ffi/fs.ts';
import type { SparseSegment, TarEntry, TarSink } from './tar-reader.ts';

const WHITEOUT_PREFIX = '.wh.';
const OPAQUE_MARKER = '.wh..wh..opq';
const AUFS_METADATA_PREFIX = '.wh..wh.';
const LINK_HOPS_MAX = 40; // the kernel's own limit (MAXSYMLINKS)
const ID_MAX = 2 ** 32 - 2; // 2^32-1 means "leave unchanged" to chown(2)
const CREATE_FLAGS =
  constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;

/** What the layer's tar said, and what it left to the layers below. Paths are relative to the root. */
export interface LayerSummary {
  /** sum of the regular files' sizes */
  readonly sizeBytes: number;
  readonly entries: number;
  /** directories made because an entry lay in them though the layer does not describe them */
  readonly implicitDirectories: readonly string[];
  /** hard links whose target is not in this layer: it is in one below */
  readonly foreignLinks: readonly { readonly path: string; readonly target: string }[];
  /** overlayfs does not look at the opaque mark of a root: the user must leave lower layers out */
  readonly opaqueRoot: boolean;
}

interface OpenFile {
  readonly fd: number;
  readonly path: string;
  readonly entry: TarEntry;
  offset: number;
  segment: number;
}

export class LayerWriter implements TarSink {
  readonly #root: string;
  /** Cleaned parent path in the tar -> real directory. INVARIANT: each value exists, is no link. */
  #parents = new Map<string, string>();
  #directoryTimes = new Map<string, number>();
  #implicit = new Set<string>();
  /** path -> target */
  #foreignLinks = new Map<string, string>();
  #file: OpenFile | null = null;
  #sizeBytes = 0;
  #entries = 0;
  #opaqueRoot = false;

  /** @param root an existing, empty directory, absolute */
  constructor(root: string) {
    this.#root = root;
  }

  entry(entry: TarEntry): void {
    this.#entries++;
    try {
      this.#apply(entry);
    } catch (err) {
      throw this.#failure(entry.name, err);
    }
  }

  data(bytes: Buffer): void {
    if (this.#file === null) return; // contents of a marker file
    try {
      writeData(this.#file, bytes);
    } catch (err) {
      throw this.#failure(this.#file.entry.name, err);
    }
  }

  end(): void {
    const file = this.#file;
    if (file === null) return;
    this.#file = null;
    try {
      finishFile(file);
    } catch (err) {
      throw this.#failure(file.entry.name, err);
    }
  }

  /** After the last entry. */
  finish(): LayerSummary {
    // Children first: writing into a directory changes its time.
    for (const [path, seconds] of [...this.#directoryTimes].reverse()) {
      if (lstatOrNull(path)?.isDirectory()) lutimesSync(path, seconds, seconds);
    }
    return {
      sizeBytes: this.#sizeBytes,
      entries: this.#entries,
      implicitDirectories: [...this.#implicit],
      foreignLinks: [...this.#foreignLinks].map(([path, target]) => ({ path, target })),
      opaqueRoot: this.#opaqueRoot,
    };
  }

  /** Closes what a failure left open. Idempotent. */
  close(): void {
    if (this.#file !== null) closeSync(this.#file.fd);
    this.#file = null;
  }

  #failure(name: string, err: unknown): SkepError {
    const code = err instanceof SkepError ? err.code : 'internal';
    return new SkepError(code, `unpack ${JSON.stringify(name)}`, { cause: err });
  }

  #apply(entry: TarEntry): void {
    const parts = cleanPath(entry.name);
    const base = parts.pop();
    if (base === undefined) {
      if (entry.kind === 'directory') this.#describeDirectory(this.#root, entry);
      return;
    }
    const parent = this.#parentDirectory(parts);
    if (base.startsWith(WHITEOUT_PREFIX)) {
      this.#whiteout(parent, base);
      return;
    }
    const path = `${parent}/${base}`;
    this.#implicit.delete(this.#relative(path));
    this.#foreignLinks.delete(this.#relative(path));
    this.#create(path, entry);
  }

  #create(path: string, entry: TarEntry): void {
    switch (entry.kind) {
      case 'directory':
        this.#makeDirectory(path, entry);
        return;
      case 'file': {
        const fd = this.#replacing(path, () => openSync(path, CREATE_FLAGS, 0o600));
        this.#file = { fd, path, entry, offset: 0, segment: 0 };
        this.#sizeBytes += entry.sizeBytes;
        return;
      }
      case 'symlink':
        this.#replacing(path, () => symlinkSync(entry.linkName, path));
        lchownSync(path, ...owner(entry));
        lutimesSync(path, entry.mtimeSeconds, entry.mtimeSeconds);
        return;
      case 'hardlink':
        this.#link(path, entry);
        return;
      case 'character-device':
      case 'block-device':
      case 'fifo': {
        const { kind, deviceMajor, deviceMinor } = entry;
        this.#replacing(path, () => makeNode(path, kind, 0o600, deviceMajor, deviceMinor));
        lchownSync(path, ...owner(entry));
        chmodSync(path, entry.mode);
        applyXattrs(path, entry);
        lutimesSync(path, entry.mtimeSeconds, entry.mtimeSeconds);
        return;
      }
      default:
        assertNever(entry.kind);
    }
  }

  #makeDirectory(path: string, entry: TarEntry): void {
    const existing = lstatOrNull(path);
    if (!existing?.isDirectory()) {
      this.#replacing(path, () => mkdirSync(path, 0o700));
      // A deleted name that comes back as a directory must not show the old one's contents.
      if (existing !== null && isWhiteout(existing)) setOpaque(path);
    }
    this.#describeDirectory(path, entry);
  }

  #describeDirectory(path: string, entry: TarEntry): void {
    lchownSync(path, ...owner(entry));
    chmodSync(path, entry.mode);
    applyXattrs(path, entry);
    this.#directoryTimes.delete(path);
    this.#directoryTimes.set(path, entry.mtimeSeconds);
  }

  #link(path: string, entry: TarEntry): void {
    const targetParts = cleanPath(entry.linkName);
    const targetBase = targetParts.pop();
    if (targetBase === undefined) throw refused('hard link to the root');
    const targetParent = this.#resolve(targetParts, false);
    const target = targetParent === null ? null : `${targetParent}/${targetBase}`;
    const stats = target === null ? null : lstatOrNull(target);
    if (target === null || stats === null || isWhiteout(stats)) {
      this.#foreignLinks.set(this.#relative(path), [...targetParts, targetBase].join('/'));
      return;
    }
    if (stats.isDirectory()) throw refused('hard link to a directory');
    if (target !== path) this.#replacing(path, () => linkSync(target, path));
  }

  #whiteout(parent: string, base: string): void {
    if (base === OPAQUE_MARKER) {
      setOpaque(parent);
      if (parent === this.#root) this.#opaqueRoot = true;
      return;
    }
    if (base.startsWith(AUFS_METADATA_PREFIX)) return;
    const name = base.slice(WHITEOUT_PREFIX.length);
    if (name === '' || name === '.' || name === '..') throw refused('whiteout without a name');
    const path = `${parent}/${name}`;
    // Whiteouts speak of the layers below; what this layer itself brought stays (OCI image layer
    // specification, "Whiteouts").
    const existing = lstatOrNull(path);
    if (existing === null) makeWhiteout(path);
    else if (existing.isDirectory()) setOpaque(path);
  }

  /** Runs `create`; when something is in the way, removes that first. */
  #replacing<T>(path: string, create: () => T): T {
    try {
      return create();
    } catch (err) {
      const code = (err as { code?: string; errno?: string | number }).code;
      const errno = (err as { errno?: string | number }).errno;
      if (code !== 'EEXIST' && errno !== 'EEXIST') throw err;
    }
    this.#parents.clear(); // the thing removed may be part of a remembered path
    if (lstatOrNull(path)?.isDirectory()) this.#removeDirectory(path);
    else unlinkSync(path);
    return create();
  }

  /** Also forgets what was to be done inside: a link in its place would lead that elsewhere. */
  #removeDirectory(path: string): void {
    rmSync(path, { recursive: true });
    const isInside = (other: string): boolean => other === path || other.startsWith(`${path}/`);
    for (const key of this.#directoryTimes.keys()) {
      if (isInside(key)) this.#directoryTimes.delete(key);
    }
    for (const key of [...this.#implicit]) {
      if (isInside(`${this.#root}/${key}`)) this.#implicit.delete(key);
    }
    for (const key of this.#foreignLinks.keys()) {
      if (isInside(`${this.#root}/${key}`)) this.#foreignLinks.delete(key);
    }
  }

  #parentDirectory(parts: string[]): string {
    if (parts.length === 0) return this.#root;
    const key = parts.join('/');
    let directory = this.#parents.get(key);
    if (directory === undefined) {
      directory = this.#resolve(parts, true)!;
      this.#parents.set(key, directory);
    }
    return directory;
  }

  /**
   * The real directory of a path inside the root, links of the layer followed as the container
   * would follow them: an absolute target begins at the root, `..` stops there. With `create`,
   * missing directories are made; without, null when one is missing.
   */
  #resolve(parts: readonly string[], create: boolean): string | null {
    const pending = [...parts];
    let real: string[] = [];
    let hops = 0;
    while (pending.length > 0) {
      const part = pending.shift()!;
      if (part === '' || part === '.') continue;
      if (part === '..') {
        real.pop();
        continue;
      }
      const path = `${this.#root}/${[...real, part].join('/')}`;
      const stats = lstatOrNull(path);
      if (stats?.isSymbolicLink()) {
        if (++hops > LINK_HOPS_MAX) throw refused('too many symbolic links in its path');
        const target = readlinkSync(path);
        if (target.startsWith('/')) real = [];
        pending.unshift(...target.split('/'));
        continue;
      }
      if (!stats?.isDirectory()) {
        if (!create) return null;
        if (stats !== null && !isWhiteout(stats)) throw refused(`${part} is not a directory`);
        this.#makeImplicit(path, stats !== null);
      }
      real.push(part);
    }
    return real.length === 0 ? this.#root : `${this.#root}/${real.join('/')}`;
  }

  #makeImplicit(path: string, wasWhiteout: boolean): void {
    if (wasWhiteout) unlinkSync(path);
    mkdirSync(path, 0o755);
    chmodSync(path, 0o755); // whatever the umask
    if (wasWhiteout) setOpaque(path);
    else this.#implicit.add(this.#relative(path));
  }

  #relative(path: string): string {
    return path.slice(this.#root.length + 1);
  }
}

function refused(rule: string): SkepError {
  return new SkepError('invalid-argument', rule);
}

/** Components of a name in a tar; `..` may not leave the root. */
function cleanPath(name: string): string[] {
  if (name.includes('\0')) throw refused('name contains a NUL byte');
  const parts: string[] = [];
  for (const part of name.split('/')) {
    if (part === '' || part === '.') continue;
    if (part !== '..') parts.push(part);
    else if (parts.pop() === undefined) throw refused('path leaves the root of the layer');
  }
  return parts;
}

function owner(entry: TarEntry): [number, number] {
  for (const id of [entry.uid, entry.gid]) {
    if (!Number.isInteger(id) || id < 0 || id > ID_MAX) throw refused(`owner ${id} out of range`);
  }
  return [entry.uid, entry.gid];
}

function writeData(file: OpenFile, bytes: Buffer): void {
  if (file.entry.sparse === null) {
    writeAll(file.fd, bytes, null);
    return;
  }
  let at = 0;
  while (at < bytes.length) {
    const segment: SparseSegment | undefined = file.entry.sparse[file.segment];
    if (segment === undefined) throw refused('sparse data beyond its map');
    const used = Math.min(segment.lengthBytes - file.offset, bytes.length - at);
    writeAll(file.fd, bytes.subarray(at, at + used), segment.offset + file.offset);
    at += used;
    file.offset += used;
    if (file.offset === segment.lengthBytes) {
      file.segment++;
      file.offset = 0;
    }
  }
}

function writeAll(fd: number, bytes: Buffer, position: number | null): void {
  let at = 0;
  while (at < bytes.length) {
    at += writeSync(fd, bytes, at, bytes.length - at, position === null ? null : position + at);
  }
}

/** Order matters: data, owner (clears setuid and capabilities), mode, attributes, time. */
function finishFile(file: OpenFile): void {
  const { fd, entry, path } = file;
  try {
    if (entry.sparse !== null) ftruncateSync(fd, entry.sizeBytes);
    fchownSync(fd, ...owner(entry));
    fchmodSync(fd, entry.mode);
    applyXattrs(path, entry);
    futimesSync(fd, entry.mtimeSeconds, entry.mtimeSeconds);
  } finally {
    closeSync(fd);
  }
}

function applyXattrs(path: string, entry: TarEntry): void {
  for (const [name, value] of entry.xattrs) {
    if (!isPortableXattr(name)) continue;
    try {
      setXattr(path, name, value);
    } catch (err) {
      const errno = (err as { errno?: string }).errno;
      // Most are not possible on links and devices, nor anything on some file systems.
      if (
        name === 'security.capability' ||
        !['EPERM', 'ENOTSUP', 'EOPNOTSUPP'].includes(errno ?? '')
      )
        throw err;
    }
  }
}

/**
 * File-system calls that Node lacks: device nodes and extended attributes, and what overlayfs means
 * by them (whiteouts, opaque directories). Plain libc, so it also works in worker threads.
 */
import { lstatSync, type Stats } from 'node:fs';
import koffi, { type KoffiFunc } from 'koffi';
import { errnoName, NativeError } from './library.ts';

// biome-ignore lint/suspicious/noExplicitAny: koffi's own shape of a declared function
type NativeCall = KoffiFunc<(...args: any[]) => any>;

interface Libc {
  readonly mknod: NativeCall;
  readonly lsetxattr: NativeCall;
  readonly lgetxattr: NativeCall;
  readonly llistxattr: NativeCall;
  readonly syncfs: NativeCall;
  readonly openat2: NativeCall;
  readonly setfsuid: NativeCall;
  readonly setfsgid: NativeCall;
  readonly prctl: NativeCall;
}

let libc: Libc | null = null;

function load(): Libc {
  if (libc === null) {
    const self = koffi.load(null); // the C library that this process already runs on
    libc = {
      mknod: self.func('int mknod(const char *path, uint32_t mode, uint64_t dev)'),
      lsetxattr: self.func(
        'int lsetxattr(const char *path, const char *name, const uint8_t *value, size_t size, int flags)',
      ),
      lgetxattr: self.func(
        'intptr_t lgetxattr(const char *path, const char *name, _Out_ uint8_t *value, size_t size)',
      ),
      llistxattr: self.func(
        'intptr_t llistxattr(const char *path, _Out_ uint8_t *list, size_t size)',
      ),
      syncfs: self.func('int syncfs(int fd)'),
      setfsuid: self.func('int setfsuid(uint32_t uid)'),
      setfsgid: self.func('int setfsgid(uint32_t gid)'),
      prctl: self.func(
        'int prctl(int option, unsigned long a, unsigned long b, unsigned long c, unsigned long d)',
      ),
      openat2: self.func(
        'long syscall(long number, int directory, const char *path, const uint8_t *how, size_t size)',
      ),
    };
  }
  return libc;
}

function fail(syscall: string, detail: string): never {
  throw new NativeError(errnoName(koffi.errno()), syscall, detail);
}

const NR_OPENAT2 = 437; // on every architecture
const RESOLVE_NO_MAGICLINKS = 0x02n;
const RESOLVE_IN_ROOT = 0x10n;
/** Not in `fs.constants`: the same on every architecture. */
export const O_PATH = 0o10000000;
const O_CLOEXEC = 0o2000000;

/**
 * Opens `path` as a process whose root is the directory `rootFd` would: neither links nor `..` lead out
 * of it, whoever changes them meanwhile. The caller owns the descriptor. Throws NativeError.
 * @param flags of open(2); nothing is made
 */
export function openInRoot(rootFd: number, path: string, flags: number): number {
  const how = Buffer.alloc(24); // struct open_how: flags, mode, resolve
  how.writeBigUInt64LE(BigInt(flags | O_CLOEXEC), 0);
  how.writeBigUInt64LE(RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS, 16);
  const fd = Number(load().openat2(NR_OPENAT2, rootFd, path, how, how.length));
  return fd >= 0 ? fd : fail('openat2', path);
}

const PR_GET_SECUREBITS = 27;
const PR_SET_SECUREBITS = 28;
/** A change of the file system's user takes no capability away. */
const SECBIT_NO_SETUID_FIXUP = 4;

/**
 * Runs `work`, synchronous, with these ids as the owners of what it makes, and all of this process's rights.
 * They hold for this thread alone, and nothing starts a process meanwhile. Throws NativeError.
 */
export function withFsIds<T>(uid: number, gid: number, work: () => T): T {
  const { prctl, setfsuid, setfsgid } = load();
  const before: number = prctl(PR_GET_SECUREBITS, 0, 0, 0, 0);
  if (prctl(PR_SET_SECUREBITS, before | SECBIT_NO_SETUID_FIXUP, 0, 0, 0) !== 0) {
    fail('prctl', 'secure bits');
  }
  const ownGid: number = setfsgid(gid);
  const ownUid: number = setfsuid(uid);
  try {
    return work();
  } finally {
    setfsuid(ownUid);
    setfsgid(ownGid);
    prctl(PR_SET_SECUREBITS, before, 0, 0, 0);
  }
}

const S_IFIFO = 0o010000;
const S_IFCHR = 0o020000;
const S_IFBLK = 0o060000;
const FILE_TYPE_BITS: Readonly<Record<SpecialFileKind, number>> = {
  fifo: S_IFIFO,
  'character-device': S_IFCHR,
  'block-device': S_IFBLK,
};

export type SpecialFileKind = 'fifo' | 'character-device' | 'block-device';

/** glibc's makedev: 12 bits of the major and 8 of the minor lie below, the rest above. */
function deviceNumber(major: number, minor: number): bigint {
  const [hi, lo] = [BigInt(major), BigInt(minor)];
  return (
    ((hi & 0xfffn) << 8n) | ((hi & 0xfffff000n) << 32n) | (lo & 0xffn) | ((lo & 0xffffff00n) << 12n)
  );
}

/** Makes a device node or FIFO; `mode` = permission bits, subject to the umask. Throws NativeError. */
export function makeNode(
  path: string,
  kind: SpecialFileKind,
  mode: number,
  major = 0,
  minor = 0,
): void {
  const bits = FILE_TYPE_BITS[kind] | (mode & 0o7777);
  if (load().mknod(path, bits, deviceNumber(major, minor)) !== 0) fail('mknod', path);
}

/** Sets an extended attribute of `path` itself (symlinks are not followed). Throws NativeError. */
export function setXattr(path: string, name: string, value: Uint8Array): void {
  if (load().lsetxattr(path, name, value, value.length, 0) !== 0) {
    fail('lsetxattr', `${path} ${name}`);
  }
}

const XATTR_VALUE_BYTES_MAX = 65_536; // XATTR_SIZE_MAX and XATTR_LIST_MAX of linux/limits.h
const ABSENT: readonly string[] = ['ENODATA', 'ENOTSUP', 'EOPNOTSUPP'];

/** The value, or null when the attribute is absent or the file system has none. Throws NativeError. */
export function getXattr(path: string, name: string): Buffer | null {
  let buffer = Buffer.alloc(256);
  let length: number = load().lgetxattr(path, name, buffer, buffer.length);
  if (length < 0 && errnoName(koffi.errno()) === 'ERANGE') {
    buffer = Buffer.alloc(XATTR_VALUE_BYTES_MAX);
    length = load().lgetxattr(path, name, buffer, buffer.length);
  }
  if (length >= 0) return buffer.subarray(0, length);
  if (ABSENT.includes(errnoName(koffi.errno()))) return null;
  return fail('lgetxattr', `${path} ${name}`);
}

/** Names of the extended attributes of `path` itself. Throws NativeError. */
export function listXattrs(path: string): string[] {
  const buffer = Buffer.alloc(XATTR_VALUE_BYTES_MAX);
  const length: number = load().llistxattr(path, buffer, buffer.length);
  if (length >= 0) return buffer.toString('utf8', 0, length).split('\0').filter(Boolean);
  if (ABSENT.includes(errnoName(koffi.errno()))) return [];
  return fail('llistxattr', path);
}

/** Writes the whole file system of `fd` to disk, on a worker thread. Rejects with NativeError. */
export function syncFileSystem(fd: number): Promise<void> {
  return new Promise((resolve, reject) => {
    load().syncfs.async(fd, (err: Error | null, result: number) => {
      if (err) reject(err);
      else if (result !== 0) reject(new NativeError('EIO', 'syncfs', `fd ${fd}`));
      else resolve();
    });
  });
}

/** In an overlayfs layer, "what lies below at this name is deleted": a character device 0:0. */
export function makeWhiteout(path: string): void {
  makeNode(path, 'character-device', 0);
}

export function isWhiteout(stats: Stats): boolean {
  return stats.isCharacterDevice() && stats.rdev === 0;
}

const OVERLAY_OPAQUE = 'trusted.overlay.opaque';

const PORTABLE_XATTRS: ReadonlySet<string> = new Set([
  'security.capability',
  'system.posix_acl_access',
  'system.posix_acl_default',
]);

/**
 * Whether the attribute belongs to the file wherever it goes. The others are the host's: `trusted.*` would speak to our
 * overlayfs, `security.selinux` to its policy.
 */
export function isPortableXattr(name: string): boolean {
  return PORTABLE_XATTRS.has(name) || name.startsWith('user.');
}

/** Makes a directory of an overlayfs layer hide the directories of its name below. Needs root. */
export function setOpaque(directory: string): void {
  setXattr(directory, OVERLAY_OPAQUE, Buffer.from('y'));
}

export function isOpaque(directory: string): boolean {
  return getXattr(directory, OVERLAY_OPAQUE)?.toString() === 'y';
}

/** `lstat`, or null when nothing is there. */
export function lstatOrNull(path: string): Stats | null {
  return lstatSync(path, { throwIfNoEntry: false }) ?? null;
}

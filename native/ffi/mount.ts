/** Mounting for the daemon itself: the two kinds of mounts it makes, and taking mounts away. Plain libc. */
import { closeSync, openSync, readFileSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import koffi, { type KoffiFunc } from 'koffi';
import { parseMountinfo, pointsBelow } from '../../common/base/mountinfo.ts';
import { declareAsync, errnoName, NativeError } from './library.ts';

// biome-ignore lint/suspicious/noExplicitAny: koffi's own shape of a declared function
type NativeCall = KoffiFunc<(...args: any[]) => any>;

const MS_NOSUID = 2;
const MS_NODEV = 4;
const MS_NOEXEC = 8;
const MNT_DETACH = 2;
const UMOUNT_NOFOLLOW = 8;

let calls: { readonly mount: NativeCall; readonly umount2: NativeCall } | null = null;

function libc(): NonNullable<typeof calls> {
  if (calls === null) {
    const self = koffi.load(null); // the C library that this process already runs on
    calls = {
      mount: self.func(
        'int mount(const char *source, const char *target, const char *type, unsigned long flags, const char *data)',
      ),
      umount2: self.func('int umount2(const char *target, int flags)'),
    };
  }
  return calls;
}

/** Mount points at or below `path`, deepest last as the kernel lists them. */
export function mountsBelow(path: string): string[] {
  return pointsBelow(parseMountinfo(readFileSync('/proc/self/mountinfo', 'utf8')), path);
}

/**
 * A tmpfs for its owner only, nosuid, nodev, noexec, for so many files and bytes. Does nothing when a file
 * system is mounted there.
 */
export async function mountTmpfs(
  path: string,
  limits: { readonly sizeBytes: number; readonly files: number },
): Promise<void> {
  if (statSync(path).dev !== statSync(dirname(path)).dev) return;
  const flags = MS_NOSUID | MS_NODEV | MS_NOEXEC;
  const options = `mode=0700,size=${limits.sizeBytes},nr_inodes=${limits.files + 1}`; // and its root
  if (libc().mount('tmpfs', path, 'tmpfs', flags, options) !== 0) {
    throw new NativeError(errnoName(koffi.errno()), 'mount', `tmpfs on ${path}`);
  }
}

const mountCall = declareAsync(
  'int skep_mount(const char *source, const char *target, const char *type, uint64_t flags, const char *data, _Out_ uint8_t *err)',
);

/** On another thread: a server may take its time. Rejects with a NativeError. */
export async function mountAt(what: {
  readonly source: string;
  readonly target: string;
  readonly type: string;
  readonly flags: number;
  readonly data: string;
}): Promise<void> {
  await mountCall(what.source, what.target, what.type, BigInt(what.flags), what.data);
}

/** The directories are named by descriptors: any number of them fits into the kernel's one page. */
export function mountOverlay(
  path: string,
  lowerDirs: readonly string[],
  upperDir: string,
  workDir: string,
): void {
  const fds: number[] = [];
  const short = (dir: string): string => {
    const fd = openSync(dir, 'r');
    fds.push(fd);
    return `/proc/self/fd/${fd}`;
  };
  try {
    const lower = lowerDirs.map(short).join(':');
    const options = `lowerdir=${lower},upperdir=${short(upperDir)},workdir=${short(workDir)}`;
    if (libc().mount('overlay', path, 'overlay', MS_NODEV | MS_NOSUID | MS_NOEXEC, options) !== 0) {
      throw new NativeError(errnoName(koffi.errno()), 'mount', `overlay on ${path}`);
    }
  } finally {
    for (const fd of fds) closeSync(fd);
  }
}

/** Detaches every mount at or below `path`, last mounted first. */
export async function unmountTree(path: string): Promise<void> {
  for (const target of mountsBelow(path).reverse()) {
    if (libc().umount2(target, MNT_DETACH | UMOUNT_NOFOLLOW) !== 0) {
      throw new NativeError(errnoName(koffi.errno()), 'umount2', target);
    }
  }
}

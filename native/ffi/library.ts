/**
 * Loads libskep.so and turns its error struct into typed errors. The only file that knows where the
 * native build lies; knows nothing of what the calls are for.
 */
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import koffi, { type KoffiFunc, type LibraryHandle } from 'koffi';
import { SkepError } from '../../common/base/errors.ts';

/** The checkout or installation that this module belongs to: the folder with our package.json. */
function packageRoot(): string {
  let dir = dirname(fileURLToPath(import.meta.url));
  for (;;) {
    const manifest = join(dir, 'package.json');
    if (existsSync(manifest) && JSON.parse(readFileSync(manifest, 'utf8')).name === 'skep') {
      return dir;
    }
    const parent = dirname(dir);
    if (parent === dir)
      throw new SkepError('internal', `find skep's own package.json: none above ${dir}`);
    dir = parent;
  }
}

/** A file of the native build, e.g. `skep-shim`. Throws `not-found` when it was not built. */
export function nativeBuildPath(name: string): string {
  const path = join(packageRoot(), 'native', 'build', name);
  if (!existsSync(path)) {
    throw new SkepError('not-found', `load native part: ${path} is missing: run 'npm run build'`);
  }
  return path;
}

/** A failed native call: an errno keeps its name and its system call. */
export class NativeError extends SkepError {
  /** e.g. `EBUSY`; `none` when no system call failed */
  readonly errno: string;
  /** e.g. `mount` */
  readonly syscall: string;

  constructor(errno: string, syscall: string, detail: string) {
    super('internal', `${syscall} ${detail}: ${errno}`);
    this.errno = errno;
    this.syscall = syscall;
  }
}

/** Mirrors `struct skep_error` (native/include/skep.h): 256 bytes. */
export const ERROR_BYTES = 256;

/** Second names of values that have two. */
const ALIASES: readonly string[] = ['EWOULDBLOCK', 'EDEADLOCK', 'ENOTSUP'];

const errnoNames = new Map<number, string>(
  Object.entries(koffi.os.errno)
    .filter(([name]) => !ALIASES.includes(name))
    .map(([name, value]) => [Number(value), name]),
);

/** The name of an errno value, e.g. 16 -> `EBUSY`, 11 -> `EAGAIN`. */
export function errnoName(value: number): string {
  return value === 0 ? 'none' : (errnoNames.get(value) ?? `errno ${value}`);
}

/** Reads a filled error struct. */
export function errorFrom(buffer: Buffer): NativeError {
  const text = (start: number, end: number): string => {
    const bytes = buffer.subarray(start, end);
    const nul = bytes.indexOf(0);
    return bytes.toString('utf8', 0, nul < 0 ? bytes.length : nul);
  };
  return new NativeError(errnoName(buffer.readInt32LE(0)), text(4, 32), text(32, 256));
}

// biome-ignore lint/suspicious/noExplicitAny: koffi's own shape of a declared function
type NativeCall = KoffiFunc<(...args: any[]) => any>;

let library: LibraryHandle | null = null;

/** libskep.so, loaded at first use. */
export function libskep(): LibraryHandle {
  library ??= koffi.load(nativeBuildPath('libskep.so'));
  return library;
}

/**
 * Declares `prototype` (C syntax) of libskep. The last C parameter must be `_Out_ uint8_t *err`.
 * The returned function runs the call on a worker thread (never blocks the event loop) and rejects
 * with a `NativeError` when it returns a negative number.
 */
export function declareAsync(prototype: string): (...args: unknown[]) => Promise<number> {
  let call: NativeCall | null = null;
  return (...args) =>
    new Promise((resolve, reject) => {
      call ??= libskep().func(prototype);
      const err = Buffer.allocUnsafe(ERROR_BYTES); // a failure fills what `errorFrom` reads, texts to their NUL
      call.async(...args, err, (failure: Error | null, result: number) => {
        if (failure) reject(failure);
        else if (result < 0) reject(errorFrom(err));
        else resolve(result);
      });
    });
}

/** As `declareAsync`, on the calling thread: only for calls that cannot block (microseconds). */
export function declareSync(prototype: string): (...args: unknown[]) => number {
  let call: NativeCall | null = null;
  return (...args) => {
    call ??= libskep().func(prototype);
    const err = Buffer.allocUnsafe(ERROR_BYTES); // a failure fills what `errorFrom` reads, texts to their NUL
    const result: number = call(...args, err);
    if (result < 0) throw errorFrom(err);
    return result;
  };
}

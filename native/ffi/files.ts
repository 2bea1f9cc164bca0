/** Small files of the kernel's, several at once (native/src/lib/files.c). Knows nothing of what they say. */
import { declareSync } from './library.ts';

const readFilesNative = declareSync(
  'int skep_read_files(const uint8_t *paths, uint32_t count, _Out_ uint8_t *out, uint32_t capacity, _Out_ uint8_t *err)',
);

/** `SKEP_NO_FILE` */
const NO_FILE = 0xffff_ffff;
/** Room for all that one call asks for: a machine of hundreds of CPUs and disks writes some tens of KB. */
const OUT_BYTES = 256 * 1024;
let out: Buffer | null = null;

/** Their contents without the last newline; null for one that is not there. On the calling thread. */
export function readFilesNow(paths: readonly string[]): (string | null)[] {
  out ??= Buffer.allocUnsafeSlow(OUT_BYTES);
  const bytes = out;
  readFilesNative(Buffer.from(`${paths.join('\0')}\0`), paths.length, bytes, OUT_BYTES);
  let at = 0;
  return paths.map(() => {
    const length = bytes.readUInt32LE(at);
    at += 4;
    if (length === NO_FILE) return null;
    const text = bytes.toString('latin1', at, at + length);
    at += length;
    return text.trimEnd();
  });
}

/** Files that are replaced, and trees that are removed, in one turn on another thread (native/src/lib/trees.c). */
import { NodeSmallFiles } from '../../common/base/small-files.ts';
import { declareAsync, NativeError } from './library.ts';

const replaceCall = declareAsync(
  'int skep_replace_file(const char *path, const char *unfinished, const uint8_t *bytes, uint32_t count, uint32_t mode, _Out_ uint8_t *err)',
);
const removeTreeCall = declareAsync(
  'int skep_remove_tree(const char *path, uint32_t entries_max, _Out_ uint8_t *err)',
);

/** Removed in one turn, in milliseconds: who else waits for a thread gets one meanwhile. */
const ENTRIES_AT_ONCE = 1_000;

/**
 * All of the old contents or all of the new when the process dies; what was being written then stays behind as `unfinished`.
 * Rejects with a `NativeError`.
 */
export async function replaceFile(
  path: string,
  text: string,
  { mode, unfinished }: { readonly mode: number; readonly unfinished: string },
): Promise<void> {
  const bytes = Buffer.from(text);
  await replaceCall(path, unfinished, bytes, bytes.length, mode);
}

/** A directory with all that is in it; links are followed nowhere. Fine when there is none. Rejects with a `NativeError`. */
export async function removeTree(path: string): Promise<void> {
  while ((await removeTreeCall(path, ENTRIES_AT_ONCE)) > 0);
}

/** As `NodeSmallFiles`, for files that are replaced again and again. */
export class NativeSmallFiles extends NodeSmallFiles {
  override async replace(path: string, text: string): Promise<void> {
    try {
      await replaceFile(path, text, { mode: 0o600, unfinished: `${path}.new` });
    } catch (err) {
      if (!(err instanceof NativeError) || err.errno !== 'ENOENT') throw err;
      await super.replace(path, text); // it makes the folder
    }
  }
}

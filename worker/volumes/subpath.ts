/** A part of a volume. What is in it is hostile: links in it lead nowhere but into it. */
import { closeSync, constants, openSync, readlinkSync } from 'node:fs';
import { posix } from 'node:path';
import { SkepError } from '../../common/base/errors.ts';
import { O_PATH, openInRoot } from '../../native/ffi/fs.ts';

/**
 * Where it really is now, without links. Whoever mounts that follows none: by then it may be another thing.
 * Throws `invalid-argument` for what leads out of the volume or is not there.
 */
export function partOfVolume(path: string, subpath: string): string {
  if (posix.isAbsolute(subpath) || subpath.split('/').includes('..')) {
    const words = `subpath must be a relative path within the volume: ${subpath}`;
    throw new SkepError('invalid-argument', words);
  }
  const root = openSync(path, O_PATH | constants.O_DIRECTORY);
  try {
    const part = openInRoot(root, subpath, O_PATH);
    try {
      return readlinkSync(`/proc/self/fd/${part}`);
    } finally {
      closeSync(part);
    }
  } catch (cause) {
    throw new SkepError('invalid-argument', `cannot access path ${subpath} of the volume`, {
      cause,
    });
  } finally {
    closeSync(root);
  }
}

/** Files of this machine as a tar, and back. Knows nothing of containers. */
import { posix } from 'node:path';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { extract, type Headers, pack } from 'tar-fs';

/** `path` and all that is in it, links as links. @param prefix its name in the tar; empty = only what is in it */
export function packLocal(path: string, prefix: string): Readable {
  const name = posix.basename(path);
  return pack(posix.dirname(path), {
    entries: [name],
    umask: 0,
    // There is no other word for a process or a socket in a tar: they are left out.
    strict: false,
    map: (header) => {
      header.name = renamed(header.name, prefix === '' ? '.' : prefix);
      return header;
    },
  });
}

export interface UnpackOptions {
  /** the tar is of a whole file system: its names have no common first part */
  readonly isRoot: boolean;
  /** owners as the tar says, else ours */
  readonly owners: boolean;
}

/** Makes `target` of a tar whose names begin with one and the same part. What cannot be made is returned, in words. */
export async function unpackLocal(
  tar: Readable,
  target: string,
  { isRoot, owners }: UnpackOptions,
): Promise<readonly string[]> {
  const skipped: string[] = [];
  const name = posix.basename(target);
  const place = (text: string): string => {
    const plain = text.replace(/^\/+/, '');
    return isRoot ? plain || '.' : renamed(plain, name);
  };
  const unpack = extract(isRoot ? target : posix.dirname(target), {
    chown: owners,
    umask: 0,
    // Links are copied as they are: what they point to is of the container.
    validateSymlinks: false,
    ignore: (path, header) => {
      const { type = 'file' } = header ?? {};
      const isMade = ['file', 'directory', 'symlink', 'link'].includes(type);
      if (!isMade) skipped.push(`${path}: ${type}`);
      return !isMade;
    },
    map: (header: Headers) => {
      header.name = place(header.name);
      if (header.type === 'link' && header.linkname) header.linkname = place(header.linkname);
      return header;
    },
  });
  await pipeline(tar, unpack);
  return skipped;
}

/** With another first part. */
function renamed(path: string, first: string): string {
  const [, ...rest] = path.split('/');
  return [first, ...rest].join('/');
}

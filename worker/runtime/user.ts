/**
 * "user[:group]" of an image or a spec -> numbers, by the container's own /etc/passwd and /etc/group.
 * Reads nothing itself; `imageFileReader` is the reader for unmounted image layers.
 */
import { constants } from 'node:fs';
import { lstat, open, readlink } from 'node:fs/promises';
import { SkepError } from '../../common/base/errors.ts';

export interface ResolvedUser {
  readonly uid: number;
  readonly gid: number;
  readonly additionalGids: readonly number[];
  /** for HOME; `/` when the user has no entry */
  readonly home: string;
}

/** A file of the container's root by its absolute path; null when there is none. */
export type RootfsReader = (path: string) => Promise<string | null>;

const ID_MAX = 2 ** 31 - 1;

interface PasswdEntry {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
  readonly home: string;
}

interface GroupEntry {
  readonly name: string;
  readonly gid: number;
  readonly members: readonly string[];
}

function rows(text: string | null, columnsMin: number): string[][] {
  return (text ?? '')
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => line.split(':'))
    .filter((columns) => columns.length >= columnsMin);
}

function parsePasswd(text: string | null): PasswdEntry[] {
  return rows(text, 4).map((c) => ({
    name: c[0]!,
    uid: Number(c[2]),
    gid: Number(c[3]),
    home: c[5] || '/',
  }));
}

function parseGroups(text: string | null): GroupEntry[] {
  return rows(text, 3).map((c) => ({
    name: c[0]!,
    gid: Number(c[2]),
    members: (c[3] ?? '').split(',').filter((member) => member !== ''),
  }));
}

/** A number in range, or null when the text is a name. */
function parseId(text: string, what: string): number | null {
  if (!/^\d+$/.test(text)) return null;
  const id = Number(text);
  if (id > ID_MAX) throw new SkepError('invalid-argument', `${what} ${text}: ids are 0..${ID_MAX}`);
  return id;
}

/**
 * Resolves `user`, `user:group`, ids or names; '' = root. Names must exist; an id need not. Further
 * groups are those that list the user's name, unless a group is given. Throws `invalid-argument`.
 */
export async function resolveUser(spec: string, read: RootfsReader): Promise<ResolvedUser> {
  const [userText = '', groupText] = spec.split(':', 2);
  const passwd = parsePasswd(await read('/etc/passwd'));
  const groups = parseGroups(await read('/etc/group'));
  const wanted = userText === '' ? '0' : userText;
  const id = parseId(wanted, 'user');
  // A name that consists of digits wins over the id, as in Docker.
  const entry = passwd.find((e) => e.name === wanted) ?? passwd.find((e) => e.uid === id);
  if (entry === undefined && id === null) {
    throw new SkepError(
      'invalid-argument',
      `unable to find user ${wanted}: no matching entries in passwd file`,
    );
  }
  const uid = entry?.uid ?? id ?? 0;
  const home = entry?.home ?? '/';
  if (groupText !== undefined && groupText !== '') {
    return { uid, gid: resolveGroup(groupText, groups), additionalGids: [], home };
  }
  const gid = entry?.gid ?? 0;
  const additional = groups.filter((g) => entry !== undefined && g.members.includes(entry.name));
  return { uid, gid, additionalGids: additional.map((g) => g.gid), home };
}

function resolveGroup(text: string, groups: readonly GroupEntry[]): number {
  const id = parseId(text, 'group');
  const entry = groups.find((g) => g.name === text);
  if (entry !== undefined) return entry.gid;
  if (id !== null) return id;
  throw new SkepError(
    'invalid-argument',
    `unable to find group ${text}: no matching entries in group file`,
  );
}

const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = constants;
const LINKS_MAX = 40;
const FILE_BYTES_MAX = 4 * 1024 * 1024;

/**
 * Reads files from image layers as the overlay would show them (top first, whiteouts and opaque
 * parents hide what is below); the root of a running container is one layer. Links are resolved inside the root, never by the host.
 */
export function imageFileReader(lowerDirs: readonly string[]): RootfsReader {
  return async (path) => {
    const real = await resolveInLayers(lowerDirs, path);
    return real === null ? null : readText(real);
  };
}

/** Null for what is no regular file any more: a running container may have put something else there meanwhile. */
async function readText(path: string): Promise<string | null> {
  const file = await open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  try {
    const status = await file.stat();
    if (!status.isFile() || status.size > FILE_BYTES_MAX) return null;
    const bytes = Buffer.alloc(status.size);
    const { bytesRead } = await file.read(bytes, 0, bytes.length, 0);
    return bytes.toString('utf8', 0, bytesRead);
  } finally {
    await file.close();
  }
}

/** The host path of a regular file of the image, or null. */
async function resolveInLayers(lowerDirs: readonly string[], path: string): Promise<string | null> {
  let pending = path.split('/').filter((part) => part !== '');
  let done: string[] = [];
  let links = 0;
  while (pending.length > 0) {
    const part = pending[0]!;
    pending = pending.slice(1);
    if (part === '.') continue;
    if (part === '..') {
      done = done.slice(0, -1);
      continue;
    }
    const found = await findInLayers(lowerDirs, [...done, part]);
    if (found === null) return null;
    if (found.kind === 'link') {
      if (++links > LINKS_MAX) return null;
      const target = await readlink(found.path);
      if (target.startsWith('/')) done = [];
      pending = [...target.split('/').filter((p) => p !== ''), ...pending];
    } else if (found.kind === 'file') {
      return pending.length === 0 ? found.path : null;
    } else {
      done = [...done, part];
    }
  }
  return null;
}

interface Found {
  readonly kind: 'file' | 'directory' | 'link';
  readonly path: string;
}

/**
 * The topmost entry. INVARIANT: the directories of `parts` above the last are no links in the merged
 * view (each was looked up before); in one layer they may still be: such a layer hides the rest.
 */
async function findInLayers(
  lowerDirs: readonly string[],
  parts: readonly string[],
): Promise<Found | null> {
  for (const layer of lowerDirs) {
    let path = layer;
    for (const [index, part] of parts.entries()) {
      path = `${path}/${part}`;
      const status = await lstat(path).catch(() => null);
      if (status === null) break; // not in this layer: look below
      const last = index === parts.length - 1;
      if (last) {
        if (status.isSymbolicLink()) return { kind: 'link', path };
        if (status.isDirectory()) return { kind: 'directory', path };
        // anything else: a whiteout (device 0:0), or nothing that could be read as text
        return status.isFile() && status.size <= FILE_BYTES_MAX ? { kind: 'file', path } : null;
      }
      if (!status.isDirectory()) return null;
    }
  }
  return null;
}

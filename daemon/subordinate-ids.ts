/** Which ids of this machine containers may have in user namespaces: /etc/subuid and /etc/subgid. */
import { readFile } from 'node:fs/promises';
import { SkepError } from '../common/base/errors.ts';
import type { IdMappings, UserNamespaces } from '../worker/executor/user-namespace.ts';
import type { OciIdMapping } from '../worker/runtime/oci.ts';

/** Whose ids `default` means, as by Docker. */
const DEFAULT_USER = 'dockremap';
const ID_MAX = 2 ** 32 - 2;

/** The text of a file below /etc; '' = there is none. */
export type ReadEtc = (name: string) => Promise<string>;

/**
 * @param remap of the flag; '' = only containers that ask have a user namespace, with the ids of `default`
 * Throws `invalid-argument` for a user, a group or ids that are not there.
 */
export async function userNamespaces(
  remap: string,
  read: ReadEtc = readEtc,
): Promise<UserNamespaces> {
  try {
    const mappings = await mappingsOf(remap === '' ? 'default' : remap, read);
    return { remap: remap === '' ? null : mappings, offered: mappings };
  } catch (err) {
    if (remap !== '' || !(err instanceof SkepError)) throw err;
    return {
      remap: null,
      offered: `this node was started without --userns-remap, and ${err.message}`,
    };
  }
}

async function mappingsOf(remap: string, read: ReadEtc): Promise<IdMappings> {
  const text = remap === 'default' ? DEFAULT_USER : remap;
  const [userText = '', groupText = userText, ...rest] = text.split(':');
  if (userText === '' || groupText === '' || rest.length > 0) {
    throw new SkepError('invalid-argument', `--userns-remap ${remap}: expected USER[:GROUP]`);
  }
  const user = nameOf(userText, await read('passwd'));
  const group = nameOf(groupText, await read('group'));
  return {
    uid: rangesOf('subuid', user, await read('subuid')),
    gid: rangesOf('subgid', group, await read('subgid')),
  };
}

interface Owner {
  readonly name: string;
  /** '' = not known here */
  readonly id: string;
}

/** By name or number, by lines like `name:x:id:...`. A name need not be known: the ids are what counts. */
function nameOf(text: string, lines: string): Owner {
  const rows = lines.split('\n').map((line) => line.split(':'));
  const row =
    rows.find(([name]) => name === text) ??
    (/^\d+$/.test(text) ? rows.find(([, , id]) => id === text) : undefined);
  return { name: row?.[0] ?? text, id: row?.[2] ?? (/^\d+$/.test(text) ? text : '') };
}

/** All of the owner's ranges, one behind the other from id 0 on. */
function rangesOf(file: string, { name, id }: Owner, text: string): OciIdMapping[] {
  const out: OciIdMapping[] = [];
  let next = 0;
  for (const [index, line] of text.split('\n').entries()) {
    const [owner = '', first = '', count = ''] = line.trim().split(':');
    if (owner === '' || (owner !== name && owner !== id)) continue;
    const range = { containerID: next, hostID: Number(first), size: Number(count) };
    const isWhole = /^\d+$/.test(first) && /^\d+$/.test(count) && range.size > 0;
    if (!isWhole || range.hostID + range.size > ID_MAX) {
      throw new SkepError(
        'invalid-argument',
        `/etc/${file}:${index + 1}: no range of ids: ${line}`,
      );
    }
    out.push(range);
    next += range.size;
  }
  if (out.length > 0) return out;
  throw new SkepError(
    'invalid-argument',
    `/etc/${file} has no ids for ${name}: it needs a line like ${name}:100000:65536`,
  );
}

async function readEtc(name: string): Promise<string> {
  try {
    return await readFile(`/etc/${name}`, 'utf8');
  } catch (err) {
    if ((err as NodeJS.ErrnoException).code === 'ENOENT') return '';
    throw err;
  }
}

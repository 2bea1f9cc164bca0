/** The OCI runtimes that this node offers: `--add-runtime`, and the two that distributions have, where they are. */
import { accessSync, constants, statSync } from 'node:fs';
import { SkepError } from '../common/base/errors.ts';
import { NATIVE_RUNTIME, type NodeRuntimes } from '../worker/executor/oci-runtimes.ts';

const KNOWN = ['crun', 'runc'];
const DIRECTORIES = ['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin'];
const NAME = /^[A-Za-z0-9][A-Za-z0-9_.-]*$/;

interface RuntimeWords {
  /** NAME=PATH */
  readonly added: readonly string[];
  /** '' = our own */
  readonly defaultName: string;
}

/** A file that may be executed. */
function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}

/** Throws `invalid-argument` for words that mean nothing, a program that is not there, a default that is not offered. */
export function nodeRuntimes(
  { added, defaultName }: RuntimeWords,
  exists: (path: string) => boolean = isProgram,
): NodeRuntimes {
  const others = new Map<string, string>();
  for (const name of KNOWN) {
    const path = DIRECTORIES.map((dir) => `${dir}/${name}`).find(exists);
    if (path !== undefined) others.set(name, path);
  }
  for (const text of added) {
    const [name, path] = parseAdded(text);
    if (!exists(path)) {
      throw new SkepError('invalid-argument', `--add-runtime ${text}: there is no program ${path}`);
    }
    others.set(name, path);
  }
  const chosen = defaultName === '' ? NATIVE_RUNTIME : defaultName;
  if (chosen !== NATIVE_RUNTIME && !others.has(chosen)) {
    const words = `--default-runtime: specified default runtime '${chosen}' does not exist`;
    throw new SkepError('invalid-argument', words);
  }
  return { defaultName: chosen, others };
}

function parseAdded(text: string): [string, string] {
  const at = text.indexOf('=');
  const [name, path] = [text.slice(0, Math.max(at, 0)), text.slice(at + 1)];
  if (!NAME.test(name) || !path.startsWith('/')) {
    throw new SkepError('invalid-argument', `--add-runtime ${text}: expected NAME=/PATH`);
  }
  if (name === NATIVE_RUNTIME) {
    throw new SkepError('invalid-argument', `--add-runtime ${text}: '${name}' is our own`);
  }
  return [name, path];
}

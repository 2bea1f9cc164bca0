/**
 * Where the reference scripts of etcd/raft lie, if they are at hand. They are not part of this
 * repository; without them the conformance suites skip.
 */
import { existsSync, readdirSync } from 'node:fs';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../../../shared/reference/raft-testdata', import.meta.url));

export const REFERENCE_MISSING = `etcd/raft test data is not at ${ROOT}`;

/** The scripts of one suite as (name, path), sorted; null when the data is absent. */
export function referenceScripts(
  suite: 'quorum' | 'confchange' | 'interaction',
): { name: string; path: string }[] | null {
  const folder = join(ROOT, suite);
  if (!existsSync(folder)) return null;
  return readdirSync(folder)
    .filter((file) => file.endsWith('.txt'))
    .sort()
    .map((file) => ({ name: basename(file, '.txt'), path: join(folder, file) }));
}

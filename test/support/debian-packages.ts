/** Programs of Debian that are too heavy to install for one test: downloaded, unpacked into a folder and run from there. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { run, succeeded } from './cluster.ts';

const LIMIT_MS = 120_000;

/** Unpacks packages into `dir`/root, which it returns. Rejects when they cannot be had. */
export async function unpackPackages(dir: string, names: readonly string[]): Promise<string> {
  const root = join(dir, 'root');
  const options = { cwd: dir, limitMs: LIMIT_MS };
  succeeded(await run(['apt-get', 'download', ...names], options));
  for (const file of readdirSync(dir).filter((name) => name.endsWith('.deb'))) {
    succeeded(await run(['dpkg', '-x', join(dir, file), root], options));
  }
  return root;
}

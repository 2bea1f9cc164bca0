/**
 * Programs of the tests as one file of JavaScript each. Run by tsx, a program has a hundred files transformed at each of its
 * starts, which takes half a second of CPU, and ten in a machine that is emulated. Packages stay where they are.
 */
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { buildSync } from 'esbuild';

const root = join(import.meta.dirname, '../..');
const made = new Map<string, string>();

/** Path of the program. @param source its file in this folder, e.g. `network-host.ts` */
export function bundled(source: string): string {
  let path = made.get(source);
  if (path === undefined) {
    path = bundle(join(import.meta.dirname, source));
    made.set(source, path);
  }
  return path;
}

function bundle(entry: string): string {
  const { outputFiles } = buildSync({
    entryPoints: [entry],
    bundle: true,
    write: false,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    packages: 'external',
    sourcemap: 'inline',
    // Files are looked for beside the sources.
    define: {
      'import.meta.url': JSON.stringify(pathToFileURL(entry).href),
      'import.meta.dirname': JSON.stringify(import.meta.dirname),
    },
  });
  const code = outputFiles[0]!.contents;
  // By content: two suites may make it at once, of different sources.
  const hash = createHash('sha256').update(code).digest('hex').slice(0, 12);
  const dir = join(root, 'dist/test-programs');
  const path = join(dir, `${basename(entry, '.ts')}-${hash}.mjs`);
  if (existsSync(path)) return path;
  mkdirSync(dir, { recursive: true });
  const fresh = `${path}.${process.pid}`;
  writeFileSync(fresh, code);
  renameSync(fresh, path);
  return path;
}

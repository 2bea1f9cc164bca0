/**
 * Programs of the tests as one file of JavaScript each. Run by tsx, a program has a hundred files transformed at each of its
 * starts, which takes half a second of CPU, and ten in a machine that is emulated. Packages stay where they are.
 */
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { build, buildSync, type Plugin } from 'esbuild';

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

/** Files are looked for beside the sources, wherever those are. */
const PLACES: Plugin = {
  name: 'places',
  setup: ({ onLoad }) => {
    onLoad({ filter: /\.ts$/ }, ({ path }) => {
      const places = {
        'import.meta.url': pathToFileURL(path).href,
        'import.meta.dirname': dirname(path),
      };
      let contents = readFileSync(path, 'utf8');
      for (const [words, place] of Object.entries(places)) {
        contents = contents.replaceAll(words, JSON.stringify(place));
      }
      return { contents, loader: 'ts' };
    });
  },
};

/**
 * A folder with suites as JavaScript, `NAME.test.mjs` for each, what they share in files of its own, and a configuration of
 * vitest that has nothing left to transform. @param suites paths from the package's root
 */
export async function bundledSuites(suites: readonly string[]): Promise<string> {
  const dir = join(root, 'dist/test-programs', `suites-${process.pid}`);
  rmSync(dir, { recursive: true, force: true });
  await build({
    entryPoints: suites.map((suite) => join(root, suite)),
    outdir: dir,
    outExtension: { '.js': '.mjs' },
    bundle: true,
    splitting: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    packages: 'external',
    plugins: [PLACES],
    logLevel: 'error',
  });
  const config = `export default { test: { include: ['*.test.mjs'], server: { deps: { external: [/chunk-/] } } } };\n`;
  writeFileSync(join(dir, 'vitest.config.mjs'), config);
  return dir;
}

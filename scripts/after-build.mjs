// What tsc does not do: generated protobuf code goes to dist beside the compiled code, and all of it without blanks and
// comments: V8 keeps the source of what it runs, in a daemon 5 MB of it.
import { copyFileSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { transformSync } from 'esbuild';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
/** Names stay, and lines that a stack trace can point to. */
const COMPACT = {
  ...{ minifyWhitespace: true, minifySyntax: true, legalComments: 'none', lineLimit: 120 },
  ...{ sourcemap: 'external', sourcesContent: false },
};
const MAP_COMMENT = '//# sourceMappingURL=';

const dist = join(root, 'dist');
for (const folder of ['cli', 'common', 'daemon', 'manager', 'native', 'worker']) {
  for (const name of readdirSync(join(dist, folder), { recursive: true })) {
    if (name.endsWith('.js')) compact(join(dist, folder, name));
  }
}

/** Its map goes on to say where in our source a line comes from: what it was until now is given along. */
function compact(path) {
  const mapPath = `${path}.map`;
  const given = readFileSync(mapPath).toString('base64');
  const [bare] = readFileSync(path, 'utf8').split(MAP_COMMENT);
  const text = `${bare}${MAP_COMMENT}data:application/json;base64,${given}`;
  const { code, map } = transformSync(text, { ...COMPACT, sourcefile: basename(path) });
  writeFileSync(path, `${code}${MAP_COMMENT}${basename(mapPath)}\n`);
  writeFileSync(mapPath, map);
}

const [from, to] = [join(root, 'proto', 'gen'), join(root, 'dist', 'proto', 'gen')];
mkdirSync(to, { recursive: true });
copyFileSync(join(from, 'skep.d.ts'), join(to, 'skep.d.ts'));
const { code } = transformSync(readFileSync(join(from, 'skep.js'), 'utf8'), { minify: true, format: 'esm' });
writeFileSync(join(to, 'skep.js'), code);

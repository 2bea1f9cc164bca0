// What tsc does not do: generated protobuf code goes to dist beside the compiled code. Without the blanks: V8
// keeps the source of what it runs, and this one has 2 MB.
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { transformSync } from 'esbuild';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const [from, to] = [join(root, 'proto', 'gen'), join(root, 'dist', 'proto', 'gen')];
mkdirSync(to, { recursive: true });
copyFileSync(join(from, 'skep.d.ts'), join(to, 'skep.d.ts'));
const { code } = transformSync(readFileSync(join(from, 'skep.js'), 'utf8'), { minify: true, format: 'esm' });
writeFileSync(join(to, 'skep.js'), code);

// `npm run bench -- NAME` compiles the product and the benchmarks as the product is compiled (a loader
// that compiles on the fly keeps function names, which costs in hot paths), then runs bench/NAME.ts.
// The working directory is the root of the repository.
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const [name, ...rest] = process.argv.slice(2);
if (!name || !existsSync(join(root, 'bench', `${name}.ts`))) {
  const dir = join(root, 'bench');
  const known = (existsSync(dir) ? readdirSync(dir) : [])
    .filter((entry) => entry.endsWith('.ts'))
    .map((entry) => entry.slice(0, -3));
  process.stderr.write(`usage: npm run bench -- NAME [ARG...]   (${known.join(', ') || 'there is none yet'})\n`);
  process.exit(2);
}

function run(command, args) {
  const { status } = spawnSync(command, args, { stdio: 'inherit', cwd: root });
  if (status !== 0) process.exit(status ?? 1);
}

const out = join(root, 'dist', 'benchmark');
if (!existsSync(join(root, 'proto', 'gen'))) run(process.execPath, ['scripts/proto.mjs']);
run(join(root, 'node_modules', '.bin', 'tsc'), ['-p', 'tsconfig.bench.json']);
mkdirSync(join(out, 'proto'), { recursive: true });
cpSync(join(root, 'proto', 'gen'), join(out, 'proto', 'gen'), { recursive: true });
// With the daemon's flags: some benchmarks run parts of it in this process.
const flags = /^exec node ((?:--\S+ )*)-- "\$main"/m.exec(readFileSync(join(root, 'bin', 'skepd'), 'utf8'))[1].trim();
run(process.execPath, [...flags.split(' ').filter(Boolean), join(out, 'bench', `${name}.js`), ...rest]);

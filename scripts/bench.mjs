// `npm run bench -- NAME` runs bench/NAME.ts, which prints key=value lines.
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const [name, ...rest] = process.argv.slice(2);
const file = join(root, 'bench', `${name}.ts`);
if (!name || !existsSync(file)) {
  const dir = join(root, 'bench');
  const known = (existsSync(dir) ? readdirSync(dir) : [])
    .filter((entry) => entry.endsWith('.ts'))
    .map((entry) => entry.slice(0, -3));
  process.stderr.write(`usage: npm run bench -- NAME [ARG...]   (${known.join(', ') || 'there is none yet'})\n`);
  process.exit(2);
}
const { status } = spawnSync(process.execPath, ['--import', 'tsx', file, ...rest], {
  stdio: 'inherit',
  cwd: root,
});
process.exit(status ?? 1);

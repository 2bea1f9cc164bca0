import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, test } from 'vitest';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'skep-launcher-'));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

test.each([
  ['skep', 'dist/cli'],
  ['skepd', 'dist/daemon'],
])('bin/%s hands every flag to the program, also those that node has as well', (name, program) => {
  mkdirSync(join(dir, 'bin'));
  mkdirSync(join(dir, program), { recursive: true });
  const launcher = join(dir, 'bin', name);
  copyFileSync(fileURLToPath(new URL(`../../../bin/${name}`, import.meta.url)), launcher);
  writeFileSync(
    join(dir, program, 'main.js'),
    'console.log(JSON.stringify(process.argv.slice(2)))',
  );
  const flags = ['stack', 'deploy', '--env-file', '/no/such/file', '--version'];
  expect(JSON.parse(execFileSync('sh', [launcher, ...flags], { encoding: 'utf8' }))).toEqual(flags);
});

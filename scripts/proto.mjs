// Generates proto/gen (JavaScript and types) from proto/*.proto. Skips when nothing changed.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, renameSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const protoDir = join(root, 'proto');
const outDir = join(protoDir, 'gen');
const outJs = join(outDir, 'skep.js');
const outTypes = join(outDir, 'skep.d.ts');
const sources = readdirSync(protoDir)
  .filter((name) => name.endsWith('.proto'))
  .sort()
  .map((name) => join(protoDir, name));

const newest = Math.max(
  ...[...sources, fileURLToPath(import.meta.url)].map((path) => statSync(path).mtimeMs),
);
const upToDate =
  existsSync(outJs) && existsSync(outTypes) && statSync(outTypes).mtimeMs >= newest;
if (!upToDate) {
  mkdirSync(outDir, { recursive: true });
  const bin = (name) => join(root, 'node_modules', '.bin', name);
  // 64-bit values are checked numbers: common/wire rejects what a double cannot hold.
  execFileSync(
    bin('pbjs'),
    ['-t', 'static-module', '-w', 'es6', '--no-service', '--no-verify', '--no-delimited',
      '--es6', '--dependency', 'protobufjs/minimal.js', '-o', outJs, ...sources],
    { stdio: 'inherit' },
  );
  execFileSync(bin('pbts'), ['-o', `${outTypes}.new`, outJs], { stdio: 'inherit' });
  renameSync(`${outTypes}.new`, outTypes);
}

// The unpacker against GNU tar's own formats. Root, because devices and owners are made.
import { execFileSync } from 'node:child_process';
import {
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { getXattr } from '../../native/ffi/fs.ts';
import { LayerWriter } from '../../worker/images/layer-writer.ts';
import { TarReader } from '../../worker/images/tar-reader.ts';
import { sha256 } from '../support/image-builder.ts';

const isRoot = process.getuid?.() === 0;

let dir: string;

beforeEach(() => {
  dir = mkdtempSync('/var/tmp/skep-unpack-');
});

afterEach(() => {
  rmSync(dir, { recursive: true, force: true });
});

/** Everything that a tree says about itself, path by path. */
function listing(root: string): Record<string, unknown> {
  const found: Record<string, unknown> = {};
  const inodes = new Map<number, string>();
  const visit = (path: string): void => {
    const full = join(root, path);
    const stats = lstatSync(full);
    const first = inodes.get(stats.ino) ?? path;
    inodes.set(stats.ino, first);
    const content = stats.isFile() ? sha256(readFileSync(full)) : null;
    found[path] = {
      mode: stats.mode.toString(8),
      owner: `${stats.uid}:${stats.gid}`,
      device: stats.rdev,
      seconds: Math.floor(stats.mtimeMs / 1000),
      link: stats.isSymbolicLink() ? readlinkSync(full) : first,
      content,
      note: getXattr(full, 'user.note')?.toString() ?? null,
    };
    if (stats.isDirectory()) for (const name of readdirSync(full).sort()) visit(join(path, name));
  };
  visit('.');
  return found;
}

describe.skipIf(!isRoot)('layer writer against GNU tar (needs root)', () => {
  function makeTree(): string {
    const tree = join(dir, 'tree');
    const script = `
      mkdir -p tree/d/e "tree/with space" && cd tree
      echo one > d/one; ln d/one d/e/same; ln -s ../d/one d/link; ln -s /absolute abs
      mknod null c 1 3; mknod loop b 7 300; mkfifo pipe
      chown 12345:54321 d/one; chmod 6755 d/one; chmod 1777 d/e
      touch -d '2001-02-03 04:05:06' d/one d/e; touch -h -d '1999-01-01' abs
      printf x > sparse; truncate -s 3M sparse; printf end >> sparse; truncate -s 9M sparse
      n=$(printf 'n%.0s' $(seq 90)); mkdir -p long/$n/$n; echo deep > long/$n/$n/$n
      printf 'bytes \\303\\274' > "with space/\\303\\274ml"`;
    execFileSync('bash', ['-ec', script], { cwd: dir });
    return tree;
  }

  test.each([
    ['gnu', []],
    ['gnu', ['--sparse']],
    ['posix', []],
    ['posix', ['--sparse']],
    ['posix', ['--sparse', '--sparse-version=0.1']],
  ])('%s %j comes out as it went in', (format, options) => {
    const tree = makeTree();
    const archive = join(dir, 'tree.tar');
    execFileSync('tar', ['-C', tree, `--format=${format}`, ...options, '-cf', archive, '.']);
    const out = join(dir, 'out');
    mkdirSync(out);
    const writer = new LayerWriter(out);
    const reader = new TarReader(writer);
    const bytes = readFileSync(archive);
    for (let at = 0; at < bytes.length; at += 10_007) {
      reader.push(Buffer.from(bytes.subarray(at, at + 10_007)));
    }
    reader.finish();
    const summary = writer.finish();
    expect(listing(out)).toEqual(listing(tree));
    expect(summary.implicitDirectories).toEqual([]);
    if (options.length > 0) {
      expect(lstatSync(join(out, 'sparse')).blocks).toBeLessThan(1000); // holes stay holes
    }
  });
});

// The unpacker against GNU tar's own formats, and the whole store against kill -9.
import { execFileSync, spawn } from 'node:child_process';
import {
  createReadStream,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { SystemClock } from '../../common/base/clock.ts';
import { silentLogger } from '../../common/base/log.ts';
import { SeededRandom, SystemRandom } from '../../common/base/random.ts';
import { getXattr } from '../../native/ffi/fs.ts';
import { ImageStore } from '../../worker/images/image-store.ts';
import { LayerWriter } from '../../worker/images/layer-writer.ts';
import { TarReader } from '../../worker/images/tar-reader.ts';
import { buildBusyboxImage, sha256 } from '../support/image-builder.ts';

const isRoot = process.getuid?.() === 0;
const SOURCE_ROOT = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

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

describe.skipIf(!isRoot)('image store against kill -9 (needs root)', () => {
  const open = (): ImageStore =>
    new ImageStore({
      dir: join(dir, 'images'),
      clock: new SystemClock(),
      random: new SystemRandom(),
      log: silentLogger,
      tell: () => {},
    });

  test('killed at any moment of a load, it starts clean and loads again', async () => {
    const outTar = join(dir, 'image.tar');
    const files = Object.fromEntries(
      Array.from({ length: 300 }, (_, i) => [`f/${i % 7}/${i}`, `${i}`.repeat(i * 10)]),
    );
    const { id } = buildBusyboxImage({ name: 'web:1', outTar, files, gzipLayers: true });
    const script = join(dir, 'load.mts');
    writeFileSync(script, loadScript(outTar));
    const random = new SeededRandom(7);
    for (let round = 0; round < 6; round++) {
      await killDuring(script, 250 + random.below(700));
      const store = open();
      await store.start();
      const image = store.get('web:1');
      if (image) {
        const { lowerDirs } = await store.acquireRootfs('c', image.id);
        expect(readFileSync(join(lowerDirs[0]!, 'f/5/299'), 'utf8')).toBe('299'.repeat(2990));
        await store.releaseRootfs('c');
        await store.remove('web:1', { force: false });
      }
      await store.load(createReadStream(outTar));
      expect(store.get('web:1')?.id).toBe(id);
      await store.remove('web:1', { force: false });
      await store.stop();
      expect(readdirSync(join(dir, 'images/l'))).toEqual([]);
      expect(readdirSync(join(dir, 'images/ingest'))).toEqual([]);
    }
  }, 60_000);

  function loadScript(archive: string): string {
    const at = (path: string): string => JSON.stringify(join(SOURCE_ROOT, path));
    return `
      import { createReadStream } from 'node:fs';
      import { SystemClock } from ${at('common/base/clock.ts')};
      import { silentLogger } from ${at('common/base/log.ts')};
      import { SystemRandom } from ${at('common/base/random.ts')};
      import { ImageStore } from ${at('worker/images/image-store.ts')};
      const store = new ImageStore({ dir: ${JSON.stringify(join(dir, 'images'))},
        clock: new SystemClock(), random: new SystemRandom(), log: silentLogger,
        tell: () => {} });
      await store.start();
      process.stdout.write('started');
      await store.load(createReadStream(${JSON.stringify(archive)}));
      await store.stop();
    `;
  }

  /** Kills the loader `afterMs` after its store has started (or lets it end before). */
  async function killDuring(script: string, afterMs: number): Promise<void> {
    const child = spawn(process.execPath, ['--import', 'tsx', script], {
      cwd: SOURCE_ROOT,
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const ended = new Promise((resolve) => child.once('exit', resolve));
    await Promise.race([new Promise((resolve) => child.stdout.once('data', resolve)), ended]);
    await new Promise((resolve) => setTimeout(resolve, afterMs));
    child.kill('SIGKILL');
    await ended;
    expect(existsSync(join(dir, 'images'))).toBe(true);
  }
});

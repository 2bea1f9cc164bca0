// Archives of images on their way in and out: as others read and write them, several images in one, compressed, and larger than
// what may be held in memory. Root, because layers are unpacked.
import { execFileSync } from 'node:child_process';
import {
  createReadStream,
  createWriteStream,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
} from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { describe, expect, test } from 'vitest';
import type { ImageStore } from '../../worker/images/image-store.ts';
import { buildBusyboxImage, hasZstd, layerTar } from '../support/image-builder.ts';
import { hasSkopeo } from '../support/image-registry.ts';
import { imageStores } from '../support/image-stores.ts';

const isRoot = process.getuid?.() === 0;
const hasUmoci = existsSync('/usr/bin/umoci');
const MIB = 1024 * 1024;
const open = imageStores();

const skopeo = (...argv: readonly string[]): string =>
  execFileSync('skopeo', argv, { stdio: ['ignore', 'pipe', 'pipe'] }).toString();

const NAMES = ['one:1', 'two:2'] as const;

/** Two images with a layer in common, saved in one archive. */
async function saved(): Promise<{ store: ImageStore; dir: string; path: string; ids: string[] }> {
  const { store, dir } = await open();
  const ids: string[] = [];
  for (const name of NAMES) {
    const outTar = join(dir, 'image.tar');
    const layers = [{ files: { base: 'shared' } }, { files: { name } }];
    ids.push(buildBusyboxImage({ name, outTar, layers, cmd: [name] }).id);
    await store.load(createReadStream(outTar));
  }
  const path = join(dir, 'saved.tar');
  await pipeline(store.save(NAMES), createWriteStream(path));
  return { store, dir, path, ids };
}

describe.skipIf(!isRoot)('an archive of several images (needs root)', () => {
  test.skipIf(!hasZstd).each([
    ['plain', null, ''],
    ['gzip', 'gzip', '.gz'],
    ['zstd', 'zstd', '.zst'],
  ] as const)('comes back as it went, %s', async (_, program, suffix) => {
    const { store, path, ids } = await saved();
    if (program !== null) execFileSync(program, ['-q', '-k', path]);
    for (const id of ids) await store.remove(id, { force: true });
    const loaded = await store.load(createReadStream(`${path}${suffix}`));
    expect(loaded).toEqual([
      { id: ids[0], reference: 'one:1' },
      { id: ids[1], reference: 'two:2' },
    ]);
  });

  test.skipIf(!hasSkopeo)(
    'is read by skopeo, each image, as docker-archive and as OCI layout',
    async () => {
      const { dir, path, ids } = await saved();
      for (const [i, name] of NAMES.entries()) {
        const copy = join(dir, `copy${i}`);
        skopeo('copy', '-q', `docker-archive:${path}:${name}`, `dir:${copy}`);
        const { config } = JSON.parse(readFileSync(join(copy, 'manifest.json'), 'utf8'));
        expect(config.digest).toBe(ids[i]);
      }
      const layout = join(dir, 'layout');
      mkdirSync(layout);
      execFileSync('tar', ['-C', layout, '-xf', path]);
      const { manifests } = JSON.parse(readFileSync(join(layout, 'index.json'), 'utf8'));
      expect(manifests).toHaveLength(2);
      for (const name of NAMES) {
        const tag = name.split(':')[1];
        const raw = skopeo('inspect', '--config', '--raw', `oci:${layout}:${tag}`);
        expect(JSON.parse(raw).config.Cmd).toEqual([name]);
      }
    },
  );

  test('is whole though its images are removed while it is written', async () => {
    const { store, dir, ids } = await saved();
    const archive = store.save(NAMES);
    await new Promise((resolve) => archive.once('readable', resolve));
    for (const id of ids) await store.remove(id, { force: true });
    const path = join(dir, 'again.tar');
    await pipeline(archive, createWriteStream(path));
    expect(store.list()).toEqual([]);
    expect(await store.load(createReadStream(path))).toHaveLength(2);
  });
});

describe.skipIf(!isRoot || !hasSkopeo || !hasUmoci)(
  'an OCI layout (needs root, skopeo, umoci)',
  () => {
    test('that umoci wrote is pushed by skopeo, loaded here, and saved for umoci again', async () => {
      const { store, dir } = await open();
      const outTar = join(dir, 'image.tar');
      buildBusyboxImage({ name: 'web:1', outTar, files: { 'etc/by': 'us' } });
      const layout = join(dir, 'layout');
      skopeo('copy', '-q', `docker-archive:${outTar}`, `oci:${layout}:web`);
      const bundle = join(dir, 'bundle');
      execFileSync('umoci', ['unpack', '--image', `${layout}:web`, bundle]);
      execFileSync('sh', ['-c', 'echo umoci > etc/by && rm bin/sh'], {
        cwd: join(bundle, 'rootfs'),
      });
      execFileSync('umoci', ['repack', '--image', `${layout}:web`, bundle]);
      const archive = join(dir, 'oci.tar');
      skopeo('copy', '-q', `oci:${layout}:web`, `oci-archive:${archive}:me/web:2`);
      await store.load(createReadStream(archive));
      const image = store.get('me/web:2')!;
      expect(image.layers).toHaveLength(3);
      const { lowerDirs } = await store.acquireRootfs('c1', image.id);
      expect(readFileSync(join(lowerDirs[0]!, 'etc/by'), 'utf8')).toBe('umoci\n');
      const again = join(dir, 'again');
      mkdirSync(again);
      await pipeline(store.save(['me/web:2']), createWriteStream(`${again}.tar`));
      execFileSync('tar', ['-C', again, '-xf', `${again}.tar`]);
      execFileSync('umoci', ['unpack', '--image', `${again}:2`, join(dir, 'other')]);
      const rootfs = join(dir, 'other/rootfs');
      expect(readFileSync(join(rootfs, 'etc/by'), 'utf8')).toBe('umoci\n');
      expect(readdirSync(join(rootfs, 'bin'))).not.toContain('sh');
    });
  },
);

describe.skipIf(!isRoot)('a large archive (needs root)', () => {
  /** Of an archive that is in memory here, what has arrived in the store's folder of half-made things. */
  const arrivedBytes = (dir: string): number =>
    readdirSync(join(dir, 'images/ingest'))
      .map(
        (name) => statSync(join(dir, 'images/ingest', name), { throwIfNoEntry: false })?.size ?? 0,
      )
      .reduce((sum, size) => sum + size, 0);

  test('is written to the disk as it comes, not held', async () => {
    const { store, dir } = await open();
    const outTar = join(dir, 'image.tar');
    const big = layerTar({ files: { big: Buffer.alloc(64 * MIB, 'not all the same. ') } });
    buildBusyboxImage({ name: 'big:1', outTar, empty: true, tars: [big] });
    const archive = readFileSync(outTar);
    const held: number[] = [];
    const source = Readable.from(
      (async function* () {
        for (let at = 0; at < archive.length; at += 64 * 1024) {
          yield archive.subarray(at, at + 64 * 1024);
          if (at % (8 * MIB) === 0) held.push(at - arrivedBytes(dir));
        }
      })(),
      { objectMode: false },
    );
    await store.load(source);
    expect(store.get('big:1')).toBeDefined();
    expect(held).toHaveLength(9);
    expect(Math.max(...held)).toBeLessThan(MIB);
  });
});

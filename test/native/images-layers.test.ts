// Layers on their way: compressed by zstd, shared by images, so many at once; and layouts that umoci wrote and reads. Root,
// because layers are unpacked.
import { execFileSync, spawn } from 'node:child_process';
import {
  createWriteStream,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
} from 'node:fs';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { isOpaque, isWhiteout } from '../../native/ffi/fs.ts';
import { eventually } from '../support/cluster.ts';
import { FaultProxy } from '../support/fault-proxy.ts';
import { FaultyRegistry } from '../support/faulty-registry.ts';
import { buildBusyboxImage, sha256 } from '../support/image-builder.ts';
import {
  hasDockerRegistry,
  hasSkopeo,
  push,
  startRegistry,
  type TestRegistry,
} from '../support/image-registry.ts';
import { imageStores } from '../support/image-stores.ts';

const isRoot = process.getuid?.() === 0;
const hasUmoci = existsSync('/usr/bin/umoci');
const ZSTD_MAGIC = Buffer.from('28b52ffd', 'hex');
/** As in the puller, over all pulls of a node. */
const DOWNLOADS_MAX = 4;
const open = imageStores();

const unpacked = (dir: string): string[] =>
  readdirSync(join(dir, 'images/l')).filter((name) => !name.includes('.'));

describe.skipIf(!isRoot || !hasDockerRegistry || !hasSkopeo)(
  'layers from docker-registry (needs root, docker-registry, skopeo)',
  () => {
    let peerDir: string;
    let registry: TestRegistry;

    beforeAll(async () => {
      peerDir = mkdtempSync('/var/tmp/skep-layers-peer-');
      registry = await startRegistry({ dir: peerDir });
    });

    afterAll(async () => {
      await registry.stop();
      rmSync(peerDir, { recursive: true, force: true });
    });

    /** By skopeo. @param own what the image has on top of the layers that all of these have */
    function pushed(name: string, own: string, ...flags: readonly string[]): void {
      const outTar = join(peerDir, 'image.tar');
      const layers = [{ files: { base: 'shared' } }, { files: { own } }];
      buildBusyboxImage({ name, outTar, layers });
      push(registry, outTar, name, ...flags);
    }

    test('layers that skopeo compressed by zstd arrive', async () => {
      pushed('packed:1', 'zstd', '--format', 'oci', '--dest-compress-format', 'zstd');
      const { store, dir } = await open();
      const image = await store.pull(`${registry.host}/packed:1`, null);
      const blobs = readdirSync(join(dir, 'images/blobs/sha256')).map((name) =>
        readFileSync(join(dir, 'images/blobs/sha256', name)),
      );
      expect(blobs.filter((blob) => blob.subarray(0, 4).equals(ZSTD_MAGIC))).toHaveLength(3);
      const { lowerDirs } = await store.acquireRootfs('c1', image.id);
      expect(readFileSync(join(lowerDirs[0]!, 'own'), 'utf8')).toBe('zstd');
    });

    test('of a second image that shares all but the last layer that alone is sent and unpacked', async () => {
      pushed('shared:1', 'first');
      pushed('shared:2', 'second');
      const door = new FaultProxy(registry.host);
      await door.start();
      try {
        const { store, dir } = await open();
        const first = await store.pull(`${door.host}/shared:1`, null);
        const before = new Map(
          unpacked(dir).map((name) => [name, lstatSync(join(dir, 'images/l', name)).ino]),
        );
        expect(before.size).toBe(3);
        door.requests.length = 0;
        const second = await store.pull(`${door.host}/shared:2`, null);
        expect(second.layers.slice(0, 2)).toEqual(first.layers.slice(0, 2));
        // The config and the layer.
        expect(door.asked('GET', /\/blobs\//)).toHaveLength(2);
        const after = unpacked(dir);
        expect(after).toHaveLength(4);
        for (const [name, inode] of before) {
          expect(lstatSync(join(dir, 'images/l', name)).ino).toBe(inode);
        }
        const { lowerDirs } = await store.acquireRootfs('c1', second.id);
        expect(readFileSync(join(lowerDirs[0]!, 'own'), 'utf8')).toBe('second');
      } finally {
        await door.stop();
      }
    });
  },
);

describe.skipIf(!isRoot)('many layers (needs root)', () => {
  test(`come ${DOWNLOADS_MAX} at once, over all pulls`, async () => {
    const registry = new FaultyRegistry({ moreLayers: 6 });
    await registry.start();
    const door = new FaultProxy(registry.host);
    await door.start();
    try {
      const isLayer = (url: string): boolean =>
        url.includes('/blobs/') && !url.endsWith(sha256(registry.config));
      const held: (() => void)[] = [];
      let sent = 0;
      door.fault = ({ url }) => {
        if (!isLayer(url)) return null;
        return { kind: 'hold', until: new Promise<void>((resolve) => held.push(resolve)) };
      };
      const { store } = await open();
      const name = `${door.host}/app:1`;
      const pulls = [store.pull(name, null), store.pull(name, null)];
      for (; sent < 7; sent++) {
        const asked = Math.min(7, sent + DOWNLOADS_MAX);
        const all = (): void => expect(held).toHaveLength(asked);
        await eventually('as many are asked for as may be', all, { withinMs: 10_000, everyMs: 5 });
        // Whatever else was to be asked for is on its way before this is answered.
        await (await fetch(`http://${door.host}/v2/`)).text();
        all();
        held[sent]!();
      }
      const [first, second] = await Promise.all(pulls);
      expect(first!.layers).toHaveLength(7);
      expect(second!.id).toBe(first!.id);
    } finally {
      await door.stop();
      await registry.stop();
    }
  });
});

describe.skipIf(!isRoot || !hasUmoci)('umoci (needs root, umoci)', () => {
  const umoci = (...argv: readonly string[]): string =>
    execFileSync('umoci', argv, { stdio: ['ignore', 'pipe', 'pipe'] }).toString();
  /** As people hand layouts on. */
  const archived = (layout: string): Readable =>
    spawn('tar', ['-C', layout, '-c', '.'], { stdio: ['ignore', 'pipe', 'inherit'] }).stdout;
  const sh = (script: string, cwd: string): string =>
    execFileSync('sh', ['-ec', script], { cwd }).toString();

  /** A layout of one image: two layers, the second takes away from the first; all by umoci. */
  function written(dir: string): string {
    const image = `${dir}/layout:umoci/app:1`;
    umoci('init', '--layout', `${dir}/layout`);
    umoci('new', '--image', image);
    umoci('unpack', '--image', image, `${dir}/bundle`);
    sh(
      'mkdir -p d/old own; echo 1 > d/gone; echo 2 > d/old/x; echo 3 > own/f',
      `${dir}/bundle/rootfs`,
    );
    sh(
      'ln own/f own/hard; ln -s /etc/x own/soft; mknod own/null c 1 3; chown 7:8 own/f; chmod 4750 own/f',
      `${dir}/bundle/rootfs`,
    );
    umoci('repack', '--refresh-bundle', '--image', image, `${dir}/bundle`);
    sh('rm d/gone; rm -r d/old; mkdir d/old; echo 4 > d/old/y', `${dir}/bundle/rootfs`);
    umoci('repack', '--image', image, `${dir}/bundle`);
    umoci('config', '--image', image, '--config.cmd', '/bin/app', '--config.env', 'A=1');
    return `${dir}/layout`;
  }

  test('writes layouts that are loaded', async () => {
    const { store, dir } = await open();
    const layout = written(dir);
    const loaded = await store.load(archived(layout));
    expect(loaded.map(({ reference }) => reference)).toEqual(['umoci/app:1']);
    const image = store.get('umoci/app:1')!;
    expect(image.config).toMatchObject({ cmd: ['/bin/app'] });
    expect(image.config.env).toContain('A=1');
    const { lowerDirs } = await store.acquireRootfs('c1', image.id);
    expect(lowerDirs).toHaveLength(2);
    const [top, base] = lowerDirs as [string, string];
    expect(isWhiteout(lstatSync(join(top, 'd/gone')))).toBe(true);
    expect(isOpaque(join(top, 'd/old')) || isWhiteout(lstatSync(join(top, 'd/old/x')))).toBe(true);
    expect(readFileSync(join(top, 'd/old/y'), 'utf8')).toBe('4\n');
    const file = lstatSync(join(base, 'own/f'));
    expect([file.mode & 0o7777, file.uid, file.gid]).toEqual([0o4750, 7, 8]);
    expect(lstatSync(join(base, 'own/hard')).ino).toBe(file.ino);
    expect(readlinkSync(join(base, 'own/soft'))).toBe('/etc/x');
    expect(lstatSync(join(base, 'own/null')).rdev).toBe(0x103);
  });

  test('unpacks what was saved, to the same tree', async () => {
    const { store, dir } = await open();
    const layout = written(dir);
    await store.load(archived(layout));
    await pipeline(store.save(['umoci/app:1']), createWriteStream(`${dir}/saved.tar`));
    mkdirSync(`${dir}/saved`);
    execFileSync('tar', ['-C', `${dir}/saved`, '-xf', `${dir}/saved.tar`]);
    umoci('unpack', '--image', `${dir}/saved:1`, `${dir}/again`);
    const tree = (root: string): string =>
      sh("find . -printf '%P %y %m %U:%G %l %n\\n' | sort; cat own/f d/old/y", root);
    expect(tree(`${dir}/again/rootfs`)).toBe(tree(`${dir}/bundle/rootfs`));
  });
});

// Indexes of several platforms, kept and sent whole: loaded, pulled, pushed, saved; with Debian's docker-registry as the
// place and skopeo as an independent reader. Root, because images are unpacked.
import { execFileSync } from 'node:child_process';
import { createReadStream, createWriteStream, mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { SystemClock } from '../../common/base/clock.ts';
import { silentLogger } from '../../common/base/log.ts';
import { SystemRandom } from '../../common/base/random.ts';
import { ImageStore } from '../../worker/images/image-store.ts';
import { sha256 } from '../support/image-builder.ts';
import {
  hasDockerRegistry,
  hasSkopeo,
  startRegistry,
  type TestRegistry,
} from '../support/image-registry.ts';
import { OWN, type PlatformIndex, platformIndex, writeLayout } from '../support/platform-index.ts';

const isRoot = process.getuid?.() === 0;
const canRun = isRoot && hasDockerRegistry && hasSkopeo;

const skopeo = (...argv: string[]): string =>
  execFileSync('skopeo', argv, { stdio: ['ignore', 'pipe', 'pipe'] }).toString();

describe.skipIf(!canRun)(
  'images of several platforms (needs root, docker-registry, skopeo)',
  () => {
    let dir: string;
    let registry: TestRegistry;
    let registryDir: string;
    const stores: ImageStore[] = [];

    async function open(name: string): Promise<ImageStore> {
      const store = new ImageStore({
        dir: join(dir, name),
        clock: new SystemClock(),
        random: new SystemRandom(),
        log: silentLogger,
        tell: () => {},
      });
      stores.push(store);
      await store.start();
      return store;
    }

    async function loaded(
      store: ImageStore,
      set: PlatformIndex,
      name: string,
      without: readonly string[] = [],
    ): Promise<void> {
      const path = join(dir, 'layout.tar');
      writeLayout(path, set, name, without);
      await store.load(createReadStream(path));
    }

    async function problemsOf(store: ImageStore): Promise<string[]> {
      const problems: string[] = [];
      for await (const { problem } of store.verify(new AbortController().signal)) {
        if (problem !== null) problems.push(problem);
      }
      return problems;
    }

    const raw = (name: string): string =>
      skopeo('inspect', '--raw', '--tls-verify=false', `docker://${name}`);

    /** skopeo reads each blob of each platform and verifies it. */
    const copyAll = (name: string): string =>
      skopeo('copy', '--all', '--src-tls-verify=false', `docker://${name}`, `dir:${dir}/all`);

    beforeAll(async () => {
      registryDir = mkdtempSync('/var/tmp/skep-platforms-registry-');
      registry = await startRegistry({ dir: registryDir });
    });

    afterAll(async () => {
      await registry.stop();
      rmSync(registryDir, { recursive: true, force: true });
    });

    beforeEach(() => {
      dir = mkdtempSync('/var/tmp/skep-platforms-');
    });

    afterEach(async () => {
      for (const store of stores.splice(0)) await store.stop();
      rmSync(dir, { recursive: true, force: true });
    });

    test('a loaded index is pushed whole, under its digest', async () => {
      const store = await open('images');
      const set = platformIndex('loaded');
      const name = `${registry.host}/loaded:1`;
      await loaded(store, set, name);
      expect(store.get(name)?.id).toBe(set.id);
      const aux: unknown[] = [];
      await store.push(name, null, (line) => line.aux && aux.push(line.aux));
      expect(aux).toEqual([{ Tag: '1', Digest: sha256(set.index), Size: set.index.length }]);
      expect(raw(name)).toBe(set.index.toString());
      copyAll(name);
      expect(store.get(name)?.repoDigests).toEqual([
        `${registry.host}/loaded@${sha256(set.index)}`,
      ]);
    });

    test('an index pulled with all its platforms goes to another repository; without them one image does', async () => {
      const source = `${registry.host}/source:1`;
      const set = platformIndex('pulled');
      const first = await open('first');
      await loaded(first, set, source);
      await first.push(source, null);
      const second = await open('second');
      await second.pull(source, null);
      await second.tag(source, `${registry.host}/single:1`);
      await second.push(`${registry.host}/single:1`, null);
      expect(sha256(Buffer.from(raw(`${registry.host}/single:1`)))).toBe(set.manifests[OWN]);
      await second.pullAllPlatforms(source, null);
      await second.tag(source, `${registry.host}/target:2`);
      await second.push(`${registry.host}/target:2`, null);
      expect(raw(`${registry.host}/target:2`)).toBe(set.index.toString());
      copyAll(`${registry.host}/target:2`);
    });

    test('a name that stands for a newer index is not pushed as the old one', async () => {
      const source = `${registry.host}/moving:1`;
      const [old, next] = [platformIndex('same'), platformIndex('same')];
      const index = JSON.parse(next.index.toString());
      index.annotations = { revision: '2' };
      const newer = Buffer.from(JSON.stringify(index));
      const first = await open('first');
      await loaded(first, old, source);
      await first.push(source, null);
      const second = await open('second');
      await second.pullAllPlatforms(source, null);
      const blobs = new Map([...next.blobs, [sha256(newer), newer]]);
      const third = await open('third');
      await loaded(third, { ...next, index: newer, blobs }, source);
      await third.push(source, null);
      await second.pull(source, null);
      await second.tag(source, `${registry.host}/moved:1`);
      await second.push(`${registry.host}/moved:1`, null);
      expect(sha256(Buffer.from(raw(`${registry.host}/moved:1`)))).toBe(next.manifests[OWN]);
    });

    test('what is saved has all platforms, and is loaded with them', async () => {
      const set = platformIndex('saved');
      const name = `${registry.host}/saved:1`;
      const first = await open('first');
      await loaded(first, set, name);
      const path = join(dir, 'saved.tar');
      await pipeline(first.save([name]), createWriteStream(path));
      expect(JSON.parse(skopeo('inspect', '--raw', `oci-archive:${path}`))).toEqual(
        JSON.parse(set.index.toString()),
      );
      const second = await open('second');
      await second.load(createReadStream(path));
      await second.push(name, null);
      expect(raw(name)).toBe(set.index.toString());
      expect(await problemsOf(second)).toEqual([]);
    });

    test('an index of which the archive has one platform only is an image of that', async () => {
      const store = await open('images');
      const set = platformIndex('partial');
      const name = `${registry.host}/partial:1`;
      await loaded(store, set, name, [set.manifests['s390x']!]);
      await store.push(name, null);
      expect(sha256(Buffer.from(raw(name)))).toBe(set.manifests[OWN]);
    });

    test('other platforms are kept with the image, go with it, and are verified', async () => {
      const store = await open('images');
      const set = platformIndex('kept');
      await loaded(store, set, 'kept:1');
      const blob = join(dir, 'images/blobs/sha256', set.manifests['s390x']!.slice(7));
      await store.stop();
      const again = await open('images');
      expect(await problemsOf(again)).toEqual([]);
      rmSync(blob);
      expect(await problemsOf(again)).toEqual([`blob ${set.manifests['s390x']} is missing`]);
      await again.remove('kept:1', { force: false });
      expect((await again.usage()).bytes).toBe(0);
    });
  },
);

// Pushing to Debian's docker-registry and pulling again, with skopeo and umoci as independent readers, and a proxy between
// that breaks connections and answers on demand. Root, because images are unpacked.
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createReadStream, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { SystemClock } from '../../common/base/clock.ts';
import { describeError } from '../../common/base/errors.ts';
import { silentLogger } from '../../common/base/log.ts';
import { SystemRandom } from '../../common/base/random.ts';
import {
  ImageStore,
  type ProgressLine,
  type RegistryAuth,
} from '../../worker/images/image-store.ts';
import { type Fault, FaultProxy, type FaultRequest } from '../support/fault-proxy.ts';
import { type BusyboxImageOptions, buildBusyboxImage } from '../support/image-builder.ts';
import {
  hasDockerRegistry,
  hasSkopeo,
  startRegistry,
  type TestRegistry,
} from '../support/image-registry.ts';
import { programPath } from '../support/programs.ts';
import { UploadRegistry } from '../support/upload-registry.ts';

const isRoot = process.getuid?.() === 0;
const hasUmoci = programPath('umoci') !== null;
const ALICE: RegistryAuth = { username: 'alice', password: 'secret' };
const PART_BYTES = 100_000;

let dir: string;
let store: ImageStore;

beforeEach(async () => {
  dir = mkdtempSync('/var/tmp/skep-push-');
  store = new ImageStore({
    dir: join(dir, 'images'),
    clock: new SystemClock(),
    random: new SystemRandom(),
    log: silentLogger,
    tell: () => {},
    pushPartBytes: PART_BYTES,
  });
  await store.start();
});

afterEach(async () => {
  await store.stop();
  rmSync(dir, { recursive: true, force: true });
});

async function load(options: Partial<BusyboxImageOptions> & { name: string }): Promise<string> {
  const outTar = join(dir, 'image.tar');
  const { id } = buildBusyboxImage({ empty: true, ...options, outTar });
  await store.load(createReadStream(outTar));
  return id;
}

async function push(name: string, auth: RegistryAuth | null = null): Promise<ProgressLine[]> {
  const lines: ProgressLine[] = [];
  await store.push(name, auth, (line) => lines.push(line));
  return lines;
}

const failure = (promise: Promise<unknown>): Promise<string> =>
  promise.then(() => 'it succeeded', describeError);

const statusesOf = (lines: readonly ProgressLine[]): (string | undefined)[] =>
  lines.filter((line) => line.id !== undefined).map((line) => line.status);

const skopeo = (...argv: string[]): string =>
  execFileSync('skopeo', argv, { stdio: ['ignore', 'pipe', 'pipe'] }).toString();

/** Text that gzip cannot shorten much, the same in each call. */
function randomText(bytes: number, seed: string): string {
  let text = '';
  for (let i = 0; text.length < bytes; i++) {
    text += createHash('sha256').update(`${seed}${i}`).digest('base64');
  }
  return text.slice(0, bytes);
}

describe.skipIf(!isRoot || !hasDockerRegistry)('push (needs root, docker-registry)', () => {
  let peerDir: string;
  let registry: TestRegistry;
  let proxy: FaultProxy;

  beforeAll(async () => {
    peerDir = mkdtempSync('/var/tmp/skep-push-peer-');
    registry = await startRegistry({ dir: peerDir });
  });

  afterAll(async () => {
    await registry.stop();
    rmSync(peerDir, { recursive: true, force: true });
  });

  beforeEach(async () => {
    proxy = new FaultProxy(registry.host);
    await proxy.start();
  });

  afterEach(() => proxy.stop());

  test('tells what docker tells, and what is there already is not sent again', async () => {
    const name = `${registry.host}/told:1`;
    await load({ name, files: { a: 'one' } });
    const lines = await push(name);
    const diffId = store.get(name)!.layers[0]!.slice(7, 19);
    const digest = store.get(name)!.repoDigests[0]!.split('@')[1]!;
    const size = lines.at(-1)!.aux!['Size'];
    expect(lines).toEqual([
      { status: `The push refers to repository [${registry.host}/told]` },
      { id: diffId, status: 'Preparing', progressDetail: {} },
      { id: diffId, status: 'Pushed', progressDetail: {} },
      { status: `1: digest: ${digest} size: ${size}` },
      { progressDetail: {}, aux: { Tag: '1', Digest: digest, Size: size } },
    ]);
    expect(statusesOf(await push(name))).toEqual(['Preparing', 'Layer already exists']);
    await store.tag(name, `${registry.host}/told:2`);
    await push(`${registry.host}/told:2`);
    expect(store.get(name)!.repoDigests).toHaveLength(1);
  });

  test('pushed, removed and pulled again it is the same image', async () => {
    const name = `${registry.host}/round:1`;
    const id = await load({
      name,
      files: { a: 'x', b: randomText(300_000, 'b') },
      gzipLayers: true,
    });
    await push(name);
    await store.remove(id, { force: true });
    expect(store.list()).toEqual([]);
    expect((await store.pull(name, null)).id).toBe(id);
  });

  test('layers of another repository there are mounted, not sent', async () => {
    const name = `${registry.host}/first:1`;
    await load({ name, files: { a: randomText(50_000, 'mount') } });
    await push(name);
    await store.tag(name, `${proxy.host}/second:1`);
    // Known there under the registry's own name: the proxy is another host, so nothing is mounted.
    expect(statusesOf(await push(`${proxy.host}/second:1`))).toContain('Pushed');
    await store.tag(name, `${proxy.host}/third:1`);
    proxy.requests.length = 0;
    expect(statusesOf(await push(`${proxy.host}/third:1`))).toContain('Mounted from second');
    expect(proxy.asked('PATCH', /third/)).toEqual([]);
  });

  test('without a tag every tag of the repository goes', async () => {
    for (const tag of ['1', '2'])
      await load({ name: `${registry.host}/all:${tag}`, files: { tag } });
    await load({ name: `${registry.host}/other:1`, files: { other: '1' } });
    const lines = await push(`${registry.host}/all`);
    expect(lines.flatMap((line) => line.aux?.['Tag'] ?? []).sort()).toEqual(['1', '2']);
    await expect(push(`${registry.host}/none`)).rejects.toThrow(
      `An image does not exist locally with the tag: ${registry.host}/none`,
    );
  });

  test.skipIf(!hasSkopeo || !hasUmoci)(
    'skopeo copies and umoci unpacks what was pushed',
    async () => {
      const name = `${registry.host}/peers:1`;
      await load({ name, gzipLayers: true, files: { 'etc/told': 'by umoci' } });
      await push(name);
      const layout = join(dir, 'layout');
      skopeo('copy', '-q', '--src-tls-verify=false', `docker://${name}`, `oci:${layout}:1`);
      execFileSync('umoci', ['unpack', '--image', `${layout}:1`, join(dir, 'bundle')]);
      expect(readFileSync(join(dir, 'bundle/rootfs/etc/told'), 'utf8')).toBe('by umoci');
    },
  );

  describe('of a layer that goes in parts', () => {
    const uploads = /\/blobs\/uploads\//;

    /** Pushes an image with a layer of 450 KB through the proxy. */
    async function pushBroken(
      repository: string,
      fault: (request: FaultRequest) => Fault | null,
    ): Promise<void> {
      const name = `${proxy.host}/${repository}:1`;
      const id = await load({ name, files: { data: randomText(450_000, repository) } });
      proxy.fault = fault;
      await push(name);
      proxy.fault = () => null;
      await store.remove(id, { force: true });
      expect((await store.pull(name, null)).id).toBe(id);
    }

    test('each part follows the one before', async () => {
      await pushBroken('parts', () => null);
      const ranges = proxy.asked('PATCH', uploads).map((one) => one.headers['content-range']);
      expect(ranges.slice(0, 3)).toEqual(['0-99999', '100000-199999', '200000-299999']);
      expect(ranges).toHaveLength(5);
    });

    test('a connection that breaks in a part begins it anew where the registry knows no better', async () => {
      let cuts = 0;
      await pushBroken('cut', ({ method, headers }) => {
        const isSecond = method === 'PATCH' && headers['content-range']?.startsWith('100000-');
        return isSecond && cuts++ === 0 ? { kind: 'cut-request', afterBytes: 30_000 } : null;
      });
      expect(cuts).toBeGreaterThan(0);
      const ranges = proxy.asked('PATCH', uploads).map((one) => one.headers['content-range']);
      expect(ranges.filter((range) => range === '0-99999')).toHaveLength(2);
    });

    test('a last word whose answer is lost is not an error', async () => {
      let lost = 0;
      await pushBroken('last', ({ method, url }) =>
        method === 'PUT' && uploads.test(url) && lost++ === 0 ? { kind: 'lose-answer' } : null,
      );
      expect(lost).toBeGreaterThan(0);
    });
  });

  test.each([
    ['a broken connection', { kind: 'cut-request', afterBytes: 1000 }],
    ['a lost answer', { kind: 'lose-answer' }],
    ['a 500', { kind: 'answer', status: 500 }],
    ['a 429', { kind: 'answer', status: 429, headers: { 'Retry-After': '1' } }],
  ] as const)('%s is passed over in a layer that goes whole', async (what, fault) => {
    const repository = what.replace(/[^a-z0-9]+/g, '-');
    const name = `${proxy.host}/${repository}:1`;
    await load({ name, files: { data: randomText(50_000, what) } });
    proxy.fault = ({ method, url, headers }) =>
      method === 'PUT' &&
      /uploads/.test(url) &&
      Number(headers['content-length']) > 40_000 &&
      !hit++
        ? fault
        : null;
    let hit = 0;
    await push(name);
    expect(hit).toBeGreaterThan(0);
    expect(skopeoTags(repository)).toContain('1');
  });

  describe('pulled again', () => {
    const blobs = /\/blobs\/sha256:/;

    /**
     * Pushes an image with a layer of 450 KB, forgets it, and pulls it with this fault in the first answer to such a request.
     * @param by its tag, else its digest
     */
    async function pulledWith(
      repository: string,
      fault: Fault,
      { at = blobs, by = 'tag' }: { at?: RegExp; by?: 'tag' | 'digest' } = {},
    ): Promise<string> {
      const name = `${proxy.host}/${repository}:1`;
      const id = await load({ name, files: { data: randomText(450_000, repository) } });
      await push(name);
      const [pinned = ''] = store.get(name)!.repoDigests;
      await store.remove(id, { force: true });
      proxy.requests.length = 0;
      let hits = 0;
      proxy.fault = ({ method, url }) =>
        method === 'GET' && at.test(url) && hits++ === 0 ? fault : null;
      const asked = by === 'tag' ? name : pinned;
      const outcome = await store.pull(asked, null).then((image) => image.id, describeError);
      expect(hits).toBeGreaterThan(0);
      return outcome === id ? 'the same image' : outcome;
    }

    test('a connection that broke is taken up, and slow bytes are bytes', async () => {
      expect(await pulledWith('cut-pull', { kind: 'cut-answer', afterBytes: 100 })).toBe(
        'the same image',
      );
      const ranges = proxy.asked('GET', blobs).map((one) => one.headers.range);
      expect(ranges.filter((range) => range !== undefined)).toHaveLength(1);
      expect(await pulledWith('slow-pull', { kind: 'drip', bytes: 50 })).toBe('the same image');
    });

    test.each([
      ['a config', { at: blobs, by: 'tag' }, 'the content hashes to'],
      ['a manifest by its digest', { at: /\/manifests\//, by: 'digest' }, 'its content hashes to'],
      ['a manifest by its tag', { at: /\/manifests\//, by: 'tag' }, 'its content hashes to'],
    ] as const)('%s with other bytes than announced is refused', async (_, where, words) => {
      const outcome = await pulledWith(`spoilt-${where.by}`, { kind: 'spoil' }, where);
      expect(outcome).toContain(words);
      expect(store.list()).toEqual([]);
    });

    test.each([
      ['a 500', { kind: 'answer', status: 500 }],
      ['a 429', { kind: 'answer', status: 429, headers: { 'Retry-After': '1' } }],
      ['a lost answer', { kind: 'lose-answer' }],
    ] as const)('%s to what is asked for is passed over', async (_, fault) => {
      const repository = `passed-${'status' in fault ? fault.status : 'lost'}`;
      for (const at of [/\/manifests\//, blobs]) {
        expect(await pulledWith(repository, fault, { at })).toBe('the same image');
      }
    });
  });

  test('a registry that refuses is quoted', async () => {
    const name = `${proxy.host}/refused:1`;
    await load({ name, files: { a: 'r' } });
    proxy.fault = ({ method }) => (method === 'POST' ? { kind: 'answer', status: 403 } : null);
    expect(await failure(push(name))).toBe(
      `push refused:1 to ${proxy.host}: denied: requested access to the resource is denied`,
    );
  });

  function skopeoTags(repository: string): string {
    if (!hasSkopeo) return '1';
    return skopeo('list-tags', '--tls-verify=false', `docker://${registry.host}/${repository}`);
  }
});

describe.skipIf(!isRoot)('a registry that goes on with uploads (needs root)', () => {
  let registry: UploadRegistry;
  let proxy: FaultProxy;

  beforeEach(async () => {
    registry = new UploadRegistry();
    await registry.start();
    proxy = new FaultProxy(registry.host);
    await proxy.start();
  });

  afterEach(async () => {
    await proxy.stop();
    await registry.stop();
  });

  const rangesOf = (): (string | undefined)[] =>
    proxy.asked('PATCH', /uploads/).map((one) => one.headers['content-range'] as string);

  test.each([
    [
      'that breaks costs what of it did not arrive',
      { kind: 'cut-request', afterBytes: 30_000 },
      130_000,
    ],
    ['whose answer is lost is not sent again', { kind: 'lose-answer' }, 200_000],
  ] as const)('a part %s', async (_, fault, nextByte) => {
    const name = `${proxy.host}/app:1`;
    const data = randomText(450_000, 'resume');
    await load({ name, files: { data } });
    let hits = 0;
    proxy.fault = ({ method, headers }) =>
      method === 'PATCH' && headers['content-range']?.startsWith('100000-') && hits++ === 0
        ? fault
        : null;
    await push(name);
    expect(rangesOf().slice(0, 2)).toEqual(['0-99999', '100000-199999']);
    expect(rangesOf()[2]).toMatch(new RegExp(`^${nextByte}-`));
    expect([...registry.blobs.values()].some((blob) => blob.includes(data))).toBe(true);
  });
});

describe.skipIf(!isRoot || !hasDockerRegistry)(
  'a registry with passwords (needs root, docker-registry)',
  () => {
    let peerDir: string;
    let registry: TestRegistry;

    beforeAll(async () => {
      peerDir = mkdtempSync('/var/tmp/skep-push-peer-');
      registry = await startRegistry({ dir: peerDir, basicAuth: true });
    });

    afterAll(async () => {
      await registry.stop();
      rmSync(peerDir, { recursive: true, force: true });
    });

    test('takes what its user pushes, and nothing of others', async () => {
      const name = `${registry.host}/web:1`;
      // Layers that are asked for at once, so that all of them learn of the password.
      const layers = ['1', '2', '3'].map((text) => ({ files: { a: text } }));
      await load({ name, layers });
      expect(await failure(push(name))).toBe(
        `push web:1 to ${registry.host}: unauthorized: authentication required`,
      );
      expect(statusesOf(await push(name, ALICE))).toContain('Pushed');
    });

    test('lets its user log in, and no other', async () => {
      await store.login(registry.host, ALICE);
      expect(await failure(store.login(registry.host, { ...ALICE, password: 'guess' }))).toBe(
        `log in to ${registry.host}: unauthorized: authentication required`,
      );
    });
  },
);

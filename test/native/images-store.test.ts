// Loading, unpacking and removing images on a real file system: device nodes, owners and trusted
// attributes need root.
import { execFileSync } from 'node:child_process';
import {
  createReadStream,
  createWriteStream,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { SystemClock } from '../../common/base/clock.ts';
import { silentLogger } from '../../common/base/log.ts';
import { SystemRandom } from '../../common/base/random.ts';
import { getXattr, isOpaque, isWhiteout } from '../../native/ffi/fs.ts';
import { ImageStore } from '../../worker/images/image-store.ts';
import {
  type BusyboxImageOptions,
  buildBusyboxImage,
  hasZstd,
  layerTar,
  sha256,
  tar as tarOf,
} from '../support/image-builder.ts';
import { hasSkopeo } from '../support/image-registry.ts';

const isRoot = process.getuid?.() === 0;

/** A docker-archive of this item and config alone. */
function archiveOf(item: object, config: object = {}): Buffer {
  const file = (name: string, value: object) => ({
    name,
    kind: 'file' as const,
    data: Buffer.from(JSON.stringify(value)),
  });
  return tarOf([file('c', config), file('manifest.json', [item])]);
}

describe.skipIf(!isRoot)('image store (needs root)', () => {
  let dir: string;
  let store: ImageStore;
  /** its events: action, id, name */
  let told: unknown[] = [];
  /** those with a label of theirs */
  let toldLabels: unknown[] = [];

  function open(): ImageStore {
    return new ImageStore({
      dir: join(dir, 'images'),
      clock: new SystemClock(),
      random: new SystemRandom(),
      log: silentLogger,
      tell: ({ action, id, attributes }) => {
        told.push([action, id, attributes['name']]);
        toldLabels.push({ action, vendor: attributes['vendor'] });
      },
    });
  }

  beforeEach(async () => {
    dir = mkdtempSync('/var/tmp/skep-images-');
    store = open();
    await store.start();
  });

  afterEach(async () => {
    await store.stop();
    rmSync(dir, { recursive: true, force: true });
  });

  async function load(options: Omit<BusyboxImageOptions, 'outTar'>): Promise<string> {
    const outTar = join(dir, 'image.tar');
    const { id } = buildBusyboxImage({ ...options, outTar });
    await store.load(createReadStream(outTar));
    return id;
  }

  /** Mounts the image read-only, as the runtime would, and looks. */
  async function withRootfs(id: string, look: (root: string) => void): Promise<void> {
    const { lowerDirs } = await store.acquireRootfs('mounted', id);
    const root = join(dir, 'root');
    mkdirSync(root, { recursive: true });
    const upper = mkdtempSync(join(dir, 'upper-'));
    const work = mkdtempSync(join(dir, 'work-'));
    const options = `lowerdir=${lowerDirs.join(':')},upperdir=${upper},workdir=${work}`;
    execFileSync('mount', ['-t', 'overlay', 'overlay', '-o', options, root]);
    try {
      look(root);
    } finally {
      execFileSync('umount', [root]);
      await store.releaseRootfs('mounted');
    }
  }

  test.each([
    ['docker-archive', false, false],
    ['docker-archive', true, false],
    ['docker-archive', false, true],
    ['oci-layout', false, false],
    ['oci-layout', true, true],
  ] as const)('loads a %s (gzip layers %s, gzip archive %s)', async (format, gzipLayers, gzip) => {
    const outTar = join(dir, 'image.tar');
    const files = { '/www/index.html': 'hello' };
    const options = { name: 'web:1', outTar, format, gzipLayers, gzip, files, cmd: ['httpd'] };
    const { id, diffIds } = buildBusyboxImage(options);
    const lines: string[] = [];
    const loaded = await store.load(createReadStream(outTar), (line) => {
      lines.push(line.stream ?? '');
    });
    expect(loaded).toEqual([{ id, reference: 'web:1' }]);
    expect(lines).toEqual(['Loaded image: web:1\n']);
    const image = store.get('web:1');
    expect(image).toMatchObject({ id, repoTags: ['web:1'], layers: diffIds, os: 'linux' });
    expect(image?.config.cmd).toEqual(['httpd']);
    expect(image?.sizeBytes).toBeGreaterThan(500_000);
    await withRootfs(id, (root) => {
      expect(readFileSync(join(root, 'www/index.html'), 'utf8')).toBe('hello');
      const out = execFileSync('chroot', [root, '/bin/sh', '-c', 'cat /etc/group; ls -ld /tmp']);
      expect(out.toString()).toContain('staff:x:50:www');
      expect(out.toString()).toContain('drwxrwxrwt');
    });
  });

  test.skipIf(!hasZstd).each([
    ['docker-archive', true, false],
    ['oci-layout', false, true],
  ] as const)('loads a %s (zstd layers %s, zstd archive %s)', async (format, zstdLayers, zstd) => {
    const options = { name: 'web:1', format, zstdLayers, zstd, files: { a: 'small' } };
    const id = await load(options);
    await withRootfs(id, (root) => {
      expect(readFileSync(join(root, 'a'), 'utf8')).toBe('small');
      expect(execFileSync('chroot', [root, '/bin/echo', 'runs']).toString()).toBe('runs\n');
    });
  });

  test.each(['docker-archive', 'oci-layout'] as const)(
    'loads a %s of an image without a name',
    async (format) => {
      const outTar = join(dir, 'image.tar');
      const { id } = buildBusyboxImage({ name: 'x:1', outTar, format, nameless: true });
      const lines: string[] = [];
      const loaded = await store.load(createReadStream(outTar), (line) => {
        lines.push(line.stream ?? '');
      });
      expect(loaded).toEqual([{ id, reference: null }]);
      expect(lines).toEqual([`Loaded image ID: ${id}\n`]);
      expect(store.get(id)?.repoTags).toEqual([]);
    },
  );

  test('loads several images from one archive, and saves them in one', async () => {
    const one = await load({ name: 'one:1', alsoNamed: ['uno:1'], empty: true, files: { a: '1' } });
    const two = await load({ name: 'two:1', empty: true, files: { b: '2' } });
    const saved = join(dir, 'both.tar');
    told = [];
    await pipeline(store.save(['one:1', 'uno:1', two]), createWriteStream(saved));
    expect(told).toEqual([
      ['save', one, one],
      ['save', two, two],
    ]);
    for (const id of [one, two]) await store.remove(id, { force: true });
    const loaded = await store.load(createReadStream(saved));
    expect(loaded).toEqual([
      { id: one, reference: 'one:1' },
      { id: one, reference: 'uno:1' },
      { id: two, reference: 'two:1' },
    ]);
  });

  test('tells each event with the labels of its image, also when that is gone', async () => {
    const vendor = 'somebody';
    for (const prunes of [false, true]) {
      toldLabels = [];
      await load({ name: 'web:1', empty: true, labels: { vendor } });
      await store.tag('web:1', 'again:1');
      if (prunes) await store.prune(() => false);
      else for (const name of ['again:1', 'web:1']) await store.remove(name, { force: false });
      const actions = ['load', 'tag', 'untag', 'untag', 'delete'];
      expect(toldLabels).toEqual(actions.map((action) => ({ action, vendor })));
    }
  });

  test.each(['none', 'gzip', ...(hasZstd ? (['zstd'] as const) : [])] as const)(
    'makes an image from the tar of a file system (%s)',
    async (compression) => {
      const plain = layerTar({ files: { 'etc/from': { content: 'tar', uid: 7 } } });
      const file = join(dir, 'fs.tar');
      writeFileSync(file, plain);
      if (compression === 'gzip') execFileSync('gzip', ['-k', file]);
      if (compression === 'zstd') execFileSync('zstd', ['-q', file, '-o', `${file}.zst`]);
      const source = { none: file, gzip: `${file}.gz`, zstd: `${file}.zst` }[compression];
      const options = { changes: ['CMD ["/bin/true"]', 'ENV A=1'], message: 'by hand' };
      const image = await store.import(createReadStream(source), 'made:1', options);
      expect(image.config).toMatchObject({ cmd: ['/bin/true'], env: ['A=1'] });
      expect(image.layers).toEqual([sha256(plain)]);
      expect(image.history).toMatchObject([{ comment: 'by hand', emptyLayer: false }]);
      expect(store.layerSizes('made:1')).toEqual([3]);
      await withRootfs(image.id, (root) => {
        expect(statSync(join(root, 'etc/from')).uid).toBe(7);
      });
    },
  );

  test('what is no tar is no image', async () => {
    const text = Readable.from([Buffer.from('no tar at all. '.repeat(100))]);
    await expect(store.import(text, null, { changes: [], message: '' })).rejects.toMatchObject({
      code: 'invalid-argument',
    });
    expect(store.list()).toEqual([]);
  });

  test('prune removes what is not wanted and no container uses, and says how much', async () => {
    const made = (name: string, own: string): Promise<string> => {
      const layers = [{ files: { base: 'shared' } }, { files: { own } }];
      return load({ name, empty: true, layers });
    };
    const kept = await made('kept:1', '1');
    const used = await made('used:1', '2');
    const gone = await made('gone:1', 'x'.repeat(100_000));
    await store.acquireRootfs('c1', used);
    const usage = await store.usage();
    expect(usage.images.find(({ id }) => id === used)?.containers).toBe(1);
    expect(usage.images.find(({ id }) => id === gone)?.sharedBytes).toBe('shared'.length);
    told = [];
    const removal = await store.prune((image) => image.id === kept);
    expect(told).toEqual([
      ['untag', gone, 'gone:1'],
      ['delete', gone, gone],
    ]);
    expect(removal.untagged).toEqual(['gone:1']);
    expect(removal.deleted[0]).toBe(gone);
    expect(removal.deleted).toHaveLength(2);
    expect(removal.bytes).toBeGreaterThan(200_000); // the layer, and the blob that it came from
    expect(
      store
        .list()
        .map(({ id }) => id)
        .sort(),
    ).toEqual([kept, used].sort());
    expect((await store.usage()).bytes).toBe(usage.bytes - removal.bytes);
  });

  test('an image without layers is loaded', async () => {
    const config = { os: 'linux', architecture: 'amd64', rootfs: { type: 'layers', diff_ids: [] } };
    const tar = archiveOf({ Config: 'c', RepoTags: ['none:1'], Layers: null }, config);
    await store.load(Readable.from([tar]));
    expect(store.get('none:1')?.layers).toEqual([]);
  });

  test('turns whiteouts and opaque directories into what overlayfs honours', async () => {
    const id = await load({
      name: 'wh:1',
      empty: true,
      layers: [
        { files: { 'a/gone': '1', 'a/stays': '2', 'b/old': '3', 'c/x/y': '4', 'd/f': '5' } },
        {
          entries: [
            { name: 'a/.wh.gone', kind: 'file' },
            { name: 'b/.wh..wh..opq', kind: 'file' },
            { name: 'b/new', kind: 'file', data: Buffer.from('6') },
            { name: '.wh.c', kind: 'file' },
            // deleted and made again in one layer: nothing old shows through
            { name: '.wh.d', kind: 'file' },
            { name: 'd/', kind: 'directory', mode: 0o700 },
            { name: 'd/g', kind: 'file', data: Buffer.from('7') },
            // the deletion speaks of the layers below, not of what this layer brings itself
            { name: 'e', kind: 'file', data: Buffer.from('8') },
            { name: '.wh.e', kind: 'file' },
          ],
        },
      ],
    });
    const { lowerDirs } = await store.acquireRootfs('look', id);
    const [top] = lowerDirs;
    expect(isWhiteout(lstatSync(join(top!, 'a/gone')))).toBe(true);
    expect(isOpaque(join(top!, 'b'))).toBe(true);
    await withRootfs(id, (root) => {
      expect(readdirSync(root).sort()).toEqual(['a', 'b', 'd', 'e']);
      expect(readdirSync(join(root, 'a'))).toEqual(['stays']);
      expect(readdirSync(join(root, 'b'))).toEqual(['new']);
      expect(readdirSync(join(root, 'd'))).toEqual(['g']);
    });
  });

  test('an opaque root hides every layer below', async () => {
    const id = await load({
      name: 'opq:1',
      empty: true,
      layers: [
        { files: { below: '1' } },
        { entries: [{ name: '.wh..wh..opq', kind: 'file' }] },
        { files: { above: '2' } },
      ],
    });
    const { lowerDirs } = await store.acquireRootfs('look', id);
    expect(lowerDirs).toHaveLength(2);
    await withRootfs(id, (root) => expect(readdirSync(root)).toEqual(['above']));
  });

  test('keeps owners, modes, links, devices, times, attributes and long names', async () => {
    const longName = `${'d'.repeat(80)}/${'f'.repeat(120)}`;
    const capability = Buffer.from('0100000200040000000000000000000000000000', 'hex');
    // As the kernel has them: version, then tag, permissions and id of each entry.
    const acl = Buffer.from(
      '0200000001000600ffffffff02000400d204000004000400ffffffff10000600ffffffff20000400ffffffff',
      'hex',
    );
    const id = await load({
      name: 'meta:1',
      empty: true,
      layers: [
        {
          entries: [
            { name: 'dir/', kind: 'directory', mode: 0o2750, uid: 7, gid: 8, mtimeSeconds: 1000 },
            {
              name: 'dir/su',
              kind: 'file',
              mode: 0o4755,
              uid: 1000,
              gid: 50,
              mtimeSeconds: 2000,
              data: Buffer.from('x'),
            },
            { name: 'dir/hard', kind: 'hardlink', linkName: './dir/su' },
            { name: 'dir/soft', kind: 'symlink', linkName: '/etc/x', uid: 5, mtimeSeconds: 3000 },
            { name: 'null', kind: 'character-device', deviceMajor: 1, deviceMinor: 3, mode: 0o666 },
            { name: 'pipe', kind: 'fifo', mode: 0o600 },
            { name: 'ping', kind: 'file', xattrs: new Map([['security.capability', capability]]) },
            {
              name: 'shared/',
              kind: 'directory',
              xattrs: new Map([['system.posix_acl_default', acl]]),
            },
            {
              name: 'shared/file',
              kind: 'file',
              mode: 0o664,
              xattrs: new Map([['system.posix_acl_access', acl]]),
            },
            {
              name: 'evil',
              kind: 'directory',
              xattrs: new Map([['trusted.overlay.opaque', Buffer.from('y')]]),
            },
            { name: longName, kind: 'file', data: Buffer.from('long') },
          ],
        },
      ],
    });
    const { lowerDirs } = await store.acquireRootfs('look', id);
    const at = (path: string): string => join(lowerDirs[0]!, path);
    const directory = lstatSync(at('dir'));
    expect([directory.mode & 0o7777, directory.uid, directory.gid]).toEqual([0o2750, 7, 8]);
    expect(directory.mtimeMs).toBe(1_000_000);
    const setuid = lstatSync(at('dir/su'));
    expect([setuid.mode & 0o7777, setuid.uid, setuid.gid]).toEqual([0o4755, 1000, 50]);
    expect(setuid.mtimeMs).toBe(2_000_000);
    expect(lstatSync(at('dir/hard')).ino).toBe(setuid.ino);
    expect(readlinkSync(at('dir/soft'))).toBe('/etc/x');
    expect([lstatSync(at('dir/soft')).uid, lstatSync(at('dir/soft')).mtimeMs]).toEqual([5, 3e6]);
    expect(lstatSync(at('null')).isCharacterDevice()).toBe(true);
    expect(lstatSync(at('null')).rdev).toBe(0x103);
    expect(lstatSync(at('null')).mode & 0o777).toBe(0o666);
    expect(lstatSync(at('pipe')).isFIFO()).toBe(true);
    expect(getXattr(at('ping'), 'security.capability')).toEqual(capability);
    expect(getXattr(at('shared'), 'system.posix_acl_default')).toEqual(acl);
    expect(getXattr(at('shared/file'), 'system.posix_acl_access')).toEqual(acl);
    expect(lstatSync(at('shared/file')).mode & 0o777).toBe(0o664);
    expect(getXattr(at('evil'), 'trusted.overlay.opaque')).toBeNull();
    expect(readFileSync(at(longName), 'utf8')).toBe('long');
  });

  test('takes directories that a layer passes through as they are below', async () => {
    const id = await load({
      name: 'implicit:1',
      layers: [{ files: { 'tmp/note': '1', 'home/www/deep/x': '2' } }],
    });
    await withRootfs(id, (root) => {
      expect(statSync(join(root, 'tmp')).mode & 0o7777).toBe(0o1777);
      expect(statSync(join(root, 'home/www')).mode & 0o7777).toBe(0o755);
    });
  });

  test('resolves a hard link into the layer below', async () => {
    const id = await load({
      name: 'foreign:1',
      empty: true,
      layers: [
        { files: { 'lib/a': { content: 'shared', mode: 0o750, uid: 3, gid: 4 } } },
        { entries: [{ name: 'bin/b', kind: 'hardlink', linkName: 'lib/a' }] },
      ],
    });
    await withRootfs(id, (root) => {
      expect(readFileSync(join(root, 'bin/b'), 'utf8')).toBe('shared');
      expect(statSync(join(root, 'bin/b')).mode & 0o777).toBe(0o750);
      expect(statSync(join(root, 'bin/b')).uid).toBe(3);
    });
  });

  test('writes nothing outside a layer, whatever its links say', async () => {
    const outside = join(dir, 'outside');
    mkdirSync(join(outside, 'inner'), { recursive: true });
    mkdirSync(join(outside, 'other'));
    const look = (): unknown =>
      ['.', 'inner', 'other'].map((name) => {
        const { mode, uid, mtimeMs, ctimeMs } = statSync(join(outside, name));
        return { mode, uid, mtimeMs, ctimeMs, names: readdirSync(join(outside, name)) };
      });
    const before = look();
    const data = Buffer.from('x');
    const id = await load({
      name: 'escape:1',
      empty: true,
      layers: [
        {
          entries: [{ name: 'swap/other/', kind: 'directory', mode: 0o700, uid: 9 }],
          files: { 'lib/f': 'y' },
        },
        {
          entries: [
            { name: 'up', kind: 'symlink', linkName: '../../../../../..' },
            { name: `up${outside}/up`, kind: 'file', data },
            { name: 'sub/abs', kind: 'symlink', linkName: outside },
            { name: 'sub/abs/absolute', kind: 'file', data },
            { name: 'sub/abs/hard', kind: 'hardlink', linkName: 'sub/abs/absolute' },
            // directories with work left to do at the end, replaced by a link to the outside
            { name: 'swap/inner/', kind: 'directory', mode: 0o777, mtimeSeconds: 5 },
            { name: 'swap/other/file', kind: 'file' },
            { name: 'swap/inner/foreign', kind: 'hardlink', linkName: 'lib/f' },
            { name: 'swap', kind: 'symlink', linkName: outside },
            { name: '/rooted', kind: 'file', data },
          ],
        },
      ],
    });
    expect(look()).toEqual(before);
    const { lowerDirs } = await store.acquireRootfs('look', id);
    expect(readdirSync(join(lowerDirs[0]!, outside)).sort()).toEqual(['absolute', 'hard', 'up']);
    expect(readdirSync(lowerDirs[0]!).sort()).toEqual(['rooted', 'sub', 'swap', 'up', 'var']);
  });

  test.each([
    ['a path that leaves the root', { name: '../x', kind: 'file' }, 'leaves the root'],
    ['a hard link to nothing', { name: 'x', kind: 'hardlink', linkName: 'nope' }, 'missing "nope"'],
    ['a nameless whiteout', { name: '.wh.', kind: 'file' }, 'without a name'],
  ] as const)('refuses %s and keeps nothing', async (_, entry, words) => {
    const outTar = join(dir, 'bad.tar');
    buildBusyboxImage({ name: 'bad:1', outTar, empty: true, layers: [{ entries: [entry] }] });
    const failure = await store.load(createReadStream(outTar)).catch((err: unknown) => err);
    expect(failure).toMatchObject({ code: 'invalid-argument' });
    expect((failure as Error).message).toContain(words);
    expect(store.list()).toEqual([]);
    expect(readdirSync(join(dir, 'images/ingest'))).toEqual([]);
    expect(readdirSync(join(dir, 'images/l'))).toEqual([]);
  });

  test('refuses a layer whose content does not match its diff id', async () => {
    const outTar = join(dir, 'image.tar');
    buildBusyboxImage({ name: 'x:1', outTar, empty: true, files: { a: 'original' } });
    const bytes = readFileSync(outTar);
    bytes.write('tampered', bytes.indexOf('original'));
    writeFileSync(outTar, bytes);
    await expect(store.load(createReadStream(outTar))).rejects.toMatchObject({ code: 'data-loss' });
    expect(store.list()).toEqual([]);
  });

  test.each([
    ['text', Buffer.from('this is not a tar archive at all'.repeat(40)), 'invalid tar header'],
    ['nothing', Buffer.alloc(0), 'neither manifest.json nor index.json'],
    ['damaged zstd', Buffer.from('28b52ffd0000000000000000', 'hex'), 'inflate zstd stream'],
    ['xz', Buffer.from('fd377a585a000000', 'hex'), 'xz compression is not supported'],
    [
      'names that are none',
      archiveOf({ Config: 'c', RepoTags: 'web:1', Layers: [] }),
      'docker-arch',
    ],
    [
      'numbers for layers',
      archiveOf({ Config: 'c', RepoTags: null, Layers: [1] }),
      'docker-archive',
    ],
  ])('refuses %s instead of an archive', async (_, bytes, words) => {
    await expect(store.load(Readable.from([bytes]))).rejects.toThrow(words);
  });

  test('a second image unpacks only what it does not share', async () => {
    await load({ name: 'one:1', files: { a: '1' } });
    await load({ name: 'two:1', files: { b: '2' } });
    const one = await store.acquireRootfs('c1', store.get('one:1')!.id);
    const two = await store.acquireRootfs('c2', store.get('two:1')!.id);
    expect(one.lowerDirs.at(-1)).toBe(two.lowerDirs.at(-1));
    expect(readdirSync(join(dir, 'images/l')).filter((n) => !n.includes('.'))).toHaveLength(3);
    await store.releaseRootfs('c1');
    const removal = await store.remove('one:1', { force: false });
    expect(removal.untagged).toEqual(['one:1']);
    expect(removal.deleted).toHaveLength(2);
    expect(existsSync(two.lowerDirs.at(-1)!)).toBe(true);
    expect(existsSync(one.lowerDirs[0]!)).toBe(false);
  });

  test('concurrent loads of one image unpack it once', async () => {
    const outTar = join(dir, 'image.tar');
    buildBusyboxImage({ name: 'web:1', outTar });
    await Promise.all([1, 2, 3].map(() => store.load(createReadStream(outTar))));
    expect(store.list()).toHaveLength(1);
    expect(readdirSync(join(dir, 'images/l')).sort()).toEqual(['1', '1.json']);
  });

  test('names move, and an image in use is not removed', async () => {
    const id = await load({ name: 'web:1', files: { a: '1' } });
    await store.tag('web:1', 'reg.example:5000/web:prod');
    await store.acquireRootfs('0123456789abcdef', id);
    const untag = await store.remove('reg.example:5000/web:prod', { force: false });
    expect(untag).toEqual({ untagged: ['reg.example:5000/web:prod'], deleted: [] });
    await expect(store.remove('web:1', { force: false })).rejects.toThrow(
      /unable to remove repository reference "web:1" \(must force\) - container 0123456789ab is using/,
    );
    await expect(store.remove(id, { force: true })).rejects.toThrow(/cannot be forced/);
    const second = await load({ name: 'web:1', files: { a: '2' } });
    expect(store.get('web:1')?.id).toBe(second);
    expect(store.get(id)?.repoTags).toEqual([]);
    expect(store.heldBy('0123456789abcdef')?.id).toBe(id);
    await store.releaseRootfs('0123456789abcdef');
    expect(store.heldBy('0123456789abcdef')).toBeUndefined();
    await store.remove(id.slice(7, 19), { force: false });
    expect(store.list().map((image) => image.id)).toEqual([second]);
    await expect(store.remove('web:9', { force: false })).rejects.toThrow('No such image: web:9');
  });

  test('survives a restart with names, layers and pins', async () => {
    const id = await load({ name: 'web:1', files: { a: '1' } });
    const before = await store.acquireRootfs('c1', id);
    await store.stop();
    mkdirSync(join(dir, 'images/l/zz')); // a layer half moved in when the daemon died
    writeFileSync(join(dir, 'images/ingest/left'), 'over');
    store = open();
    await store.start();
    expect(store.get('web:1')?.id).toBe(id);
    expect(store.pinnedContainers()).toEqual(['c1']);
    expect(await store.acquireRootfs('c1', id)).toEqual(before);
    expect(existsSync(join(dir, 'images/l/zz'))).toBe(false);
    expect(existsSync(join(dir, 'images/ingest/left'))).toBe(false);
    await expect(store.remove('web:1', { force: false })).rejects.toMatchObject({
      code: 'conflict',
    });
  });

  test('unpacks again from its blobs when a layer is lost', async () => {
    const id = await load({ name: 'web:1', files: { a: '1' } });
    await store.stop();
    rmSync(join(dir, 'images/l'), { recursive: true });
    store = open();
    await store.start();
    await withRootfs(id, (root) => expect(readFileSync(join(root, 'a'), 'utf8')).toBe('1'));
  });

  test.skipIf(!hasSkopeo)('what it saves, it loads, and so does skopeo', async () => {
    const id = await load({ name: 'web:1', files: { a: '1' }, gzipLayers: true });
    await store.tag('web:1', 'other:2');
    const saved = join(dir, 'saved.tar');
    await pipeline(store.save(['web:1', 'other:2']), createWriteStream(saved));
    const inspected = execFileSync('skopeo', [
      'inspect',
      '--config',
      '--raw',
      `docker-archive:${saved}:web:1`,
    ]);
    expect(JSON.parse(inspected.toString()).created).toBe('2026-01-01T00:00:00Z');
    await store.remove('web:1', { force: true });
    await store.remove('other:2', { force: true });
    expect(store.list()).toEqual([]);
    const loaded = await store.load(createReadStream(saved));
    expect(loaded.map((image) => image.reference).sort()).toEqual(['other:2', 'web:1']);
    expect(store.get('other:2')?.id).toBe(id);
  });

  test.skipIf(!hasSkopeo)('loads what skopeo writes', async () => {
    const source = join(dir, 'image.tar');
    buildBusyboxImage({ name: 'web:1', outTar: source, files: { a: '1' } });
    const archive = join(dir, 'oci.tar');
    execFileSync('skopeo', [
      'copy',
      '-q',
      `docker-archive:${source}`,
      `oci-archive:${archive}:me/app:3`,
    ]);
    const loaded = await store.load(createReadStream(archive));
    expect(loaded).toHaveLength(1);
    expect(loaded[0]?.reference).toBe('me/app:3');
    expect(store.get('me/app:3')?.layers).toEqual(store.get(loaded[0]!.id)?.layers);
  });
});

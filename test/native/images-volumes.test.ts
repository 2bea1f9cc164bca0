// Volumes with content from image layers: owners, whiteouts and trusted attributes need root.
import {
  chmodSync,
  chownSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { SystemClock } from '../../common/base/clock.ts';
import { silentLogger } from '../../common/base/log.ts';
import { SystemRandom } from '../../common/base/random.ts';
import { makeWhiteout, setOpaque, setXattr } from '../../native/ffi/fs.ts';
import { mountsBelow, unmountTree } from '../../native/ffi/mount.ts';
import { type PopulateSource, VolumeStore } from '../../worker/volumes/volume-store.ts';

const isRoot = process.getuid?.() === 0;

describe.skipIf(!isRoot)('volume store (needs root)', () => {
  let dir: string;
  let store: VolumeStore;

  async function open(): Promise<VolumeStore> {
    const options = {
      dir: join(dir, 'volumes'),
      clock: new SystemClock(),
      random: new SystemRandom(),
      log: silentLogger,
      tell: () => {},
    };
    const opened = new VolumeStore(options);
    await opened.start();
    return opened;
  }

  const wanted = (populateFrom: PopulateSource | null) => ({
    labels: {},
    driver: '',
    options: {},
    populateFrom,
  });

  beforeEach(async () => {
    dir = mkdtempSync('/var/tmp/skep-volumes-');
    store = await open();
  });

  afterEach(async () => {
    await store.stop();
    await unmountTree(dir);
    rmSync(dir, { recursive: true, force: true });
  });

  test('what the options name is mounted while somebody uses it, and is not removed with it', async () => {
    const source = join(dir, 'source');
    mkdirSync(source);
    writeFileSync(join(source, 'kept'), 'of the host');
    const bind = { type: 'none', device: source, o: 'bind' };
    const memory = { type: 'tmpfs', device: 'tmpfs', o: 'size=1m,mode=700' };
    const common = { driver: '', labels: {} };
    const { mountpoint } = await store.create({ ...common, name: 'bound', options: bind });
    const tmpfs = await store.create({ ...common, name: 'memory', options: memory });
    expect(mountsBelow(dir)).toEqual([]);
    await store.acquire('one', 'bound', wanted(null));
    await store.acquire('two', 'bound', wanted(null));
    const lowerDirs = layers({ noted: false });
    await store.acquire('two', 'memory', wanted({ lowerDirs, path: '/var/lib/db' }));
    expect(readFileSync(join(mountpoint, 'kept'), 'utf8')).toBe('of the host');
    expect(readFileSync(join(tmpfs.mountpoint, 'base'), 'utf8')).toBe('bottom');
    await store.release('one');
    expect(mountsBelow(dir)).toEqual([mountpoint, tmpfs.mountpoint]);
    await unmountTree(dir); // the machine restarts
    await store.stop();
    store = await open();
    expect(mountsBelow(dir)).toEqual([]); // a server that is away holds nobody up
    await store.mountAgain('one'); // it has none any more
    expect(mountsBelow(dir)).toEqual([]);
    await store.mountAgain('two');
    await store.mountAgain('two');
    expect(mountsBelow(dir).sort()).toEqual([mountpoint, tmpfs.mountpoint].sort());
    expect(store.get('bound')?.options).toEqual(bind);
    await store.release('two');
    expect(mountsBelow(dir)).toEqual([]);
    await store.remove('bound', { force: false });
    expect(readFileSync(join(source, 'kept'), 'utf8')).toBe('of the host');
  });

  test('a bind that is to be read-only is', async () => {
    const source = join(dir, 'source');
    mkdirSync(source);
    const options = { type: 'none', device: source, o: 'bind,ro,nosuid' };
    const { mountpoint } = await store.create({ name: 'read', driver: '', labels: {}, options });
    await store.acquire('one', 'read', wanted(null));
    expect(() => writeFileSync(join(mountpoint, 'new'), '')).toThrow('EROFS');
    writeFileSync(join(source, 'new'), ''); // only there
    await store.release('one');
    expect(mountsBelow(dir)).toEqual([]);
  });

  test.each([
    [{ type: 'none', device: '/nowhere/at/all', o: 'bind' }, /ENOENT/],
    [{ type: 'nfs', device: ':/x', o: 'addr=127.0.0.1,vers=4,soft,retrans=1,timeo=5' }, /mount/],
    [{ type: 'sorcery', device: 'none' }, /ENODEV/],
  ])(
    '%j cannot be mounted: the first user is told, and nothing is held',
    async (options, words) => {
      await store.create({ name: 'broken', driver: '', labels: {}, options: options as never });
      const using = store.acquire('one', 'broken', wanted(null));
      await expect(using).rejects.toMatchObject({
        code: 'failed-precondition',
        message: expect.stringMatching('failed to mount local volume'),
        cause: expect.objectContaining({ message: expect.stringMatching(words) }),
      });
      await store.remove('broken', { force: false });
    },
  );

  test('what was mounted for a first user who cannot have it goes again', async () => {
    const options = { type: 'tmpfs', device: 'tmpfs' };
    const { mountpoint } = await store.create({ name: 'memory', driver: '', labels: {}, options });
    const users = join(dirname(mountpoint), 'users');
    rmSync(users, { recursive: true }); // where the user's file cannot be written
    await expect(store.acquire('one', 'memory', wanted(null))).rejects.toThrow('ENOENT');
    expect(mountsBelow(dir)).toEqual([]);
    mkdirSync(users);
    await store.acquire('one', 'memory', wanted(null));
    rmSync(users, { recursive: true });
    await expect(store.acquire('two', 'memory', wanted(null))).rejects.toThrow('ENOENT');
    expect(mountsBelow(dir)).toEqual([mountpoint]); // the other one has it yet
    await store.release('one');
  });

  /** Two layers: the upper one deletes, replaces and hides parts of the lower one. */
  /** @param noted a file has an attribute of a user's, which not every kernel's tmpfs takes (from Linux 6.6 on) */
  function layers({ noted = true } = {}): string[] {
    const [top, bottom] = [join(dir, 'top'), join(dir, 'bottom')];
    for (const path of ['var/lib/db/conf', 'var/lib/db/hidden', 'etc']) {
      mkdirSync(join(bottom, path), { recursive: true });
      mkdirSync(join(top, path), { recursive: true });
    }
    const put = (path: string): void =>
      writeFileSync(path, path.startsWith(top) ? 'top' : 'bottom');
    put(join(bottom, 'var/lib/db/base'));
    put(join(bottom, 'var/lib/db/gone'));
    put(join(bottom, 'var/lib/db/both'));
    put(join(bottom, 'var/lib/db/hidden/old'));
    put(join(bottom, 'var/lib/db/conf/a'));
    makeWhiteout(join(top, 'var/lib/db/gone'));
    setOpaque(join(top, 'var/lib/db/hidden'));
    put(join(top, 'var/lib/db/hidden/new'));
    put(join(top, 'var/lib/db/both'));
    if (noted) setXattr(join(top, 'var/lib/db/both'), 'user.note', Buffer.from('n'));
    symlinkSync('base', join(top, 'var/lib/db/link'));
    chownSync(join(top, 'var/lib/db'), 999, 998);
    chmodSync(join(top, 'var/lib/db'), 0o2770);
    chownSync(join(bottom, 'var/lib/db/base'), 999, 998);
    chmodSync(join(bottom, 'var/lib/db/base'), 0o4640);
    symlinkSync('/var/lib/db', join(top, 'data'));
    return [top, bottom];
  }

  test.each(['/var/lib/db', '/data', '/etc/../../data/'])(
    'an empty volume gets what the image has at %s, with owners',
    async (path) => {
      const source = { lowerDirs: layers(), path };
      const { path: data } = await store.acquire('c1', 'db', wanted(source));
      expect(data).toBe(join(dir, 'volumes/db/_data'));
      expect(readdirSync(data).sort()).toEqual(['base', 'both', 'conf', 'hidden', 'link']);
      expect(readdirSync(join(data, 'hidden'))).toEqual(['new']);
      expect(readFileSync(join(data, 'conf/a'), 'utf8')).toBe('bottom');
      expect(readFileSync(join(data, 'both'), 'utf8')).toBe('top');
      expect(readlinkSync(join(data, 'link'))).toBe('base');
      const root = statSync(data);
      expect([root.uid, root.gid, root.mode & 0o7777]).toEqual([999, 998, 0o2770]);
      const base = lstatSync(join(data, 'base'));
      expect([base.uid, base.gid, base.mode & 0o7777]).toEqual([999, 998, 0o4640]);
    },
  );

  test('a volume with content is left as it is', async () => {
    const { path } = await store.acquire('c1', 'db', wanted(null));
    writeFileSync(join(path, 'mine'), '1');
    await store.acquire('c2', 'db', wanted({ lowerDirs: layers(), path: '/var/lib/db' }));
    expect(readdirSync(path)).toEqual(['mine']);
  });

  test('an empty volume that somebody has mounted is filled in place', async () => {
    const { path } = await store.acquire('c1', 'db', wanted(null));
    const { ino } = statSync(path);
    await store.acquire('c2', 'db', wanted({ lowerDirs: layers(), path: '/var/lib/db' }));
    expect(statSync(path).ino).toBe(ino);
    expect(readdirSync(path)).toContain('base');
  });

  test('a target that the image does not have leaves the volume empty', async () => {
    const { path } = await store.acquire(
      'c1',
      'db',
      wanted({ lowerDirs: layers(), path: '/nowhere/at/all' }),
    );
    expect(readdirSync(path)).toEqual([]);
    expect(readdirSync(join(dir, 'volumes/db')).sort()).toEqual(['_data', 'users', 'volume.json']);
  });

  test('many containers starting at once fill a volume once', async () => {
    const source = { lowerDirs: layers(), path: '/var/lib/db' };
    const ids = Array.from({ length: 8 }, (_, i) => `c${i}`);
    await Promise.all(ids.map((id) => store.acquire(id, 'db', wanted(source))));
    expect(store.get('db')?.usedBy.toSorted()).toEqual(ids);
    expect(readdirSync(join(dir, 'volumes/db/_data')).sort()).toHaveLength(5);
  });

  test('a volume in use is not removed, also after a restart', async () => {
    const { path } = await store.acquire('task1', 'db', wanted(null));
    writeFileSync(join(path, 'kept'), '1');
    await store.stop();
    store = await open();
    expect(store.usingContainers()).toEqual(['task1']);
    await expect(store.remove('db', { force: true })).rejects.toThrow(
      'remove db: volume is in use - [task1]',
    );
    await store.release('task1');
    await store.release('task1');
    expect(readFileSync(join(path, 'kept'), 'utf8')).toBe('1');
    await store.remove('db', { force: false });
    expect(existsSync(path)).toBe(false);
    expect(readdirSync(join(dir, 'volumes'))).toEqual([]);
    await expect(store.remove('db', { force: false })).rejects.toMatchObject({ code: 'not-found' });
    await store.remove('db', { force: true });
  });

  test('whoever looks at its files keeps it from removal, with what its options name mounted', async () => {
    const options = { type: 'tmpfs', device: 'tmpfs', o: 'size=64k' };
    await store.create({ name: 'memory', driver: 'local', labels: {}, options });
    const isMounted = (): boolean =>
      readFileSync('/proc/self/mountinfo', 'utf8').includes(join(dir, 'volumes/memory/_data'));
    await store.withFiles('memory', async (path) => {
      expect(isMounted()).toBe(true);
      writeFileSync(join(path, 'kept'), '1');
      await expect(store.remove('memory', { force: true })).rejects.toMatchObject({
        code: 'conflict',
        message: 'remove memory: volume is in use - [an archive]',
      });
      await store.acquire('c1', 'memory', wanted(null));
      await store.release('c1');
      expect(readFileSync(join(path, 'kept'), 'utf8')).toBe('1');
    });
    expect(isMounted()).toBe(false);
    await expect(
      store.withFiles('memory', () => Promise.reject(new Error('it broke'))),
    ).rejects.toThrow('it broke');
    expect(isMounted()).toBe(false);
    await store.remove('memory', { force: false });
    await expect(store.withFiles('memory', async () => {})).rejects.toMatchObject({
      code: 'not-found',
    });
  });

  test('an anonymous volume goes with its container', async () => {
    const source = { lowerDirs: layers(), path: '/var/lib/db' };
    const { name, path } = await store.createAnonymous('c1', source);
    expect(name).toMatch(/^[0-9a-f]{64}$/);
    expect(readdirSync(path)).toContain('base');
    expect(store.get(name)).toMatchObject({ anonymous: true, usedBy: ['c1'] });
    await store.release('c1');
    expect(store.list()).toEqual([]);
    expect(existsSync(path)).toBe(false);
  });

  test('an anonymous volume stays where its container is removed without it, and who names it does not take it along', async () => {
    const source = { lowerDirs: layers(), path: '/var/lib/db' };
    const { name, path } = await store.createAnonymous('c1', source);
    const named = { labels: {}, driver: '', options: {}, populateFrom: null };
    expect(await store.acquire('c2', name, named)).toEqual({ path });
    await store.release('c1', { keepsAnonymous: true });
    await store.stop();
    store = await open();
    await store.release('c2');
    expect(store.get(name)).toMatchObject({ anonymous: true, usedBy: [] });
    const lone = await store.createAnonymous('c3', source);
    await store.release('c3', { keepsAnonymous: true });
    expect(readdirSync(lone.path)).toContain('base');
  });

  test('what a crash left is cleared, but nobody loses data', async () => {
    await store.create({ name: 'kept', driver: 'local', labels: { a: 'b' }, options: {} });
    const root = join(dir, 'volumes');
    mkdirSync(join(root, 'half/_data'), { recursive: true });
    mkdirSync(join(root, 'foreign/_data'), { recursive: true });
    writeFileSync(join(root, 'foreign/_data/file'), '1');
    mkdirSync(join(root, '.trash-1/_data'), { recursive: true });
    mkdirSync(join(root, 'kept/filling'));
    await store.stop();
    store = await open();
    expect(readdirSync(root).sort()).toEqual(['foreign', 'kept']);
    expect(readdirSync(join(root, 'kept')).sort()).toEqual(['_data', 'users', 'volume.json']);
    expect(store.list()).toMatchObject([{ name: 'kept', labels: { a: 'b' }, driver: 'local' }]);
  });

  test.each([
    [{ name: 'a' }, 'too short'],
    [{ name: '../x' }, 'invalid characters'],
    [{ name: 'a/b' }, 'invalid characters'],
    [{ name: '.hidden' }, 'invalid characters'],
    [{ name: 'ok', driver: 'nfs' }, 'plugin "nfs" not found'],
    [{ name: 'ok', options: { type: 'nfs' } }, 'missing required option: "device"'],
    [{ name: 'ok', options: { size: '1g' } }, 'volume driver option size is not supported'],
    [{ name: 'ok', options: { colour: 'red' } }, 'invalid option: "colour"'],
  ])('refuses %j', async (options, words) => {
    const full = { driver: '', labels: {}, options: {}, ...options };
    await expect(store.create(full)).rejects.toThrow(words);
    expect(readdirSync(join(dir, 'volumes'))).toEqual([]);
  });
});

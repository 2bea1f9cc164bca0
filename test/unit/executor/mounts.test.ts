import { stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { parseMountinfo } from '../../../common/base/mountinfo.ts';
import { type Mount, PLAIN_BIND } from '../../../common/model/service.ts';
import { planMounts, propagationProblem } from '../../../worker/executor/mounts.ts';
import { anImageConfig, FakeVolumes } from '../../support/fake-container-host.ts';
import { temporaryFolders } from '../../support/temporary-folder.ts';

const folder = temporaryFolders();

function aMount(overrides: Partial<Mount> = {}): Mount {
  return {
    type: 'volume',
    source: 'data',
    target: '/data',
    readOnly: false,
    bind: null,
    volume: null,
    tmpfs: null,
    ...overrides,
  };
}

const VOLUME = { noCopy: false, labels: {}, driver: '', driverOptions: {}, subpath: '' };

async function planned(
  mounts: Mount[],
  imageVolumes: string[] = [],
  isMapped = false,
  makesTreesReadOnly = true,
) {
  const volumes = new FakeVolumes();
  const image = anImageConfig({ volumes: imageVolumes });
  const plan = await planMounts({
    containerId: 'one',
    mounts,
    image,
    lowerDirs: ['/layers/1'],
    volumes,
    isMapped,
    makesTreesReadOnly,
  });
  return { plan, volumes };
}

describe('mounts of a task', () => {
  test('with a user namespace what is in volumes is its own, binds stay the node’s', async () => {
    const bind: Mount = { ...aMount({ target: '/b' }), type: 'bind', source: '/' };
    const { plan } = await planned([aMount(), bind], ['/anonymous'], true);
    const mapped = plan.filter(({ options }) => options.includes('idmap'));
    expect(mapped.map(({ destination }) => destination)).toEqual(['/data', '/anonymous']);
  });

  test('a named volume is made on first use and filled from the image', async () => {
    const { plan, volumes } = await planned([aMount()]);
    expect(plan).toEqual([
      {
        destination: '/data',
        type: 'bind',
        source: '/volumes/data',
        options: ['rbind', 'rprivate'],
      },
    ]);
    const populateFrom = { lowerDirs: ['/layers/1'], path: '/data' };
    expect(volumes.acquired).toEqual([
      {
        name: 'data',
        options: { labels: {}, driver: 'local', options: {}, populateFrom },
        populateFrom,
      },
    ]);
  });

  test('volume options are passed on; without copy it stays empty', async () => {
    const { volumes } = await planned([
      aMount({
        volume: { ...VOLUME, noCopy: true, labels: { a: 'b' }, driverOptions: { o: 'ro' } },
      }),
    ]);
    expect(volumes.acquired[0]?.options).toEqual({
      labels: { a: 'b' },
      driver: 'local',
      options: { o: 'ro' },
      populateFrom: null,
    });
  });

  test('a volume without a name is anonymous', async () => {
    const { plan, volumes } = await planned([aMount({ source: '' })]);
    expect(plan[0]?.source).toBe('/volumes/anonymous-1');
    expect(volumes.acquired[0]?.name).toBeNull();
  });

  test("the image's volumes are anonymous unless the task mounts something there", async () => {
    const { plan } = await planned([aMount({ target: '/data' })], ['/data', '/cache']);
    expect(plan.map(({ destination, source }) => [destination, source])).toEqual([
      ['/data', '/volumes/data'],
      ['/cache', '/volumes/anonymous-1'],
    ]);
  });

  test('a place is one place, however it is written', async () => {
    const { plan } = await planned([aMount({ target: '/data/' })], ['/x/../data', '/cache/']);
    expect(plan.map(({ destination }) => destination)).toEqual(['/data', '/cache']);
  });

  test.each<[string, Partial<Mount>, string[]]>([
    ['plain', {}, ['rbind', 'rprivate']],
    ['read-only', { readOnly: true }, ['rbind', 'rprivate', 'rro']],
    ['with propagation', { bind: { ...PLAIN_BIND, propagation: 'private' } }, ['rbind', 'private']],
    ['not recursive', { bind: { ...PLAIN_BIND, nonRecursive: true } }, ['bind', 'rprivate']],
    [
      'read-only and not recursive',
      { readOnly: true, bind: { ...PLAIN_BIND, nonRecursive: true } },
      ['bind', 'rprivate', 'ro'],
    ],
    [
      'read-only, and nothing below it',
      { readOnly: true, bind: { ...PLAIN_BIND, readOnlyNonRecursive: true } },
      ['rbind', 'rprivate', 'ro'],
    ],
    [
      'read-only with all below it',
      { readOnly: true, bind: { ...PLAIN_BIND, readOnlyForceRecursive: true } },
      ['rbind', 'rprivate', 'rro'],
    ],
  ])('a bind, %s', async (_what, overrides, options) => {
    const source = await folder();
    const { plan } = await planned([aMount({ type: 'bind', source, ...overrides })]);
    expect(plan).toEqual([{ destination: '/data', type: 'bind', source, options }]);
  });

  test('a kernel that cannot make trees of mounts read-only makes their roots so, unless all must be', async () => {
    const source = await folder();
    const mount = aMount({ type: 'bind', source, readOnly: true });
    const { plan } = await planned([mount], [], false, false);
    expect(plan[0]?.options).toEqual(['rbind', 'rprivate', 'ro']);
    const forced = { ...mount, bind: { ...PLAIN_BIND, readOnlyForceRecursive: true } };
    await expect(planned([forced], [], false, false)).rejects.toThrow(
      'mount /data: the kernel of this node makes no trees of mounts read-only',
    );
  });

  const MOUNTS = parseMountinfo(`21 1 8:1 / / rw - ext4 /dev/sda1 rw
22 21 8:2 / /srv rw shared:1 - ext4 /dev/sda2 rw
23 21 8:3 / /slave rw master:1 - ext4 /dev/sda3 rw
24 22 8:4 / /srv/own rw - ext4 /dev/sda4 rw`);
  test.each([
    ['/srv/data', 'rshared', null],
    ['/srv', 'slave', null],
    ['/slave/a', 'rslave', null],
    ['/slave/a', 'shared', 'mounted on /slave but it is not a shared mount: '],
    ['/srv/own/a', 'rslave', 'mounted on /srv/own but it is not a shared or slave mount: '],
    ['/srvdata', 'rshared', 'mount --make-shared / makes it one; private propagation needs none'],
  ])('a bind of %s may be %s: %s', (path, propagation, problem) => {
    const found = propagationProblem(path, propagation, MOUNTS);
    if (problem === null) expect(found).toBeNull();
    else expect(found).toContain(problem);
  });

  test('the source of a bind must exist', async () => {
    const source = join(await folder(), 'nowhere');
    await expect(planned([aMount({ type: 'bind', source })])).rejects.toThrow(
      `bind source path does not exist: ${source}`,
    );
  });

  test.each([true, false])(
    'one that cannot be read is told as that, also when it may be made: %s',
    async (made) => {
      const file = join(await folder(), 'file');
      await writeFile(file, '');
      const source = join(file, 'below'); // ENOTDIR, for root as well
      const bind = { ...PLAIN_BIND, createMountpoint: made };
      await expect(planned([aMount({ type: 'bind', source, bind })])).rejects.toMatchObject({
        code: 'failed-precondition',
        message: expect.stringContaining(`bind source path ${source} cannot be read: ENOTDIR`),
      });
    },
  );

  test('or is made when asked for', async () => {
    const source = join(await folder(), 'a', 'b');
    const bind = { ...PLAIN_BIND, createMountpoint: true };
    await planned([aMount({ type: 'bind', source, bind })]);
    expect((await stat(source)).isDirectory()).toBe(true);
  });

  test.each<[string, Partial<Mount>, string[]]>([
    ['plain', {}, ['nosuid', 'nodev', 'noexec', 'mode=1777']],
    ['read-only', { readOnly: true }, ['nosuid', 'nodev', 'noexec', 'ro', 'mode=1777']],
    [
      'with size and mode',
      { tmpfs: { sizeBytes: 4096, mode: 0o700, options: [] } },
      ['nosuid', 'nodev', 'noexec', 'size=4096', 'mode=700'],
    ],
    [
      'for programs of a user',
      { tmpfs: { sizeBytes: 0, mode: 0, options: ['exec', 'uid=1000'] } },
      ['nosuid', 'nodev', 'exec', 'uid=1000', 'mode=1777'],
    ],
  ])('a tmpfs, %s', async (_what, overrides, options) => {
    const { plan } = await planned([aMount({ type: 'tmpfs', source: '', ...overrides })]);
    expect(plan).toEqual([{ destination: '/data', type: 'tmpfs', source: 'tmpfs', options }]);
  });

  test('parents come before children, in whatever order they are given', async () => {
    const targets = ['/a/b/c', '/a', '/x', '/a/b'];
    const { plan } = await planned(targets.map((target) => aMount({ target })));
    expect(plan.map(({ destination }) => destination)).toEqual(['/a', '/x', '/a/b', '/a/b/c']);
  });

  test('what is not done is refused by name', async () => {
    await expect(planned([aMount({ type: 'cluster' })])).rejects.toThrow('cluster volumes');
    const volume = { ...VOLUME, subpath: '../sub' };
    await expect(planned([aMount({ volume })])).rejects.toThrow('subpath must be a relative path');
  });
});

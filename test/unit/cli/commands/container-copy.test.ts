import {
  lstatSync,
  mkdirSync,
  readFileSync,
  readlinkSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { beforeEach, describe, expect, test } from 'vitest';
import { packLocal, unpackLocal } from '../../../../cli/client/local-files.ts';
import { ApiError } from '../../../../cli/client/transport.ts';
import { cp, diff, placeOf } from '../../../../cli/commands/container-copy.ts';
import { type FakeEngine, runCommand } from '../../../support/cli-command.ts';
import { temporaryFolders } from '../../../support/temporary-folder.ts';

const DIRECTORY = 2 ** 31;
const LINK = 2 ** 27;
const makeFolder = temporaryFolders();
/** local files, and the container's */
let cwd: string;
let inside: string;
beforeEach(async () => {
  cwd = await makeFolder();
  inside = await makeFolder();
});

/** A container whose files lie below `inside`. */
function engine(stats: Readonly<Record<string, { mode: number; linkTarget?: string }>>) {
  const puts: unknown[] = [];
  const fake: FakeEngine = {
    container: async (ref: string) => ({ Id: ref }),
    pathStat: async (_ref: string, path: string) => {
      const found = stats[path];
      if (!found) throw new ApiError(404, 'no');
      return { name: path, size: 1, linkTarget: '', ...found };
    },
    archiveGet: async (_ref: string, path: string) =>
      packLocal(join(inside, path), path.split('/').at(-1)!),
    archivePut: async (_ref: string, path: string, tar: Readable, owners: boolean) => {
      puts.push([path, owners]);
      mkdirSync(join(inside, path), { recursive: true });
      await unpackLocal(tar, join(inside, path), { isRoot: true, owners: false });
    },
  };
  return { fake, puts };
}

const files = (text: Readonly<Record<string, string>>, root: string): void => {
  for (const [path, content] of Object.entries(text)) {
    mkdirSync(join(root, path, '..'), { recursive: true });
    writeFileSync(join(root, path), content);
  }
};
const read = (root: string, path: string): string => readFileSync(join(root, path), 'utf8');

describe('a place', () => {
  test.each([
    ['c:/a', 'c', '/a'],
    ['c:a', 'c', 'a'],
    ['/a:b', null, '/a:b'],
    ['./a:b', null, './a:b'],
    ['-', null, '-'],
    [':x', null, ':x'],
  ])('%s', (text, container, path) => {
    expect(placeOf(text)).toEqual({ container, path });
  });
});

describe('skep cp out of a container', () => {
  const stats = { '/etc': { mode: DIRECTORY }, '/etc/a': { mode: 0o644 } };
  beforeEach(() => files({ 'etc/a': 'A', 'etc/sub/b': 'B' }, inside));

  test.each([
    ['a file to a name', 'c:/etc/a', 'x', ['x']],
    ['a file into a folder', 'c:/etc/a', 'there', ['there/a']],
    ['a folder to a new name', 'c:/etc', 'new', ['new/a', 'new/sub/b']],
    ['a folder into a folder', 'c:/etc', 'there', ['there/etc/a', 'there/etc/sub/b']],
    ['what is in a folder', 'c:/etc/.', 'there', ['there/a', 'there/sub/b']],
    ['a relative path from the root', 'c:etc/a', '.', ['a']],
  ])('%s', async (_name, source, target, made) => {
    mkdirSync(join(cwd, 'there'));
    const { status, stderr } = await runCommand(cp, [source, target], {
      engine: engine(stats).fake,
      cwd,
    });
    expect([status, stderr]).toEqual([0, expect.stringMatching(/^Successfully copied .*kB to /)]);
    for (const path of made) expect(read(cwd, path)).toBe(path.endsWith('b') ? 'B' : 'A');
  });

  test.each([
    ['a folder over a file', 'c:/etc', 'file', 'cannot copy directory c:/etc to the file file'],
    ['a file to a missing folder', 'c:/etc/a', 'none/', 'no such directory: none/'],
    ['below a missing folder', 'c:/etc/a', 'none/x', 'invalid output path'],
    ['a file as a folder', 'c:/etc/a/.', 'x', 'c:/etc/a/.: not a directory'],
    ['what is not there', 'c:/no', 'x', 'Could not find the file /no in container c'],
  ])('refuses %s', async (_name, source, target, words) => {
    files({ file: 'F' }, cwd);
    const { status, stderr } = await runCommand(cp, [source, target], {
      engine: engine(stats).fake,
      cwd,
    });
    expect([status, stderr]).toEqual([1, expect.stringContaining(words)]);
    expect(read(cwd, 'file')).toBe('F');
  });

  test('copies a link, or with -L what it points to', async () => {
    symlinkSync('../etc/a', join(inside, 'link'));
    const linked = { ...stats, '/link': { mode: LINK, linkTarget: '/etc/a' } };
    await runCommand(cp, ['-L', 'c:/link', 'x'], { engine: engine(linked).fake, cwd });
    expect(read(cwd, 'x')).toBe('A');
    await runCommand(cp, ['-L', 'c:/link', '.'], { engine: engine(linked).fake, cwd });
    expect(read(cwd, 'link')).toBe('A');
  });
});

describe('skep cp into a container', () => {
  const stats = {
    '/srv': { mode: DIRECTORY },
    '/srv/file': { mode: 0o644 },
    '/to': { mode: LINK, linkTarget: 'srv' },
  };
  beforeEach(() => files({ 'd/a': 'A', 'd/sub/b': 'B' }, cwd));

  test.each([
    ['a file to a name', 'd/a', 'c:/srv/x', ['srv/x']],
    ['a file over a file', 'd/a', 'c:/srv/file', ['srv/file']],
    ['a file into a folder', 'd/a', 'c:/srv', ['srv/a']],
    ['a folder to a new name', 'd', 'c:/srv/new', ['srv/new/a', 'srv/new/sub/b']],
    ['a folder into a folder', 'd', 'c:/srv/', ['srv/d/a', 'srv/d/sub/b']],
    ['what is in a folder', 'd/.', 'c:/srv', ['srv/a', 'srv/sub/b']],
    ['behind a link', 'd/a', 'c:/to', ['srv/a']],
  ])('%s', async (_name, source, target, made) => {
    const { fake, puts } = engine(stats);
    const { status, stderr } = await runCommand(cp, ['-a', source, target], { engine: fake, cwd });
    expect([status, stderr]).toEqual([0, expect.stringContaining(`to ${target}`)]);
    expect(puts).toEqual([[expect.any(String), true]]);
    for (const path of made) expect(read(inside, path)).toBe(path.endsWith('b') ? 'B' : 'A');
  });

  test('-L follows the link that is named, and none in what it points to', async () => {
    symlinkSync('d', join(cwd, 'link'));
    symlinkSync('/nowhere', join(cwd, 'd/dangling'));
    symlinkSync('a', join(cwd, 'd/same'));
    const { fake } = engine(stats);
    for (const source of ['link', 'd']) {
      const argv = ['-L', source, 'c:/srv'];
      expect((await runCommand(cp, argv, { engine: fake, cwd })).status).toBe(0);
      const made = join(inside, 'srv', source);
      expect(lstatSync(made).isDirectory()).toBe(true);
      expect(read(made, 'a')).toBe('A');
      expect([readlinkSync(join(made, 'dangling')), readlinkSync(join(made, 'same'))]).toEqual([
        '/nowhere',
        'a',
      ]);
    }
    expect((await runCommand(cp, ['link', 'c:/srv/as-link'], { engine: fake, cwd })).status).toBe(
      0,
    );
    expect(readlinkSync(join(inside, 'srv/as-link'))).toBe('d');
  });

  test.each([
    ['a folder over a file', 'd', 'c:/srv/file', 'cannot copy directory d to the file'],
    ['a file to a missing folder', 'd/a', 'c:/none/', 'no such directory: c:/none/'],
    ['from a container to another', 'c:/a', 'd:/b', 'between containers is not supported'],
    ['between folders of this machine', 'd', 'e', 'must specify at least one container source'],
  ])('refuses %s', async (_name, source, target, words) => {
    const { fake, puts } = engine(stats);
    const { status, stderr } = await runCommand(cp, [source, target], { engine: fake, cwd });
    expect([status, stderr, puts]).toEqual([1, expect.stringContaining(words), []]);
  });
});

test('skep diff says what was changed, added and deleted', async () => {
  const engine: FakeEngine = {
    containerChanges: async () => [
      { Path: '/etc', Kind: 0 },
      { Path: '/etc/new', Kind: 1 },
      { Path: '/bin/sh', Kind: 2 },
    ],
  };
  expect((await runCommand(diff, ['c'], { engine })).stdout).toBe(
    'C /etc\nA /etc/new\nD /bin/sh\n',
  );
});

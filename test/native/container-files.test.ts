/** Files that are copied into a container's root: what an archive or the container does leads nowhere else. */
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { RootTree } from '../../worker/containers/root-tree.ts';
import { RootWriter } from '../../worker/containers/root-writer.ts';
import type { TarEntry } from '../../worker/images/tar-reader.ts';
import { temporaryFolders } from '../support/temporary-folder.ts';

const makeFolder = temporaryFolders();
let root: string;
let host: string;

beforeEach(async () => {
  root = await makeFolder();
  host = await makeFolder();
  writeFileSync(join(host, 'secret'), 'of the host');
  chmodSync(host, 0o700);
});

const anEntry = (entry: Pick<TarEntry, 'name' | 'kind'> & Partial<TarEntry>): TarEntry => ({
  ...{ linkName: '', mode: 0o644, uid: 0, gid: 0, mtimeSeconds: 1_000, sizeBytes: 0 },
  ...{ deviceMajor: 0, deviceMinor: 0, xattrs: new Map(), sparse: null },
  ...entry,
});

function extract(at: string, entries: readonly TarEntry[], replacesKinds = true): void {
  const tree = new RootTree(root);
  const options = { copyOwners: false, replacesKinds, owners: tree.owners };
  const writer = new RootWriter(tree.fd, at, tree.openDirectory(at), options);
  try {
    for (const entry of entries) {
      writer.entry(entry);
      if (entry.kind === 'file') writer.data(Buffer.from('copied'));
      writer.end();
    }
    writer.finish();
  } finally {
    writer.close();
    tree.close();
  }
}

describe('an archive that is copied into a container', () => {
  test('writes files with their modes and times, and makes what is missing on the way', () => {
    extract('/', [anEntry({ name: 'a/b/file', kind: 'file', mode: 0o4755 })]);
    expect(readFileSync(join(root, 'a/b/file'), 'utf8')).toBe('copied');
    expect(statSync(join(root, 'a/b/file'))).toMatchObject({ mode: 0o104755, mtimeMs: 1_000_000 });
  });

  test('stays inside when its names climb', () => {
    extract('/', [anEntry({ name: '../../../up', kind: 'file' })]);
    expect(readFileSync(join(root, 'up'), 'utf8')).toBe('copied');
  });

  test('stays inside where the container has links to places of the host', () => {
    symlinkSync(host, join(root, 'link'));
    const entry = anEntry({ name: 'link/secret', kind: 'file' });
    expect(() => extract('/', [entry])).toThrow('cannot write below "/link": it leads nowhere');
    mkdirSync(join(root, host), { recursive: true });
    extract('/', [entry]);
    expect(readFileSync(join(host, 'secret'), 'utf8')).toBe('of the host');
    expect(readFileSync(join(root, host, 'secret'), 'utf8')).toBe('copied');
  });

  test('links to what is inside only', () => {
    const linkName = join(host, 'secret');
    expect(() => extract('/', [anEntry({ name: 'hard', kind: 'hardlink', linkName })])).toThrow();
    expect(existsSync(join(root, 'hard'))).toBe(false);
  });

  test('replaces a directory, and of links in it only the links', () => {
    mkdirSync(join(root, 'd/below'), { recursive: true });
    symlinkSync(host, join(root, 'd/below/out'));
    writeFileSync(join(root, 'd/file'), 'x');
    extract('/', [anEntry({ name: 'd', kind: 'file' })]);
    expect(readFileSync(join(root, 'd'), 'utf8')).toBe('copied');
    expect(readFileSync(join(host, 'secret'), 'utf8')).toBe('of the host');
  });

  test('puts a directory in the place of a link, not behind it', () => {
    symlinkSync(host, join(root, 'd'));
    extract('/', [anEntry({ name: 'd', kind: 'directory', mode: 0o777 })]);
    expect(lstatSync(join(root, 'd')).isDirectory()).toBe(true);
    expect(statSync(host).mode & 0o777).toBe(0o700);
  });

  test('does not change the kind of what is there unless it may', () => {
    symlinkSync('elsewhere', join(root, 'd'));
    const entry = anEntry({ name: 'd', kind: 'directory' });
    expect(() => extract('/', [entry], false)).toThrow('cannot overwrite non-directory "/d"');
    expect(readlinkSync(join(root, 'd'))).toBe('elsewhere');
  });
});

test('a name that is longer than any can be is of no file', () => {
  const tree = new RootTree(root);
  const long = `/${'x'.repeat(256)}`;
  try {
    for (const ask of [
      () => tree.stat(long),
      () => tree.stat(`${long}/a`),
      () => tree.openDirectory(long),
    ]) {
      expect(ask).toThrow(expect.objectContaining({ code: 'not-found' }));
    }
    expect(() => tree.stat(`/${'x'.repeat(255)}`)).toThrow('no such file');
  } finally {
    tree.close();
  }
});

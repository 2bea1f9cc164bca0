// Files that are replaced and trees that are removed in one turn on another thread.
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { NativeSmallFiles, removeTree, replaceFile } from '../../native/ffi/trees.ts';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'skep-trees-'));
});
afterEach(() => {
  rmSync(dir, { recursive: true, force: true });
});

describe('a file that is replaced', () => {
  test('has the new contents and its mode, and leaves nothing beside it', async () => {
    const path = join(dir, 'file');
    writeFileSync(path, 'old and longer');
    await replaceFile(path, 'neu: ü', { mode: 0o600, unfinished: `${path}.tmp` });
    expect(readFileSync(path, 'utf8')).toBe('neu: ü');
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(readdirSync(dir)).toEqual(['file']);
  });

  test('is refused with what the kernel said, and is as it was', async () => {
    const path = join(dir, 'file');
    writeFileSync(path, 'old');
    mkdirSync(`${path}.tmp`);
    const replaced = replaceFile(path, 'new', { mode: 0o600, unfinished: `${path}.tmp` });
    await expect(replaced).rejects.toMatchObject({ errno: 'EISDIR' });
    expect(readFileSync(path, 'utf8')).toBe('old');
  });

  test('gets a folder when there is none', async () => {
    const path = join(dir, 'a', 'b', 'file');
    await new NativeSmallFiles().replace(path, 'text');
    expect(readFileSync(path, 'utf8')).toBe('text');
  });
});

describe('a tree that is removed', () => {
  test('goes with all that is in it, but for what its links lead to', async () => {
    const [tree, other] = [join(dir, 'tree'), join(dir, 'other')];
    for (const path of [tree, other, join(tree, 'empty')]) mkdirSync(path);
    writeFileSync(join(other, 'kept'), '');
    symlinkSync(other, join(tree, 'directory'));
    symlinkSync(join(other, 'kept'), join(tree, 'file'));
    await removeTree(tree);
    expect(readdirSync(dir)).toEqual(['other']);
    expect(readdirSync(other)).toEqual(['kept']);
    await removeTree(tree);
  });

  test('may have more entries than one turn removes', async () => {
    const tree = join(dir, 'tree');
    for (const part of ['a', 'b', 'c']) {
      mkdirSync(join(tree, part), { recursive: true });
      for (let i = 0; i < 700; i++) writeFileSync(join(tree, part, `${i}`), '');
    }
    await removeTree(tree);
    expect(readdirSync(dir)).toEqual([]);
  });

  test('may be deeper than a path is long', async () => {
    const tree = join(dir, 'tree');
    mkdirSync(tree);
    const before = process.cwd();
    process.chdir(tree);
    try {
      for (let depth = 0; depth < 1_200; depth++) {
        mkdirSync('deeper');
        writeFileSync('file', '');
        process.chdir('deeper');
      }
    } finally {
      process.chdir(before);
    }
    await removeTree(tree);
    expect(readdirSync(dir)).toEqual([]);
  });

  test('is none when it is a link or a file', async () => {
    writeFileSync(join(dir, 'file'), '');
    mkdirSync(join(dir, 'other'));
    symlinkSync(join(dir, 'other'), join(dir, 'link'));
    for (const name of ['file', 'link']) {
      await expect(removeTree(join(dir, name))).rejects.toMatchObject({ errno: 'ENOTDIR' });
    }
    expect(readdirSync(dir).sort()).toEqual(['file', 'link', 'other']);
  });
});

import { linkSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { treeSizeBytes } from '../../../worker/volumes/tree-size.ts';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'skep-size-'));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

describe('the size of a tree', () => {
  test('is that of its files, hard links once, what links point at not at all', async () => {
    mkdirSync(join(dir, 'a/b'), { recursive: true });
    writeFileSync(join(dir, 'a/b/file'), 'x'.repeat(1000));
    linkSync(join(dir, 'a/b/file'), join(dir, 'again'));
    writeFileSync(join(dir, 'other'), 'y'.repeat(10));
    symlinkSync('/usr/bin/env', join(dir, 'link'));
    symlinkSync('/usr', join(dir, 'far'));
    expect(await treeSizeBytes(dir)).toBe(1010);
  });

  test('of nothing is 0', async () => {
    expect(await treeSizeBytes(join(dir, 'absent'))).toBe(0);
  });
});

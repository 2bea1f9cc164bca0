// Several small files read in one call (native/ffi/files.ts).
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { readFilesNow } from '../../native/ffi/files.ts';

describe('reading several files', () => {
  let dir = '';
  const file = (name: string, text: string): string => {
    writeFileSync(join(dir, name), text);
    return join(dir, name);
  };
  beforeAll(() => {
    dir = mkdtempSync(join(tmpdir(), 'skep-files-'));
  });
  afterAll(() => rmSync(dir, { recursive: true, force: true }));

  test('each comes in its place, without its last newline; null is not there', () => {
    const paths = [file('a', 'one\n'), join(dir, 'none'), file('b', ''), file('c', 'x\ny\n')];
    expect(readFilesNow(paths)).toEqual(['one', null, '', 'x\ny']);
    expect(readFilesNow(['/proc/self/nothing', '/proc/self/comm'])).toEqual([null, 'node']);
    expect(readFilesNow([])).toEqual([]);
  });

  test('a process that has ended tells nothing', () => {
    expect(readFilesNow(['/proc/4194999/net/dev'])).toEqual([null]);
  });

  test('what cannot be read, or is too large, is named', () => {
    expect(() => readFilesNow([dir])).toThrow(/EISDIR/);
    const large = file('large', 'x'.repeat(300_000));
    expect(() => readFilesNow([large])).toThrow(`read ${large}: ENOBUFS`);
  });
});

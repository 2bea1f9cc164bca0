import { describe, expect, test } from 'vitest';
import { parseSizeBytes, parseTmpfsOptions } from '../../../worker/volumes/mount-options.ts';
import { requireBindSource } from '../../../worker/volumes/volume-store.ts';

describe('mount options', () => {
  test.each([
    ['4096', 4096],
    ['64m', 64 * 2 ** 20],
    ['64MB', 64 * 2 ** 20],
    ['1GiB', 2 ** 30],
    ['1.5k', 1536],
    ['100b', 100],
  ])('reads size %s', (text, bytes) => {
    expect(parseSizeBytes(text)).toBe(bytes);
  });

  test.each(['', 'm', '-1', '1x', '1mm', '1e9', '99999999999999999999g'])(
    'refuses size %j',
    (text) => {
      expect(() => parseSizeBytes(text)).toThrow('not a size');
    },
  );

  test.each([
    ['', { sizeBytes: null, mode: null }],
    ['size=64m', { sizeBytes: 64 * 2 ** 20, mode: null }],
    ['rw,noexec,size=1k,mode=1770', { sizeBytes: 1024, mode: 0o1770 }],
  ])('reads tmpfs options %j', (text, options) => {
    expect(parseTmpfsOptions(text)).toEqual(options);
  });

  test.each([
    ['uid=5', 'tmpfs option uid: not supported'],
    ['mode=999', 'not octal'],
    ['mode=17777', 'not octal'],
  ])('refuses tmpfs options %j', (text, words) => {
    expect(() => parseTmpfsOptions(text)).toThrow(words);
  });

  test('a bind source must exist and be absolute', async () => {
    await expect(requireBindSource('/nonexistent/x')).rejects.toThrow(
      'bind source path does not exist: /nonexistent/x',
    );
    await expect(requireBindSource('relative')).rejects.toThrow('must be absolute');
    await requireBindSource('/');
  });
});

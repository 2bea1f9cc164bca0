import { describe, expect, test } from 'vitest';
import { parseTmpfsText } from '../../../common/model/tmpfs-options.ts';

const NONE = { sizeBytes: 0, mode: 0, options: [] };

describe('options of a tmpfs', () => {
  test.each([
    ['', { isReadOnly: false, tmpfs: NONE }],
    ['rw,nosuid,nodev,noexec', { isReadOnly: false, tmpfs: NONE }],
    [
      'ro,size=64m,mode=1770',
      { isReadOnly: true, tmpfs: { ...NONE, sizeBytes: 2 ** 26, mode: 0o1770 } },
    ],
    ['ro,rw,size=1GB', { isReadOnly: false, tmpfs: { ...NONE, sizeBytes: 2 ** 30 } }],
    [
      'exec,suid,dev,uid=1000,gid=0,nr_inodes=5',
      {
        isReadOnly: false,
        tmpfs: { ...NONE, options: ['exec', 'suid', 'dev', 'uid=1000', 'gid=0', 'nr_inodes=5'] },
      },
    ],
    [
      'exec,uid=1,noexec,uid=2', // the later one counts
      { isReadOnly: false, tmpfs: { ...NONE, options: ['uid=2'] } },
    ],
  ])('%j', (text, options) => expect(parseTmpfsText(text)).toEqual(options));

  test.each([
    'uid=root',
    'uid=',
    'uid=1=2',
    'uid',
    'gid=4294967295',
    'size=1t',
    'mode=17777',
    'mode=0',
    'exec=1',
    'sync',
  ])('%s is none', (word) =>
    expect(() => parseTmpfsText(word)).toThrow(`invalid tmpfs option "${word}"`),
  );

  test.each([
    ['mode=0', 'mode is octal, from 1 to 7777'],
    ['mode=9', 'mode is octal, from 1 to 7777'],
    ['size=1t', 'size is a number of bytes, or one with k, m or g'],
    ['sync', 'there are size, mode, ro, rw'],
  ])('the refusal of %s says %s', (word, reason) =>
    expect(() => parseTmpfsText(word)).toThrow(`invalid tmpfs option "${word}": ${reason}`),
  );
});

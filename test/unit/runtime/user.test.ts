import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { imageFileReader, resolveUser } from '../../../worker/runtime/user.ts';

const FILES: Record<string, string> = {
  '/etc/passwd':
    'root:x:0:0:root:/root:/bin/sh\n# comment\nweb:x:101:102::/srv:/bin/false\n500:x:7:8::/seven:\nbroken\n',
  '/etc/group': 'root:x:0:\nweb:x:102:\nlog:x:103:web,other\nadm:x:104:root\n',
};
const read = async (path: string) => FILES[path] ?? null;
const nothing = async () => null;

describe('user of a container', () => {
  test.each([
    ['', { uid: 0, gid: 0, additionalGids: [104], home: '/root' }],
    ['root', { uid: 0, gid: 0, additionalGids: [104], home: '/root' }],
    ['web', { uid: 101, gid: 102, additionalGids: [103], home: '/srv' }],
    ['101', { uid: 101, gid: 102, additionalGids: [103], home: '/srv' }],
    ['web:log', { uid: 101, gid: 103, additionalGids: [], home: '/srv' }],
    ['web:77', { uid: 101, gid: 77, additionalGids: [], home: '/srv' }],
    ['4242', { uid: 4242, gid: 0, additionalGids: [], home: '/' }],
    ['4242:4243', { uid: 4242, gid: 4243, additionalGids: [], home: '/' }],
    ['500', { uid: 7, gid: 8, additionalGids: [], home: '/seven' }], // a name of digits
  ])('%j', async (spec, expected) => {
    expect(await resolveUser(spec, read)).toEqual(expected);
  });

  test('ids need no files', async () => {
    expect(await resolveUser('', nothing)).toMatchObject({ uid: 0, gid: 0 });
    expect(await resolveUser('12:13', nothing)).toMatchObject({ uid: 12, gid: 13 });
  });

  test.each([
    ['nobody-here', 'unable to find user nobody-here'],
    ['web:nogroup', 'unable to find group nogroup'],
    ['4294967296', 'ids are 0..2147483647'],
  ])('refuses %s', async (spec, words) => {
    await expect(resolveUser(spec, read)).rejects.toThrow(words);
  });
});

describe('reading files of image layers', () => {
  let dir: string;
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'skep-user-'));
    for (const layer of ['top', 'bottom']) mkdirSync(join(dir, layer, 'etc'), { recursive: true });
  });
  afterEach(() => rmSync(dir, { recursive: true, force: true }));

  const reader = () => imageFileReader([join(dir, 'top'), join(dir, 'bottom')]);
  const write = (path: string, text: string) => writeFileSync(join(dir, path), text);

  test('the top layer wins, a missing file is null', async () => {
    write('bottom/etc/passwd', 'old');
    write('bottom/etc/group', 'group');
    write('top/etc/passwd', 'new');
    expect(await reader()('/etc/passwd')).toBe('new');
    expect(await reader()('/etc/group')).toBe('group');
    expect(await reader()('/etc/shadow')).toBeNull();
    expect(await reader()('/etc')).toBeNull();
  });

  test('links are followed inside the image, across layers, never out of it', async () => {
    write('bottom/etc/real', 'real');
    symlinkSync('/etc/real', join(dir, 'top/etc/passwd'));
    symlinkSync('../../../../../../../../etc/hostname', join(dir, 'top/etc/group'));
    symlinkSync('loop', join(dir, 'top/etc/loop'));
    write('outside', 'secret');
    symlinkSync(join(dir, 'outside'), join(dir, 'top/etc/leak'));
    expect(await reader()('/etc/passwd')).toBe('real');
    expect(await reader()('/etc/group')).toBeNull();
    expect(await reader()('/etc/loop')).toBeNull();
    expect(await reader()('/etc/leak')).toBeNull();
  });
});

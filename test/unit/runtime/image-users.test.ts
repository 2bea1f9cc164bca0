import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ImageUsers } from '../../../worker/runtime/image-users.ts';

describe('users of images', () => {
  let dir = '';
  const layer = (name: string, uid: number): string => {
    mkdirSync(join(dir, name, 'etc'), { recursive: true });
    writeFileSync(join(dir, name, 'etc/passwd'), `app:x:${uid}:${uid}::/home/app:/bin/sh\n`);
    return join(dir, name);
  };
  beforeAll(() => {
    dir = mkdtempSync(join(tmpdir(), 'skep-users-'));
  });
  afterAll(() => rmSync(dir, { recursive: true, force: true }));

  test('are looked up once for the same layers, in their order', async () => {
    const users = new ImageUsers();
    const [a, b] = [layer('a', 10), layer('b', 20)];
    expect((await users.resolve('app', [a, b])).uid).toBe(10);
    expect((await users.resolve('app', [b, a])).uid).toBe(20);
    layer('a', 30); // layers do not change; that this one did is not seen
    expect((await users.resolve('app', [a, b])).uid).toBe(10);
    expect((await users.resolve('app', [a])).uid).toBe(30);
    expect((await users.resolve('7', [a])).uid).toBe(7);
  });

  test('one that is not there is looked for again', async () => {
    const users = new ImageUsers();
    const lowerDirs = [join(dir, 'later')];
    await expect(users.resolve('app', lowerDirs)).rejects.toThrow('unable to find user app');
    layer('later', 40);
    expect((await users.resolve('app', lowerDirs)).uid).toBe(40);
  });

  test('the oldest are forgotten', async () => {
    const users = new ImageUsers();
    const old = layer('old', 1);
    await users.resolve('app', [old]);
    for (let i = 0; i < 256; i++) await users.resolve(String(i), [old]);
    layer('old', 2);
    expect((await users.resolve('app', [old])).uid).toBe(2);
  });
});

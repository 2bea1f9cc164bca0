import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { SeededRandom } from '../../../common/base/random.ts';
import {
  loadManagerFile,
  type ManagerKeys,
  type ManagerLock,
  NO_LOCK,
  newManagerKeys,
  saveManagerFile,
} from '../../../manager/manager-files.ts';
import { NodeDisk } from '../../../manager/raftnode/node-disk.ts';
import { SimDisk } from '../../support/sim-disk.ts';
import { temporaryFolders } from '../../support/temporary-folder.ts';

const newFolder = temporaryFolders();
const PATH = '/raft/manager.json';
const random = new SeededRandom(1);
const lock = { key: new Uint8Array(32).fill(4), version: 17 };
const keys: ManagerKeys = {
  ...newManagerKeys(random, 'node-a'),
  hasLog: true,
  olderDeks: [random.bytes(32)],
};

async function saved(withLock: ManagerLock): Promise<SimDisk> {
  const disk = new SimDisk();
  await saveManagerFile(disk.mount(), PATH, keys, withLock, random);
  return disk;
}

function plain({ dek, olderDeks, identityKey, ...rest }: ManagerKeys): unknown {
  const keys = [dek, identityKey, ...olderDeks];
  return { ...rest, keys: keys.map((key) => Buffer.from(key).toString('hex')) };
}

describe("a manager's keys", () => {
  test('come back as they were saved', async () => {
    const file = await loadManagerFile((await saved(NO_LOCK)).mount(), PATH);
    expect(file!.isLocked).toBe(false);
    expect(plain(file!.open(null))).toEqual(plain(keys));
  });

  test('lie in a file for root only', async () => {
    const path = join(await newFolder(), 'raft', 'manager.json');
    await saveManagerFile(new NodeDisk(), path, keys, NO_LOCK, random);
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    expect((await stat(join(path, '..'))).mode & 0o777).toBe(0o700);
    expect(plain((await loadManagerFile(new NodeDisk(), path))!.open(null))).toEqual(plain(keys));
  });

  test('are null where none were saved', async () => {
    expect(await loadManagerFile(new SimDisk().mount(), PATH)).toBeNull();
  });

  test('are opened by the unlock key alone once they are locked', async () => {
    const file = (await loadManagerFile((await saved(lock)).mount(), PATH))!;
    expect(file.isLocked).toBe(true);
    expect(file.lockVersion).toBe(17);
    expect(plain(file.open(lock.key))).toEqual(plain(keys));
    expect(() => file.open(null)).toThrow(expect.objectContaining({ code: 'locked' }));
    const wrong = new Uint8Array(32).fill(5);
    expect(() => file.open(wrong)).toThrow(expect.objectContaining({ code: 'unauthenticated' }));
  });

  test('cannot be seen in a locked file', async () => {
    const text = (await saved(lock)).contents(PATH).toString();
    for (const key of [keys.dek, keys.olderDeks[0]!, keys.identityKey, lock.key]) {
      expect(text).not.toContain(Buffer.from(key).toString('base64').slice(0, 20));
    }
  });

  test('a flipped bit anywhere is damage, which is neither absence nor a wrong key', async () => {
    for (const withLock of [NO_LOCK, lock]) {
      const disk = await saved(withLock);
      const { length } = disk.contents(PATH);
      for (let offset = 0; offset < length; offset += 3) {
        disk.flipBit(PATH, offset);
        await expect(loadManagerFile(disk.mount(), PATH), `offset ${offset}`).rejects.toMatchObject(
          {
            code: 'data-loss',
            message: expect.stringContaining(`${PATH} is damaged: nothing was changed`),
          },
        );
        disk.flipBit(PATH, offset);
      }
    }
  });

  test.each(['', '{"raftId":1,"de', '{}', 'null', '[]'])('%j is damage', async (text) => {
    const disk = new SimDisk();
    disk.setContents(PATH, Buffer.from(text));
    await expect(loadManagerFile(disk.mount(), PATH)).rejects.toMatchObject({ code: 'data-loss' });
  });

  test('are all old or all new after a crash at any moment', async () => {
    const next: ManagerKeys = { ...keys, dek: new Uint8Array(32).fill(9), olderDeks: [keys.dek] };
    const seen = new Set<string>();
    for (let seed = 1; seed <= 60; seed++) {
      const chance = new SeededRandom(seed);
      const disk = new SimDisk({ random: chance.fork() });
      await saveManagerFile(disk.mount(), PATH, keys, NO_LOCK, chance);
      let left = chance.below(8);
      disk.onOperation = () => {
        if (left-- === 0) disk.crash();
      };
      void saveManagerFile(disk.mount(), PATH, next, lock, chance);
      for (let turn = 0; turn < 50; turn++) await null;
      disk.onOperation = null;
      disk.crash();
      const file = (await loadManagerFile(disk.mount(), PATH))!;
      expect(plain(file.open(lock.key))).toEqual(plain(file.isLocked ? next : keys));
      seen.add(String(file.isLocked));
    }
    expect(seen.size).toBe(2);
  });

  test('an id is new each time, positive and below 2^48', () => {
    const ids = Array.from({ length: 500 }, () => newManagerKeys(random, 'node-a').raftId);
    expect(new Set(ids).size).toBe(ids.length);
    expect(Math.min(...ids)).toBeGreaterThan(0);
    expect(Math.max(...ids)).toBeLessThan(2 ** 48);
  });
});

import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { SeededRandom } from '../../../common/base/random.ts';
import {
  loadManagerKeys,
  newManagerKeys,
  saveManagerKeys,
} from '../../../manager/manager-files.ts';

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'skep-keys-'));
});
afterEach(() => rm(dir, { recursive: true, force: true }));

describe("a manager's keys", () => {
  test('come back as they were saved, in a file for root only', async () => {
    const keys = newManagerKeys(new SeededRandom(1));
    const path = join(dir, 'raft', 'manager.json');
    await saveManagerKeys(path, keys);
    const loaded = await loadManagerKeys(path);
    expect(loaded?.raftId).toBe(keys.raftId);
    expect(Buffer.from(loaded!.dek).equals(Buffer.from(keys.dek))).toBe(true);
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    expect((await stat(join(dir, 'raft'))).mode & 0o777).toBe(0o700);
  });

  test('are null where none were saved', async () => {
    expect(await loadManagerKeys(join(dir, 'none'))).toBeNull();
  });

  test.each([
    ['cut short', '{"raftId":1,"de'],
    ['without a key', '{"raftId":1}'],
    ['with a short key', '{"raftId":1,"dek":"AAAA"}'],
    ['with an id that is no number', `{"raftId":"1","dek":"${'A'.repeat(43)}="}`],
    ['empty', ''],
  ])('%s are damaged, which is not the same as absent', async (_, text) => {
    const path = join(dir, 'manager.json');
    await writeFile(path, text);
    await expect(loadManagerKeys(path)).rejects.toMatchObject({
      code: 'data-loss',
      message: expect.stringContaining(path),
    });
  });

  test('an id is new each time, positive and below 2^48', () => {
    const random = new SeededRandom(2);
    const ids = Array.from({ length: 500 }, () => newManagerKeys(random).raftId);
    expect(new Set(ids).size).toBe(ids.length);
    expect(Math.min(...ids)).toBeGreaterThan(0);
    expect(Math.max(...ids)).toBeLessThan(2 ** 48);
  });
});

import { afterEach, describe, expect, test } from 'vitest';
import { silentLogger } from '../../../common/base/log.ts';
import { SeededRandom } from '../../../common/base/random.ts';
import { createUnlockKey, formatUnlockKey } from '../../../common/pki/unlock-key.ts';
import { LockFollower } from '../../../manager/lock-follower.ts';
import {
  loadManagerFile,
  type ManagerLock,
  NO_LOCK,
  newManagerKeys,
} from '../../../manager/manager-files.ts';
import { KeptManagerKeys } from '../../../manager/manager-keys.ts';
import { aCluster } from '../../support/builders.ts';
import { settle } from '../../support/fake-clock.ts';
import { SimDisk } from '../../support/sim-disk.ts';
import { makeStore } from '../../support/store.ts';

const PATH = '/raft/manager.json';
const random = new SeededRandom(8);
let running: LockFollower | null = null;
afterEach(() => running?.stop());

async function following(lock: ManagerLock = NO_LOCK) {
  const world = makeStore();
  const disk = new SimDisk();
  const keys = new KeptManagerKeys({
    ...{ disk: disk.mount(), path: PATH, random, lock },
    keys: newManagerKeys(random, 'node-a'),
  });
  await keys.save();
  const seen = { rotations: 0, changes: 0, failures: 0 };
  running = new LockFollower({
    ...{ ...world, keys, log: silentLogger },
    onFailure: (err) => {
      throw err;
    },
    changed: () => seen.changes++,
    rotateKey: async () => {
      seen.rotations++;
      if (seen.failures-- > 0) throw new Error('ENOSPC');
      await keys.saveDeks({ dek: random.bytes(32), olderDeks: [keys.keys.dek] });
    },
  });
  await running.start();
  await settle();
  const [cluster] = await world.store.update((tx) => [tx.create('cluster', aCluster())]);
  const locked = async (unlockKey: string, unlockKeyVersion: number) => {
    await world.store.update((tx) => {
      const current = tx.require('cluster', cluster!.id);
      tx.update('cluster', { ...current, unlockKey, unlockKeyVersion });
    });
    await settle();
  };
  return { ...world, seen, keys, locked, file: () => loadManagerFile(disk.mount(), PATH) };
}

const aKey = (): string => formatUnlockKey(createUnlockKey(random));

describe('the follower of the unlock key', () => {
  test('seals the keys with a new data key, in one write', async () => {
    const it = await following();
    expect(it.seen).toMatchObject({ rotations: 0, changes: 0 });
    await it.locked(aKey(), 1);
    expect(it.seen).toMatchObject({ rotations: 1, changes: 1 });
    expect(await it.file()).toMatchObject({ isLocked: true, lockVersion: 1 });
    await it.locked('', 2);
    expect(await it.file()).toMatchObject({ isLocked: false, lockVersion: 2 });
  });

  test('does nothing for a version that it has, or an older one', async () => {
    const it = await following({ key: random.bytes(32), version: 3 });
    await it.locked(aKey(), 2);
    await it.locked(aKey(), 3);
    expect(it.seen.rotations).toBe(0);
    await it.locked(aKey(), 4);
    expect(it.seen.rotations).toBe(1);
  });

  test('tries again when the keys could not be saved', async () => {
    const it = await following();
    it.seen.failures = 2;
    await it.locked(aKey(), 1);
    expect(it.seen).toMatchObject({ rotations: 1, changes: 0 });
    expect((await it.file())!.isLocked).toBe(false);
    await it.clock.advance(5000);
    await it.clock.advance(5000);
    expect(it.seen).toMatchObject({ rotations: 3, changes: 1 });
    expect((await it.file())!.isLocked).toBe(true);
  });
});

/** `skepd raft inspect DIR`: finds the raft directory and its key, looks, reports. Changes nothing. */
import { dirname, join, resolve } from 'node:path';
import { SkepError } from '../common/base/errors.ts';
import type { Random } from '../common/base/random.ts';
import { parseUnlockKey } from '../common/pki/unlock-key.ts';
import { loadManagerFile, managerFilePath, raftDir } from '../manager/manager-files.ts';
import { isDirectoryLocked } from '../manager/raftnode/directory-lock.ts';
import { type Disk, errnoOf } from '../manager/raftnode/disk.ts';
import { inspectRaft } from '../manager/raftnode/inspect.ts';
import { renderInspection } from './raft-report.ts';

export interface InspectRequest {
  /** The raft directory, the data directory above it, or one of the folders in it. */
  readonly dir: string;
  /** null = not given */
  readonly unlockKey: string | null;
}

/** `isHealthy` = a node can start there. Throws when there is nothing to look at. */
export async function inspectRaftDirectory(
  { dir, unlockKey }: InspectRequest,
  disk: Disk,
  random: Random,
): Promise<{ text: string; isHealthy: boolean }> {
  const found = await findRaftDir(disk, resolve(dir));
  const file = await loadManagerFile(disk, managerFilePath(found));
  if (file === null) throw nothingThere(dir);
  if (file.isLocked && unlockKey === null) {
    throw new SkepError(
      'locked',
      `inspect ${found}: the keys of this manager are locked: give the unlock key of the cluster with --unlock-key (- = read it from standard input)`,
    );
  }
  const keys = file.open(unlockKey === null ? null : parseUnlockKey(unlockKey));
  const isInUse = await isDirectoryLocked(found);
  try {
    const inspection = await inspectRaft({ disk, dir: found, raftId: keys.raftId, keys, random });
    const { raftId, nodeId } = keys;
    const keyCount = 1 + keys.olderDeks.length;
    const facts = { dir: found, raftId, nodeId, isLocked: file.isLocked, keyCount, isInUse };
    return {
      text: renderInspection(facts, inspection),
      isHealthy: inspection.trouble === null,
    };
  } catch (err) {
    if (errnoOf(err) !== 'ENOENT' || !isInUse) throw err;
    throw new SkepError('unavailable', `inspect ${found}: its files changed meanwhile: try again`);
  }
}

async function findRaftDir(disk: Disk, dir: string): Promise<string> {
  for (const candidate of [dir, raftDir(dir), dirname(dir)]) {
    if ((await disk.stat(managerFilePath(candidate))) !== null) return candidate;
  }
  for (const candidate of [dir, raftDir(dir), dirname(dir)]) {
    if ((await disk.stat(join(candidate, 'wal'))) === null) continue;
    throw new SkepError(
      'data-loss',
      `inspect ${candidate}: manager.json is missing, and with it the key of the log: restore it from a backup`,
    );
  }
  throw nothingThere(dir);
}

function nothingThere(dir: string): SkepError {
  return new SkepError(
    'not-found',
    `inspect ${dir}: no manager.json there, in raft/ below it or in the folder above: give the raft directory or the data directory of a manager`,
  );
}

/**
 * How a manager's Raft node comes to be: founded, joining, or from what lies on the disk; and the
 * files that say so. Knows nothing of what happens once it runs.
 */
import { SkepError } from '../common/base/errors.ts';
import { listMembers } from '../common/rpc/membership-methods.ts';
import {
  loadManagerFile,
  type ManagerKeys,
  type ManagerLock,
  managerFilePath,
  NO_LOCK,
  newManagerKeys,
  raftDir,
} from './manager-files.ts';
import { KeptManagerKeys } from './manager-keys.ts';
import type { ManagerOptions, ManagerOrigin } from './manager-options.ts';
import { RaftDamageError } from './raftnode/damage.ts';
import type { Disk } from './raftnode/disk.ts';
import { holdsRaftNode } from './raftnode/durable-state.ts';
import type { RaftMember } from './raftnode/membership.ts';
import type { RaftNodeOptions, StateMachine } from './raftnode/node-options.ts';
import { RaftNode } from './raftnode/raft-node.ts';
import { RpcTransport } from './raftnode/rpc-transport.ts';

/** True when this directory holds the state of a manager, or did. Keys that never had a log are none. */
export async function hasRaftState(disk: Disk, dataDir: string): Promise<boolean> {
  const dir = raftDir(dataDir);
  if (await holdsRaftNode(disk, dir)) return true;
  return (await loadManagerFile(disk, managerFilePath(dir)))?.hasLog ?? false;
}

/**
 * Opens the sealed key of the node's certificate. Throws `locked`, `unauthenticated` and `data-loss` as
 * `ManagerFile.open` and `loadManagerFile`.
 */
export async function loadIdentityKey(
  disk: Disk,
  dataDir: string,
  unlockKey: Uint8Array | null,
): Promise<Uint8Array> {
  const path = managerFilePath(raftDir(dataDir));
  const file = await loadManagerFile(disk, path);
  if (file === null) throw new RaftDamageError(path, null, 'the file is missing');
  return file.open(unlockKey).identityKey;
}

/** Forgets the state of a manager, if there is any: all of it or, when it is cut short, nothing. */
export async function removeRaftState(disk: Disk, dataDir: string): Promise<void> {
  const dir = raftDir(dataDir);
  const removed = `${dir}.removed`;
  await disk.removeTree(removed);
  if ((await disk.stat(dir)) === null) return;
  await disk.rename(dir, removed);
  await disk.fsyncDir(dataDir);
  await disk.removeTree(removed);
}

/** A Raft node that was not started yet, and its keys. */
export interface OpenedRaft {
  readonly raft: RaftNode;
  readonly keys: KeptManagerKeys;
}

export async function openRaft(
  manager: ManagerOptions,
  stateMachine: StateMachine,
  origin: ManagerOrigin,
): Promise<OpenedRaft> {
  if (origin.kind === 'restart') {
    const { forceNewCluster, unlockKey } = origin;
    const keys = await loadKeys(manager, unlockKey);
    const options = raftOptions(manager, stateMachine, keys);
    return { keys, raft: await RaftNode.restart(options, { forceNewCluster }) };
  }
  const members = origin.kind === 'join' ? await membersOf(manager, origin.managerAddresses) : null;
  const keys = keptKeys(manager, newManagerKeys(manager.random, manager.nodeId), NO_LOCK);
  await keys.save(); // first: a log without its key is damage, a key without a log is nothing
  const options = raftOptions(manager, stateMachine, keys);
  const raft = members ? await RaftNode.join(options, members) : await RaftNode.bootstrap(options);
  await keys.saveHasLog();
  return { keys, raft };
}

async function loadKeys(
  manager: ManagerOptions,
  unlockKey: Uint8Array | null = null,
): Promise<KeptManagerKeys> {
  const { disk, dataDir, nodeId } = manager;
  const dir = raftDir(dataDir);
  const path = managerFilePath(dir);
  const file = await loadManagerFile(disk, path);
  if (file === null) throw new RaftDamageError(path, null, 'the file is missing');
  if (file.nodeId !== nodeId) {
    throw new SkepError(
      'failed-precondition',
      `start manager: ${dir} belongs to node ${file.nodeId}, this is ${nodeId}: nothing was changed; put the raft directory of this node back`,
    );
  }
  if (!(await holdsRaftNode(disk, dir))) throw new RaftDamageError(dir, null, 'the log is missing');
  const lock = { key: file.isLocked ? unlockKey : null, version: file.lockVersion };
  return keptKeys(manager, file.open(unlockKey), lock);
}

function keptKeys(
  { disk, dataDir, random }: ManagerOptions,
  keys: ManagerKeys,
  lock: ManagerLock,
): KeptManagerKeys {
  const path = managerFilePath(raftDir(dataDir));
  return new KeptManagerKeys({ disk, path, random, keys, lock });
}

function raftOptions(
  manager: ManagerOptions,
  stateMachine: StateMachine,
  kept: KeptManagerKeys,
): RaftNodeOptions {
  const { dataDir, nodeId, clusterId, address, disk, clock, random } = manager;
  const { server, pool, onFailure, onRemoved } = manager;
  const { raftId, dek, olderDeks } = kept.keys;
  const log = manager.log.child({ component: 'raft' });
  return {
    ...{ nodeId, clusterId, address, disk, clock, random, log, onFailure, onRemoved },
    ...{ raftId, dek, olderDeks, stateMachine },
    ...manager.raft,
    dir: raftDir(dataDir),
    saveKeys: (keys) => kept.saveDeks(keys),
    transport: new RpcTransport({ server, pool, clock, random, log }),
  };
}

async function membersOf(
  { address: own, pool }: ManagerOptions,
  addresses: readonly string[],
): Promise<readonly RaftMember[]> {
  let failure: unknown = new SkepError('unavailable', 'join managers: no manager is known');
  for (const address of addresses) {
    if (address === own) continue;
    try {
      const members = await pool.client(address).unary(listMembers, null);
      return members.map((member) => ({ ...member, reachable: true, leader: false }));
    } catch (err) {
      failure = err;
    }
  }
  throw failure;
}

/**
 * How a manager's Raft node comes to be: founded, joining, or from what lies on the disk; and the
 * files that say so. Knows nothing of what happens once it runs.
 */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { SkepError } from '../common/base/errors.ts';
import { listMembers } from '../common/rpc/membership-methods.ts';
import {
  loadManagerKeys,
  type ManagerKeys,
  newManagerKeys,
  saveManagerKeys,
} from './manager-files.ts';
import type { ManagerOptions, ManagerOrigin } from './manager-options.ts';
import { GrpcTransport } from './raftnode/grpc-transport.ts';
import type { RaftMember } from './raftnode/membership.ts';
import { NodeDisk } from './raftnode/node-disk.ts';
import type { RaftNodeOptions, StateMachine } from './raftnode/node-options.ts';
import { RaftNode } from './raftnode/raft-node.ts';

/** True when this directory holds the state of a manager. */
export async function hasRaftState(dataDir: string): Promise<boolean> {
  return (await loadManagerKeys(keysPath(dataDir))) !== null;
}

/** Forgets the state of a manager, if there is any. */
export async function removeRaftState(dataDir: string): Promise<void> {
  await rm(raftDir(dataDir), { recursive: true, force: true });
}

/** The node, not started yet; `raftId` is its own. */
export async function openRaft(
  manager: ManagerOptions,
  stateMachine: StateMachine,
  origin: ManagerOrigin,
): Promise<{ raft: RaftNode; raftId: number }> {
  const path = keysPath(manager.dataDir);
  const options = (keys: ManagerKeys): RaftNodeOptions => raftOptions(manager, stateMachine, keys);
  if (origin.kind === 'restart') {
    const keys = await loadManagerKeys(path);
    if (!keys) throw new SkepError('data-loss', `start manager: ${path} is missing`);
    const { forceNewCluster } = origin;
    const raft = await RaftNode.restart(options(keys), { forceNewCluster });
    return { raft, raftId: keys.raftId };
  }
  const keys = newManagerKeys(manager.random);
  const raft =
    origin.kind === 'bootstrap'
      ? await RaftNode.bootstrap(options(keys))
      : await RaftNode.join(options(keys), await membersOf(manager, origin.managerAddresses));
  await saveManagerKeys(path, keys); // last: without it the directory is no manager's
  return { raft, raftId: keys.raftId };
}

function raftOptions(
  manager: ManagerOptions,
  stateMachine: StateMachine,
  { raftId, dek }: ManagerKeys,
): RaftNodeOptions {
  const { dataDir, nodeId, clusterId, address, clock, random, onFailure, onRemoved } = manager;
  const { server, pool } = manager;
  const log = manager.log.child({ component: 'raft' });
  return {
    ...{ nodeId, clusterId, address, clock, random, log, onFailure, onRemoved },
    ...{ raftId, dek, stateMachine },
    dir: raftDir(dataDir),
    transport: new GrpcTransport({ server, pool, clock, random, log }),
    disk: new NodeDisk(),
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

function raftDir(dataDir: string): string {
  return join(dataDir, 'raft');
}

function keysPath(dataDir: string): string {
  return join(raftDir(dataDir), 'manager.json');
}

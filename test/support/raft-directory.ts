/** Raft directories on the real disk, as a manager leaves them, for tools and damage. */
import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { SystemClock } from '../../common/base/clock.ts';
import { silentLogger } from '../../common/base/log.ts';
import { SystemRandom } from '../../common/base/random.ts';
import {
  type ManagerLock,
  managerFilePath,
  NO_LOCK,
  newManagerKeys,
  raftDir,
} from '../../manager/manager-files.ts';
import { KeptManagerKeys } from '../../manager/manager-keys.ts';
import { NodeDisk } from '../../manager/raftnode/node-disk.ts';
import type { RaftNodeOptions } from '../../manager/raftnode/node-options.ts';
import type { PeerTransport } from '../../manager/raftnode/peer-transport.ts';
import { RaftNode } from '../../manager/raftnode/raft-node.ts';
import { RecordingStateMachine } from './sim-raft.ts';

const clock = new SystemClock();
const random = new SystemRandom();
const disk = new NodeDisk();

/** A member alone needs no peers. */
const NO_PEERS: PeerTransport = {
  start: async () => {},
  stop: async () => {},
  setPeers: () => {},
  send: () => {},
  sendSnapshot: () => Promise.reject(new Error('no peers')),
  greet: () => {},
  isGone: async () => false,
};

export interface RaftDirectory {
  /** `<data directory>/raft` */
  readonly dir: string;
  readonly raftId: number;
  readonly options: RaftNodeOptions;
  /** The node is still running: stop it. */
  readonly node: RaftNode;
}

export interface DirectoryOptions {
  /** Under which the keys are sealed; default: none. */
  readonly lock?: ManagerLock;
  /** Default `node-a`. */
  readonly nodeId?: string;
}

/**
 * A lone member below `dataDir` with 120 entries of 3 KB, at least one snapshot and several segments.
 */
export async function runningRaftDirectory(
  dataDir: string,
  { lock = NO_LOCK, nodeId = 'node-a' }: DirectoryOptions = {},
): Promise<RaftDirectory> {
  const dir = raftDir(dataDir);
  const keys = newManagerKeys(random, nodeId);
  const kept = new KeptManagerKeys({ disk, path: managerFilePath(dir), random, keys, lock });
  const options: RaftNodeOptions = {
    ...{ dir, raftId: keys.raftId, dek: keys.dek, disk, clock, random, log: silentLogger },
    ...{ nodeId, clusterId: 'cluster-a', address: '10.0.0.1:2377' },
    saveKeys: (changed) => kept.saveDeks(changed),
    stateMachine: new RecordingStateMachine(),
    transport: NO_PEERS,
    onFailure: (err) => {
      throw err;
    },
    ...{ snapshotIntervalEntries: 90, keepEntries: 80 },
    ...{ segmentBytes: 64 * 1024, smallSegmentBytes: 64 * 1024 },
  };
  await kept.save();
  const node = await RaftNode.bootstrap(options);
  await kept.saveHasLog();
  await node.start();
  await node.readBarrier();
  for (let i = 0; i < 120; i++) await node.propose(Buffer.from(`entry ${i} ${'x'.repeat(3000)}`));
  while (!(await readdir(join(dir, 'snap'))).some((name) => name.endsWith('.snap'))) {
    await node.propose(Buffer.from('one more'));
  }
  return { dir, raftId: keys.raftId, options, node };
}

export async function stoppedRaftDirectory(
  dataDir: string,
  options: DirectoryOptions = {},
): Promise<RaftDirectory> {
  const made = await runningRaftDirectory(dataDir, options);
  await made.node.stop();
  return made;
}

/** Every file below `dir` with a digest of its bytes, sorted; sockets of locks are left out. */
export async function directoryImage(dir: string): Promise<string[]> {
  const entries = await readdir(dir, { recursive: true, withFileTypes: true });
  const lines = entries
    .filter((entry) => entry.isFile() || entry.isDirectory())
    .map(async (entry) => {
      const path = join(entry.parentPath, entry.name);
      if (entry.isDirectory()) return `${path}/`;
      return `${path} ${createHash('sha256')
        .update(await readFile(path))
        .digest('hex')}`;
    });
  return (await Promise.all(lines)).sort();
}

import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { SystemClock } from '../../../common/base/clock.ts';
import { silentLogger } from '../../../common/base/log.ts';
import { SystemRandom } from '../../../common/base/random.ts';
import { DEFAULT_CLUSTER_SPEC } from '../../../common/model/cluster.ts';
import { IdentityHolder } from '../../../common/pki/identity.ts';
import { parseUnlockKey } from '../../../common/pki/unlock-key.ts';
import { RpcClientPool } from '../../../common/rpc/pool.ts';
import { RpcServer } from '../../../common/rpc/server.ts';
import { createCluster, type NewCluster } from '../../../manager/ca/bootstrap.ts';
import { Manager } from '../../../manager/manager.ts';
import {
  loadManagerFile,
  NO_LOCK,
  newManagerKeys,
  saveManagerFile,
} from '../../../manager/manager-files.ts';
import type { ManagerOrigin } from '../../../manager/manager-options.ts';
import { NodeDisk } from '../../../manager/raftnode/node-disk.ts';
import { RaftNode } from '../../../manager/raftnode/raft-node.ts';
import { RpcTransport } from '../../../manager/raftnode/rpc-transport.ts';
import { MemoryStore } from '../../../manager/store/store.ts';
import { temporaryFolders } from '../../support/temporary-folder.ts';

const newFolder = temporaryFolders();
const clock = new SystemClock();
const random = new SystemRandom();
const disk = new NodeDisk();
const log = silentLogger;
const address = '127.0.0.1:2377'; // nothing listens: a single manager calls nobody
const onFailure = (err: unknown): void => {
  throw err;
};

let managers: Manager[] = [];
afterEach(async () => {
  for (const manager of managers) await manager.stop();
  managers = [];
});

/** What RPC needs, without a socket. */
function rpcOf({ identity }: NewCluster) {
  const credentials = new IdentityHolder(identity);
  return {
    credentials,
    server: new RpcServer({ credentials, clock, logger: log, onFailure }),
    pool: new RpcClientPool({ credentials, clock }),
  };
}

async function started(dataDir: string, cluster: NewCluster, origin: ManagerOrigin) {
  const { nodeId, clusterId } = cluster.identity;
  const parts = { dataDir, nodeId, clusterId, address, disk, clock, random, log, onFailure };
  const manager = new Manager({ ...parts, ...rpcOf(cluster), onRemoved: () => {} });
  managers.push(manager);
  await manager.start(origin);
  return manager;
}

/** A log of a new cluster into which nothing was written: `swarm init` died there. */
async function interruptedInit(dataDir: string, cluster: NewCluster): Promise<void> {
  const { nodeId, clusterId } = cluster.identity;
  const keys = newManagerKeys(random, nodeId);
  const raft = await RaftNode.bootstrap({
    ...{ ...keys, nodeId, clusterId, address, clock, random, log, onFailure },
    dir: join(dataDir, 'raft'),
    stateMachine: new MemoryStore({ proposer: null, clock, random }),
    transport: new RpcTransport({ ...rpcOf(cluster), clock, random, log }),
    disk,
  });
  await raft.stop();
  await saveManagerFile(disk, join(dataDir, 'raft', 'manager.json'), keys, NO_LOCK, random);
}

const restart = {
  kind: 'restart',
  forceNewCluster: false,
  managerAddresses: [],
} as const;

async function manifest(dataDir: string) {
  return (await loadManagerFile(disk, join(dataDir, 'raft', 'manager.json')))!;
}

/** What `swarm update` does. */
async function relock({ control }: Manager, autoLockManagers: boolean, unlockKey = false) {
  const { meta, spec } = await control.getCluster();
  await control.updateCluster(meta.version, { ...spec, autoLockManagers }, { unlockKey });
  return control.getUnlockKey();
}

describe('a locked manager', () => {
  async function locked() {
    const dataDir = await newFolder();
    const spec = { ...DEFAULT_CLUSTER_SPEC, autoLockManagers: true };
    const cluster = await createCluster({ random, nowMs: clock.wallMs(), spec });
    const manager = await started(dataDir, cluster, { kind: 'bootstrap', cluster });
    await vi.waitFor(async () => expect((await manifest(dataDir)).isLocked).toBe(true));
    const unlockKey = parseUnlockKey(cluster.cluster.unlockKey);
    return { dataDir, cluster, manager, unlockKey };
  }

  test('needs the key after a restart, and the right one', async () => {
    const { dataDir, cluster, manager, unlockKey } = await locked();
    await manager.stop();
    await expect(started(dataDir, cluster, restart)).rejects.toMatchObject({ code: 'locked' });
    const wrong = started(dataDir, cluster, { ...restart, unlockKey: random.bytes(32) });
    await expect(wrong).rejects.toMatchObject({ code: 'unauthenticated' });
    const second = await started(dataDir, cluster, { ...restart, unlockKey });
    expect(second.store.view((view) => view.list('node'))).toHaveLength(1);
    expect(Buffer.from(second.unlockKey!).equals(unlockKey)).toBe(true);
  });

  test('follows a new key with a new data key, and opens for good', async () => {
    const { dataDir, manager, unlockKey } = await locked();
    const before = (await manifest(dataDir)).open(unlockKey).dek;
    const next = parseUnlockKey(await relock(manager, true, true));
    await vi.waitFor(async () => expect((await manifest(dataDir)).lockVersion).toBe(2));
    const file = await manifest(dataDir);
    expect(() => file.open(unlockKey)).toThrow('invalid key');
    expect(Buffer.from(file.open(next).dek).equals(before)).toBe(false);
    await vi.waitFor(() => expect(manager.raftStatus().keyRotation).toBe(false));
    expect((await manifest(dataDir)).open(next).olderDeks).toEqual([]);
    expect(await relock(manager, false)).toBe('');
    await vi.waitFor(async () => expect((await manifest(dataDir)).isLocked).toBe(false));
    expect(manager.unlockKey).toBeNull();
  });

  test('that was down when the key changed is opened by the old one and takes the new one', async () => {
    const { dataDir, cluster, manager, unlockKey } = await locked();
    const oldKeys = (await manifest(dataDir)).open(unlockKey);
    const next = parseUnlockKey(await relock(manager, true, true));
    await vi.waitFor(() => expect(manager.raftStatus().keyRotation).toBe(false));
    const newKeys = (await manifest(dataDir)).open(next);
    await manager.stop();
    // As if the change had come from the log of another manager: sealed as before it.
    const kept = { ...newKeys, olderDeks: [oldKeys.dek] };
    const path = join(dataDir, 'raft', 'manager.json');
    await saveManagerFile(disk, path, kept, { key: unlockKey, version: 1 }, random);
    const again = await started(dataDir, cluster, { ...restart, unlockKey });
    await vi.waitFor(async () => expect((await manifest(dataDir)).lockVersion).toBe(2));
    expect((await manifest(dataDir)).open(next).raftId).toBe(newKeys.raftId);
    expect(Buffer.from(again.unlockKey!).equals(next)).toBe(true);
  });
});

describe('manager', () => {
  test('founds a cluster and comes back with it', async () => {
    const dataDir = await newFolder();
    const cluster = await createCluster({ random, nowMs: clock.wallMs() });
    const first = await started(dataDir, cluster, { kind: 'bootstrap', cluster });
    expect(first.store.view((view) => view.list('cluster'))).toHaveLength(1);
    await first.stop();
    const second = await started(dataDir, cluster, restart);
    expect(second.store.view((view) => view.list('node'))).toHaveLength(1);
    expect(second.removed).toBe(false);
  });

  test('a lone manager does not ask anybody to remove it', async () => {
    const cluster = await createCluster({ random, nowMs: clock.wallMs() });
    const manager = await started(await newFolder(), cluster, { kind: 'bootstrap', cluster });
    expect(await manager.withdraw()).toBe(false);
  });

  test('says that an interrupted init made no cluster', async () => {
    const dataDir = await newFolder();
    const cluster = await createCluster({ random, nowMs: clock.wallMs() });
    await interruptedInit(dataDir, cluster);
    await expect(started(dataDir, cluster, restart)).rejects.toMatchObject({
      code: 'not-in-swarm',
      message: expect.stringContaining("'swarm init' was interrupted"),
    });
  });

  test('an init after an interrupted one begins anew', async () => {
    const dataDir = await newFolder();
    const cluster = await createCluster({ random, nowMs: clock.wallMs() });
    await interruptedInit(dataDir, cluster);
    const manager = await started(dataDir, cluster, { kind: 'bootstrap', cluster });
    expect(manager.store.view((view) => view.list('cluster'))).toHaveLength(1);
  });

  test('a join that fails leaves no state, also none of an earlier try', async () => {
    const dataDir = await newFolder();
    await mkdir(join(dataDir, 'raft', 'wal'), { recursive: true });
    await writeFile(join(dataDir, 'raft', 'wal', 'left-over'), '');
    const cluster = await createCluster({ random, nowMs: clock.wallMs() });
    const joining = started(dataDir, cluster, { kind: 'join', managerAddresses: [address] });
    await expect(joining).rejects.toThrow('no manager is known');
    expect(await readdir(dataDir)).toEqual([]);
    expect(await Manager.hasState(disk, dataDir)).toBe(false);
  });
});

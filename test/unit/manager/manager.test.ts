import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { SystemClock } from '../../../common/base/clock.ts';
import { silentLogger } from '../../../common/base/log.ts';
import { SystemRandom } from '../../../common/base/random.ts';
import { IdentityHolder } from '../../../common/pki/identity.ts';
import { RpcClientPool } from '../../../common/rpc/pool.ts';
import { RpcServer } from '../../../common/rpc/server.ts';
import { createCluster, type NewCluster } from '../../../manager/ca/bootstrap.ts';
import { Manager } from '../../../manager/manager.ts';
import { newManagerKeys, saveManagerFile } from '../../../manager/manager-files.ts';
import type { ManagerOrigin } from '../../../manager/manager-options.ts';
import { GrpcTransport } from '../../../manager/raftnode/grpc-transport.ts';
import { NodeDisk } from '../../../manager/raftnode/node-disk.ts';
import { RaftNode } from '../../../manager/raftnode/raft-node.ts';
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
function rpcOf({ identity }: NewCluster): { server: RpcServer; pool: RpcClientPool } {
  const credentials = new IdentityHolder(identity);
  return {
    server: new RpcServer({ credentials, logger: log, onFailure }),
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
    transport: new GrpcTransport({ ...rpcOf(cluster), clock, random, log }),
    disk,
  });
  await raft.stop();
  await saveManagerFile(disk, join(dataDir, 'raft', 'manager.json'), keys, null, random);
}

const restart = { kind: 'restart', forceNewCluster: false, managerAddresses: [] } as const;

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

// A node's part in a cluster, with a manager on a real socket and disk; its worker does nothing.
import { createServer } from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import { SystemClock } from '../../common/base/clock.ts';
import { silentLogger } from '../../common/base/log.ts';
import { SystemRandom } from '../../common/base/random.ts';
import { DEFAULT_CLUSTER_SPEC } from '../../common/model/cluster.ts';
import { SwarmNode } from '../../daemon/swarm-node.ts';
import { NodeDisk } from '../../manager/raftnode/node-disk.ts';
import type { Worker } from '../../worker/worker.ts';
import { temporaryFolders } from '../support/temporary-folder.ts';

const newFolder = temporaryFolders();

/** No copy of a raft directory can be made on it while `isFull`. */
class NoBackups extends NodeDisk {
  isFull = false;

  override async mkdir(path: string): Promise<void> {
    if (this.isFull && path.includes('.backup-')) {
      throw Object.assign(new Error(`no space for ${path}`), { code: 'ENOSPC' });
    }
    await super.mkdir(path);
  }
}

const idleWorker: Pick<Worker, 'register' | 'join' | 'suspend' | 'leave'> = {
  register: () => async () => {},
  join: async () => {},
  suspend: async () => {},
  leave: async () => {},
};

let node: SwarmNode | null = null;
afterEach(async () => {
  await node?.stop();
  node = null;
});

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise<void>((resolve) => server.close(() => resolve()));
  return typeof address === 'object' ? (address?.port ?? 0) : 0;
}

async function managerNode() {
  const disk = new NoBackups();
  const failures: unknown[] = [];
  const request = {
    listenAddress: `127.0.0.1:${await freePort()}`,
    advertiseAddress: '127.0.0.1',
    forceNewCluster: false,
    cluster: {
      spec: DEFAULT_CLUSTER_SPEC,
      defaultAddressPool: ['10.0.0.0/8'],
      subnetSize: 24,
      dataPathPort: 4789,
      availability: 'active',
    },
  } as const;
  const started = new SwarmNode({
    dataDir: await newFolder(),
    hostname: 'host',
    ...{ listenAddress: '', advertiseAddress: '' },
    worker: idleWorker as Worker,
    describe: () => {
      throw new Error('nobody asks');
    },
    ...{ disk, clock: new SystemClock(), random: new SystemRandom(), log: silentLogger },
    onFailure: (err) => failures.push(err),
    register: () => () => {},
    onClusterEvent: () => {},
  });
  node = started;
  const nodeId = await started.init(request);
  return { node: started, nodeId, disk, failures, request };
}

describe('a new cluster that cannot be forced', () => {
  test('leaves the node in the one that it has', async () => {
    const { node, nodeId, disk, failures, request } = await managerNode();
    disk.isFull = true;
    const forcing = node.init({ ...request, forceNewCluster: true });
    await expect(forcing).rejects.toMatchObject({ code: 'ENOSPC' });
    expect(node.state()).toMatchObject({ local: 'active', nodeId, role: 'manager' });
    await expect(node.init(request)).rejects.toMatchObject({ code: 'in-swarm' });
    expect(await node.requireManager().control.listNodes({})).toHaveLength(1);
    expect(failures).toEqual([]);
    disk.isFull = false;
    expect(await node.init({ ...request, forceNewCluster: true })).toBe(nodeId);
  });
});

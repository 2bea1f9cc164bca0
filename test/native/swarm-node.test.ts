// A node's part in a cluster, with a manager on a real socket and disk; its worker does nothing.
import { afterEach, describe, expect, test } from 'vitest';
import type { SwarmNode } from '../../daemon/swarm-node.ts';
import { NodeDisk } from '../../manager/raftnode/node-disk.ts';
import { idleSwarmNode, initRequest } from '../support/swarm-node.ts';
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

let node: SwarmNode | null = null;
afterEach(async () => {
  await node?.stop();
  node = null;
});

async function managerNode() {
  const disk = new NoBackups();
  const failures: unknown[] = [];
  const request = await initRequest();
  const started = idleSwarmNode(await newFolder(), (err) => failures.push(err), disk);
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

// A node's part in a cluster, with a manager on a real socket and disk; its worker does nothing.
import { afterEach, describe, expect, test, vi } from 'vitest';
import { SystemClock } from '../../common/base/clock.ts';
import { SystemRandom } from '../../common/base/random.ts';
import { MembershipFiles } from '../../daemon/membership-files.ts';
import type { SwarmNode } from '../../daemon/swarm-node.ts';
import { NodeDisk } from '../../manager/raftnode/node-disk.ts';
import type { Worker } from '../../worker/worker.ts';
import { freePort } from '../support/free-port.ts';
import { TestAuthority } from '../support/identities.ts';
import { idleSwarmNode, idleWorker, initRequest } from '../support/swarm-node.ts';
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
  const started = idleSwarmNode(await newFolder(), (err) => failures.push(err), { disk });
  node = started;
  const nodeId = await started.init(request);
  return { node: started, nodeId, disk, failures, request };
}

const DAY_MS = 24 * 3600 * 1000;

/** Of a machine that was switched off since. */
class FormerClock extends SystemClock {
  override wallMs(): number {
    return super.wallMs() - 100 * DAY_MS;
  }
}

describe('a certificate that ended while the node was off', () => {
  const onFailure = (err: unknown): void => {
    throw err;
  };

  test('is renewed where the node leads by itself', async () => {
    const folder = await newFolder();
    node = idleSwarmNode(folder, onFailure, { clock: new FormerClock() });
    await node.init(await initRequest());
    await node.stop();
    const again = idleSwarmNode(folder, onFailure);
    node = again;
    await again.start();
    const endOf = async () =>
      (await again.requireManager().control.listNodes())[0]!.certificatesEndMs;
    await vi.waitFor(async () => expect(await endOf()).toBeGreaterThan(Date.now()), 15_000);
    await vi.waitFor(() => expect(again.state().error).toBe(''));
  });

  test('is told of a worker, in the words of Docker', async () => {
    const folder = await newFolder();
    const authority = await TestAuthority.create(Date.now() - 100 * DAY_MS);
    const identity = await authority.identity('worker', 'w'.repeat(25));
    const { listenAddress: listen } = await initRequest();
    const flags = { listenAddress: '', advertiseAddress: '' };
    await new MembershipFiles(folder, new SystemRandom()).save(identity, {
      ...{ listen, advertise: listen, dataPath: '', managers: [], flags },
    });
    node = idleSwarmNode(folder, onFailure);
    await node.start();
    expect(node.state()).toMatchObject({
      role: 'worker',
      error: 'Swarm certificates have expired. To replace them, leave the swarm and join again.',
    });
  });
});

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

describe('a node that joins', () => {
  /** What Docker waits takes a tenth of a second. */
  class HastyClock extends SystemClock {
    override setTimer(delayMs: number, act: () => void) {
      return super.setTimer(delayMs === 20_000 ? 100 : delayMs, act);
    }
  }

  const joiners: SwarmNode[] = [];
  afterEach(async () => {
    for (const joiner of joiners.splice(0)) await joiner.stop();
  });

  async function joining(whenGreeted: Worker['whenGreeted']) {
    const { node: manager, request } = await managerNode();
    const { rootCa } = await manager.requireManager().control.getCluster();
    const worker = { ...idleWorker, whenGreeted };
    const onFailure = (err: unknown): void => {
      throw err;
    };
    const clock = new HastyClock();
    const joiner = idleSwarmNode(await newFolder(), onFailure, { worker, clock });
    joiners.push(joiner);
    const joined = joiner.join({
      listenAddress: `127.0.0.1:${await freePort()}`,
      advertiseAddress: '127.0.0.1',
      dataPathAddress: '',
      remoteAddresses: [request.listenAddress],
      token: rootCa.joinTokens.worker,
      availability: 'active',
    });
    return { joiner, joined };
  }

  test('has joined when the managers list it', async () => {
    let greet = (): void => {};
    const greeted = new Promise<void>((resolve) => {
      greet = resolve;
    });
    let isWaiting = false;
    const { joined } = await joining(() => {
      isWaiting = true;
      return greeted;
    });
    const told: string[] = [];
    const done = joined.then(() => told.push('joined'));
    await vi.waitFor(() => expect(isWaiting).toBe(true));
    expect(told).toEqual([]);
    greet();
    await done;
  });

  test('says so when that takes too long, and is a node of the cluster', async () => {
    const { joiner, joined } = await joining(
      (signal) =>
        new Promise((_, reject) => {
          signal.addEventListener('abort', () => reject(signal.reason));
        }),
    );
    await expect(joined).rejects.toMatchObject({
      code: 'unavailable',
      message: expect.stringContaining('Timeout was reached before node joined.'),
    });
    expect(joiner.state()).toMatchObject({ local: 'active', role: 'worker' });
  });
});

/** A real manager in a process of its own, without a worker: what `skepd` runs on a manager node. */
import { SystemClock } from '../../common/base/clock.ts';
import { silentLogger } from '../../common/base/log.ts';
import { SystemRandom } from '../../common/base/random.ts';
import { type Identity, IdentityHolder } from '../../common/pki/identity.ts';
import { RpcClientPool } from '../../common/rpc/pool.ts';
import { RpcServer } from '../../common/rpc/server.ts';
import { newNode } from '../../manager/ca/bootstrap.ts';
import { Manager } from '../../manager/manager.ts';
import type { ManagerOrigin } from '../../manager/manager-options.ts';
import { NodeDisk } from '../../manager/raftnode/node-disk.ts';
import { aServiceSpec } from '../../test/support/builders.ts';
import { serve } from './helper-process.ts';
import { startProfile, stopProfile } from './profiler.ts';
import { isRunning, submit, untilRunning } from './running-tasks.ts';

const clock = new SystemClock();
const random = new SystemRandom();
const log = silentLogger;

function onFailure(err: unknown): void {
  process.stderr.write(`a manager failed: ${String(err)}\n`);
  process.exit(1);
}

let manager: Manager | null = null;

function running(): Manager {
  if (manager === null) throw new Error('the manager is not started');
  return manager;
}

export interface StartManager {
  readonly dataDir: string;
  readonly identity: Identity;
  /** 0 = the kernel's choice */
  readonly port: number;
  readonly origin: ManagerOrigin;
}

export interface NewServices {
  readonly prefix: string;
  readonly count: number;
  readonly replicas: number;
}

const operations = {
  /** Resolves with the port. */
  async start({ dataDir, identity, port, origin }: StartManager): Promise<number> {
    const credentials = new IdentityHolder(identity);
    const server = new RpcServer({ credentials, clock, logger: log, onFailure });
    await server.listen('127.0.0.1', port);
    const pool = new RpcClientPool({ credentials, clock });
    const { nodeId, clusterId } = identity;
    const { address } = server;
    manager = new Manager({
      ...{ dataDir, nodeId, clusterId, address, server, pool, clock, random, log, onFailure },
      disk: new NodeDisk(),
      credentials,
      onRemoved: () => onFailure('removed'),
    });
    await manager.start(origin);
    return Number(address.split(':')[1]);
  },

  /** Makes the nodes of these identities known as managers to be, so that they may join. */
  async expect(identities: readonly Identity[]): Promise<void> {
    await running().store.update((tx) => {
      for (const { nodeId, certPem } of identities) {
        tx.create('node', newNode(nodeId, 'manager', 'active', certPem, '127.0.0.1'));
      }
    });
  },

  leads: (): boolean => running().isLeader(),

  /** True when this manager leads and hears from `count` voters, itself one of them. */
  hears: (count: number): boolean =>
    running().isLeader() &&
    running()
      .members()
      .filter(({ learner, reachable }) => reachable && !learner).length === count,

  /** True when this manager heard in this life of one that leads. */
  knowsLeader: (): boolean => running().raftStatus().leaderRaftId !== 0,

  /** Services of `replicas` tasks each, that ask for nothing; all at once. */
  async createServices({ prefix, count, replicas }: NewServices): Promise<void> {
    const mode = { kind: 'replicated' as const, replicas };
    const create = (_: unknown, i: number): Promise<unknown> =>
      running().control.createService(aServiceSpec({ name: `${prefix}-${i}`, mode }));
    await Promise.all(Array.from({ length: count }, create));
  },

  /** Running tasks that are wanted, by id. */
  runningTasks: (): string[] =>
    running().store.view((view) =>
      view
        .list('task')
        .filter(isRunning)
        .map(({ id }) => id),
    ),

  /** Resolves when so many run, as a watcher of the store sees it; with the time since it was asked, ms. */
  untilRunning: (count: number): Promise<number> => untilRunning(running().store, count),

  /** Resolves when so many nodes are down and so many tasks run on others. */
  async untilMoved({ down, tasks }: { down: number; tasks: number }): Promise<void> {
    const { store } = running();
    const isDone = (): boolean =>
      store.view((view) => {
        const lost = view.list('node').filter(({ status }) => status.state === 'down');
        const ids = new Set<string | null>(lost.map(({ id }) => id));
        const well = view.list('task').filter((task) => isRunning(task) && !ids.has(task.nodeId));
        return lost.length >= down && well.length >= tasks;
      });
    while (!isDone()) await clock.sleep(10);
  },

  /** Nodes by state. */
  nodeStates(): Readonly<Record<string, number>> {
    const counts: Record<string, number> = {};
    for (const { status } of running().store.view((view) => view.list('node'))) {
      counts[status.state] = (counts[status.state] ?? 0) + 1;
    }
    return counts;
  },

  /** From the call that creates a service of one task until that task runs, one after the other, ms. */
  async submitOneByOne({ prefix, count }: { prefix: string; count: number }): Promise<number[]> {
    const elapsedMs: number[] = [];
    for (let i = 0; i < count; i++) {
      elapsedMs.push(await submit(running(), `${prefix}-${i}`));
    }
    return elapsedMs;
  },

  startProfile: (): Promise<void> => startProfile(),

  /** To a file. */
  stopProfile: (file: string): Promise<void> => stopProfile(file),

  /** A write of a user's, by way of the control API of this manager. */
  async write(name: string): Promise<void> {
    const data = new TextEncoder().encode('value');
    await running().control.createConfig({ name, labels: {}, data, templateDriver: '' });
  },
};

export type ManagerOperations = typeof operations;

serve(operations);

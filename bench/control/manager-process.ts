/**
 * A process of its own: the rooms of a leading manager on a store without Raft, full of nodes and of
 * services whose tasks run.
 */
import { silentLogger } from '../../common/base/log.ts';
import { taskWith } from '../../common/model/task.ts';
import { Allocator } from '../../manager/allocator/allocator.ts';
import { Dispatcher } from '../../manager/dispatcher/dispatcher.ts';
import { Orchestrator } from '../../manager/orchestrator/orchestrator.ts';
import { Scheduler } from '../../manager/scheduler/scheduler.ts';
import {
  aCluster,
  aNetwork,
  aNetworkSpec,
  aNetworkTarget,
  aNode,
  aService,
  aServiceSpec,
  aTaskSpec,
} from '../../test/support/builders.ts';
import { serve } from '../support/helper-process.ts';
import { localStore } from './local-store.ts';

export interface Size {
  readonly nodes: number;
  readonly services: number;
  readonly tasksEach: number;
}

/** How long the rooms have for what they still do for the last tasks, ms. */
const SETTLE_MS = 3_000;

const { store, clock, random } = localStore();

async function openRooms(): Promise<void> {
  const onFailure = (err: unknown): never => {
    throw err;
  };
  const options = { store, clock, random, log: silentLogger, onFailure };
  const managers = { managers: () => [], onChange: () => () => {} };
  const rooms = [
    new Allocator(options),
    new Orchestrator(options),
    new Scheduler(options),
    new Dispatcher({ ...options, managers }),
  ];
  await store.update((tx) => {
    // An ingress network with room for every node.
    tx.create('cluster', aCluster({ defaultAddressPool: ['10.0.0.0/8'], subnetSize: 16 }));
  });
  for (const room of rooms) await room.start();
}

/** One network for all services, so that every task has an address. */
async function create({ nodes, services, tasksEach }: Size): Promise<void> {
  const config = { subnet: '172.16.0.0/12', gateway: '', range: '', reserved: {} };
  const network = aNetwork({
    spec: aNetworkSpec({ ipam: { driver: 'default', options: {}, configs: [config] } }),
  });
  const task = aTaskSpec({ networks: [aNetworkTarget({ target: network.id })] });
  const mode = { kind: 'replicated' as const, replicas: tasksEach };
  await store.batch(
    Array.from({ length: nodes }, () => aNode()),
    (tx, node) => void tx.create('node', node),
  );
  await store.update((tx) => void tx.create('network', network));
  await store.batch(
    Array.from({ length: services }, () => aService({ spec: aServiceSpec({ task, mode }) })),
    (tx, service) => void tx.create('service', service),
  );
}

/** Agents whose tasks run as soon as they are assigned. */
async function runTasks(count: number): Promise<void> {
  for (let running = 0; running < count; ) {
    const tasks = store.view((view) => view.list('task'));
    const assigned = tasks.filter(({ status }) => status.state === 'assigned');
    await store.batch(assigned, (tx, { id }) => {
      const now = tx.require('task', id);
      const container = {
        containerId: id.padEnd(64, '0'),
        pid: 1234,
        exitCode: 0,
        oomKilled: false,
      };
      const status = { ...now.status, state: 'running' as const, message: 'started', container };
      tx.update('task', taskWith(now, { status }));
    });
    running = tasks.filter(({ status }) => status.state === 'running').length;
    await clock.sleep(50);
  }
}

const operations = {
  /** Resident memory when everything runs, MiB. */
  async residentWith(size: Size): Promise<number> {
    await openRooms();
    await create(size);
    await runTasks(size.services * size.tasksEach);
    await clock.sleep(SETTLE_MS);
    return process.memoryUsage.rss() / 2 ** 20;
  },
};

export type ManagerOperations = typeof operations;

serve(operations);

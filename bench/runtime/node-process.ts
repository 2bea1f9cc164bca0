/**
 * A node without its managers: agent's task manager, executor, images, volumes, network and runtime, in a
 * network namespace of its own. Orders come as a dispatcher would send them.
 */
import { createReadStream } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { SystemClock } from '../../common/base/clock.ts';
import { createLogger } from '../../common/base/log.ts';
import { SystemRandom } from '../../common/base/random.ts';
import { type AssignmentChange, assignmentKey } from '../../common/model/assignment.ts';
import { asId, type NodeId, type TaskId } from '../../common/model/ids.ts';
import type { NodeDescription } from '../../common/model/node.ts';
import type { Task, TaskStatus } from '../../common/model/task.ts';
import { NativeSmallFiles } from '../../native/ffi/trees.ts';
import { EndpointDrains } from '../../worker/agent/endpoint-drains.ts';
import { StatusReporter } from '../../worker/agent/status-reporter.ts';
import { TaskDatabase } from '../../worker/agent/task-database.ts';
import { TaskManager } from '../../worker/agent/task-manager.ts';
import { ContainerExecutor } from '../../worker/executor/container-executor.ts';
import { hostFacts } from '../../worker/executor/host-facts.ts';
import { DEFAULT_NODE_SETTINGS } from '../../worker/executor/node-settings.ts';
import { TaskFiles } from '../../worker/executor/task-files.ts';
import { ImageStore } from '../../worker/images/image-store.ts';
import { NetworkManager } from '../../worker/network/network-manager.ts';
import { ImageUsers } from '../../worker/runtime/image-users.ts';
import { NativeRuntime } from '../../worker/runtime/native-runtime.ts';
import { VolumeStore } from '../../worker/volumes/volume-store.ts';
import { serve } from '../support/helper-process.ts';
import { benchTask, NETWORK } from './bench-task.ts';

export interface NodePlace {
  readonly dir: string;
  readonly cgroupParent: string;
  /** the node's address in its namespace */
  readonly address: string;
  /** to be loaded; null = it is there already */
  readonly imageTar: string | null;
}

const NODE = asId<NodeId>('bench-node');
const DESCRIPTION: NodeDescription = {
  hostname: 'bench',
  platform: { architecture: 'x86_64', os: 'linux' },
  nanoCpus: 2e9,
  memoryBytes: 2 ** 34,
  generic: [],
  engineVersion: '',
  engineLabels: {},
  plugins: [],
  address: '',
  encryptionKey: '',
  underlayMtu: 0,
  devices: [],
  dataPathAddress: '',
  tlsInfo: null,
};
const clock = new SystemClock();
const random = new SystemRandom();
const users = new ImageUsers();
const log = createLogger('error');
const tell = (): void => {};
const onFailure = (err: unknown): void => {
  throw err;
};

let runtime: NativeRuntime;
let tasks: TaskManager;
let database: TaskDatabase;
let address = '';
const statuses = new Map<TaskId, TaskStatus>();
const awaited = new Map<TaskId, { state: string; resolve: (atMs: number) => void }>();

/** Tells when a status comes, and keeps none for a manager. */
class Watch extends StatusReporter {
  override report(taskId: TaskId, status: TaskStatus): void {
    statuses.set(taskId, status);
    const waiting = awaited.get(taskId);
    if (waiting?.state === status.state) {
      awaited.delete(taskId);
      waiting.resolve(performance.now());
    } else if (['failed', 'rejected'].includes(status.state)) {
      throw new Error(`task ${taskId}: ${status.state}: ${status.err}`);
    }
  }

  override forget(taskId: TaskId): void {
    statuses.delete(taskId);
    const waiting = awaited.get(taskId);
    if (waiting?.state !== 'gone') return;
    awaited.delete(taskId);
    waiting.resolve(performance.now());
  }
}

function reached(taskId: TaskId, state: string): Promise<number> {
  return new Promise((resolve) => awaited.set(taskId, { state, resolve }));
}

const set = <K extends AssignmentChange['kind']>(kind: K, item: object): AssignmentChange =>
  ({ action: 'set', kind, key: assignmentKey(kind, item as never), item }) as AssignmentChange;

function ordered(task: Task): AssignmentChange[] {
  const seat = task.networks[0];
  const endpoint = seat && {
    networkId: seat.networkId,
    taskId: task.id,
    serviceId: task.serviceId,
    serviceName: task.serviceAnnotations.name,
    slot: task.slot ?? 0,
    nodeId: NODE,
    hostAddress: address,
    address: seat.addresses[0]?.split('/')[0] ?? '',
    hostname: '',
    containerName: `bench.${task.slot}.${task.id}`,
    aliases: [],
    serving: true,
  };
  return [...(endpoint ? [set('endpoint', endpoint)] : []), set('task', task)];
}

interface Order {
  readonly from: number;
  readonly count: number;
  /** an overlay network for each of them; else an empty namespace */
  readonly network: boolean;
}

const idsOf = ({ from, count }: Pick<Order, 'from' | 'count'>): number[] =>
  Array.from({ length: count }, (_, i) => from + i);

const operations = {
  async open(place: NodePlace): Promise<void> {
    address = place.address;
    const dir = place.dir;
    const images = new ImageStore({
      dir: join(dir, 'images'),
      clock,
      random,
      log,
      tell,
    });
    const volumes = new VolumeStore({ dir: join(dir, 'volumes'), clock, random, log, tell });
    runtime = new NativeRuntime({
      random: new SystemRandom(),
      stateDir: join(dir, 'tasks'),
      cgroupParent: place.cgroupParent,
      clock,
      log,
      onFailure,
    });
    const networks = new NetworkManager({
      dir: join(dir, 'network'),
      nodeId: NODE,
      vtepAddress: address,
      clock,
      random,
      log,
      onFailure,
      upstreamNameservers: () => [],
    });
    await images.start();
    await volumes.start();
    await networks.start();
    await mkdir(join(dir, 'memory'), { recursive: true });
    const executor = new ContainerExecutor({
      runtime,
      images,
      volumes,
      networks,
      drains: new EndpointDrains(clock),
      nameservers: () => [],
      files: new TaskFiles({
        dir: join(dir, 'files'),
        memoryDir: join(dir, 'memory'),
        mountMemory: async () => {},
        unmountMemory: async () => {},
      }),
      hostFacts,
      settings: DEFAULT_NODE_SETTINGS,
      resolveUser: (user, lowerDirs) => users.resolve(user, lowerDirs),
      describe: () => DESCRIPTION,
      node: () => DESCRIPTION,
      tell,
      clock,
      log,
    });
    database = new TaskDatabase(join(dir, 'agent'), log, new NativeSmallFiles());
    tasks = new TaskManager({ executor, database, reporter: new Watch(), clock, log, onFailure });
    if (place.imageTar !== null) {
      await runtime.start();
      await images.load(createReadStream(place.imageTar));
      await tasks.start();
      await tasks.apply([set('network', NETWORK)], true);
    }
  },

  /** Resolves when a next process finds all that was reported: tasks of whose start nothing is on disk wait for a manager. */
  async settle(): Promise<void> {
    await database.flushed();
  },

  /** What a restarted daemon does; resolves when every task is running in its eyes. */
  async adopt(count: number): Promise<{ runtimeMs: number; allMs: number }> {
    const beganMs = performance.now();
    await runtime.start();
    const runtimeMs = performance.now() - beganMs;
    await tasks.start();
    const running = (): number =>
      tasks.list().filter(({ status }) => status.state === 'running').length;
    while (running() < count) await new Promise((resolve) => setImmediate(resolve));
    const seen = runtime.list().filter(({ status }) => status === 'running').length;
    if (seen !== count) throw new Error(`${seen} of ${count} containers run`);
    return { runtimeMs, allMs: performance.now() - beganMs };
  },

  /** One order after the other; of each the time until its command was executed. */
  async startEach(order: Order): Promise<number[]> {
    const times: number[] = [];
    for (const number of idsOf(order)) {
      const task = benchTask(number, order.network);
      const done = reached(task.id, 'running');
      const beganMs = performance.now();
      await tasks.apply(ordered(task), false);
      times.push((await done) - beganMs);
    }
    return times;
  },

  /** All in one set; seconds until all run. */
  async startAll(order: Order): Promise<number> {
    const all = idsOf(order).map((number) => benchTask(number, order.network));
    const done = all.map(({ id }) => reached(id, 'running'));
    const beganMs = performance.now();
    await tasks.apply(all.flatMap(ordered), false);
    return (Math.max(...(await Promise.all(done))) - beganMs) / 1000;
  },

  async removeAll(order: Pick<Order, 'from' | 'count'>): Promise<void> {
    const ids = idsOf(order).map((number) => benchTask(number, false).id);
    const done = ids.map((id) => reached(id, 'gone'));
    const changes = ids.flatMap((key): AssignmentChange[] => [
      { action: 'remove', kind: 'task', key },
      { action: 'remove', kind: 'endpoint', key: `${NETWORK.id}/${key}` },
    ]);
    await tasks.apply(changes, false);
    await Promise.all(done);
  },

  /** Bytes after a full collection. */
  heapBytes(): number {
    setFlagsFromString('--expose-gc');
    const collect = runInNewContext('gc') as () => void;
    collect();
    return process.memoryUsage().heapUsed;
  },

  /** Core percent of this process in so many seconds, with or without one look at every container each second. */
  async corePercent({ seconds, looks }: { seconds: number; looks: boolean }): Promise<number> {
    const containers = looks ? runtime.list() : [];
    for (const { id } of containers) await runtime.stats(id);
    const before = process.cpuUsage();
    const beganMs = performance.now();
    for (let i = 0; i < seconds; i++) {
      for (const { id } of containers) await runtime.stats(id);
      await new Promise((resolve) =>
        setTimeout(resolve, beganMs + (i + 1) * 1000 - performance.now()),
      );
    }
    const { user, system } = process.cpuUsage(before);
    return (user + system) / 1e4 / ((performance.now() - beganMs) / 1000);
  },

  pids(): number[] {
    return runtime.list().map(({ pid }) => pid);
  },

  /** Each: `true` until its first byte, which is its end. ms */
  async execEach({ task, count }: { task: number; count: number }): Promise<number[]> {
    const times: number[] = [];
    for (let i = 0; i < count; i++) {
      const beganMs = performance.now();
      const session = await runtime.exec(benchTask(task, false).id, {
        args: ['true'],
        env: [],
        cwd: '',
        user: null,
        tty: false,
        consoleSize: null,
        stdin: false,
        privileged: false,
      });
      session.stdout.resume();
      session.stderr.resume();
      await session.wait();
      times.push(performance.now() - beganMs);
    }
    return times;
  },
};

export type NodeOperations = typeof operations;
serve(operations);

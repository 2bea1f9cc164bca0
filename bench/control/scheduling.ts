/** The scheduler on a real store with real watch events: no Raft, no disk, no agents. */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { silentLogger } from '../../common/base/log.ts';
import type { NetworkId, NodeId, ServiceId, TaskId } from '../../common/model/ids.ts';
import type { Node } from '../../common/model/node.ts';
import { ANYWHERE, NO_RESOURCES, type TaskSpec } from '../../common/model/service.ts';
import type { Task } from '../../common/model/task.ts';
import { Scheduler } from '../../manager/scheduler/scheduler.ts';
import {
  aNetwork,
  aNode,
  aNodeDescription,
  aNodeSpec,
  aTask,
  aTaskSpec,
  aTaskStatus,
  idOf,
} from '../../test/support/builders.ts';
import { figure, say } from '../support/report.ts';
import { median } from '../support/statistics.ts';
import { type LongestTurns, NO_TURNS, runDelayMs, TurnWatch } from '../support/turn-watch.ts';
import { localStore } from './local-store.ts';

interface Workload {
  readonly nodes: readonly Node[];
  readonly tasks: readonly Task[];
  readonly networks: readonly ReturnType<typeof aNetwork>[];
}

/**
 * SwarmKit's own benchmark (manager/scheduler/scheduler_test.go, benchScheduler): every third node has
 * the plugin `network` of type Network; tasks have no service, no version and no resources. With
 * `network` each task has one attachment to a network of that driver, so that a third of the nodes pass.
 */
function upstreamWorkload(nodes: number, tasks: number, network: boolean): Workload {
  const overlay = aNetwork({ id: idOf<NetworkId>('net') });
  const custom = { ...overlay, spec: { ...overlay.spec, driver: 'network' } };
  const plugins = [{ type: 'Network', name: 'network' }];
  return {
    networks: network ? [custom] : [],
    nodes: Array.from({ length: nodes }, (_, i) =>
      aNode({
        id: `node${i}` as NodeId,
        spec: aNodeSpec({ name: `name${i}` }),
        description: aNodeDescription({
          hostname: `name${i}`,
          plugins: i % 3 === 0 ? plugins : [{ type: 'Volume', name: 'local' }],
        }),
      }),
    ),
    tasks: Array.from({ length: tasks }, (_, i) =>
      aTask({
        id: `task${i}` as TaskId,
        serviceId: '' as ServiceId,
        serviceAnnotations: { name: '', labels: {} },
        status: aTaskStatus({ state: 'pending' }),
        networks: network ? [{ networkId: custom.id, addresses: [], aliases: [] }] : [],
      }),
    ),
  };
}

/**
 * Services of many tasks that reserve 0.1 CPU and 64 MiB, and ask for `node.labels.disk==ssd` (half of the nodes) and
 * linux/amd64. The other filters are tried for each service and find nothing to do.
 */
function groupedWorkload(nodes: number, services: number, tasksEach: number): Workload {
  const spec: TaskSpec = aTaskSpec({
    resources: {
      ...NO_RESOURCES,
      reservations: { nanoCpus: 1e8, memoryBytes: 64 * 2 ** 20, generic: [] },
    },
    placement: {
      ...ANYWHERE,
      constraints: ['node.labels.disk==ssd'],
      platforms: [{ architecture: 'amd64', os: 'linux' }],
    },
  });
  return {
    networks: [],
    nodes: Array.from({ length: nodes }, (_, i) =>
      aNode({
        id: `node${i}` as NodeId,
        spec: aNodeSpec({ labels: { disk: i % 2 === 0 ? 'ssd' : 'hdd' } }),
        description: aNodeDescription({ nanoCpus: 64e9, memoryBytes: 256 * 2 ** 30 }),
      }),
    ),
    tasks: Array.from({ length: services * tasksEach }, (_, i) =>
      aTask({
        id: `task${i}` as TaskId,
        serviceId: `service${Math.floor(i / tasksEach)}` as ServiceId,
        slot: (i % tasksEach) + 1,
        specVersion: 1,
        spec,
        status: aTaskStatus({ state: 'pending' }),
      }),
    ),
  };
}

setFlagsFromString('--expose-gc');
/** What earlier rounds and the preparation left behind, so that this round is not charged with it. */
const collectGarbage = runInNewContext('gc') as () => void;

interface Round {
  /** from the first task in the store until the last one's placement was seen on a watch */
  readonly elapsedMs: number;
  /** the same without the time in which this process waited for a core */
  readonly ownMs: number;
  /** see TurnWatch; zeros = nobody looked */
  readonly longestTurn: LongestTurns;
}

/**
 * As SwarmKit measures it: the scheduler runs; the clock starts just before the commit of the
 * transactions that create the nodes and the tasks, and stops when a watch has seen that each task was placed.
 * @param watchTurns looks at the clocks of the kernel each millisecond, which costs some per cent
 */
async function scheduleRound(work: Workload, watchTurns: boolean): Promise<Round> {
  const { store, clock, random, prepare } = localStore();
  const onFailure = (err: unknown): never => {
    throw err;
  };
  const scheduler = new Scheduler({ store, clock, random, log: silentLogger, onFailure });
  await store.batch(work.networks, (tx, network) => void tx.create('network', network));
  await scheduler.start();
  const watch = store.watch();
  const commitNodes = await prepare(work.nodes, (tx, node) => void tx.create('node', node));
  const commitTasks = await prepare(work.tasks, (tx, task) => void tx.create('task', task));
  collectGarbage();
  await new Promise((resolve) => setTimeout(resolve, 500)); // it sweeps in the background
  const turns = new TurnWatch();
  if (watchTurns) turns.start();
  const startMs = clock.monotonicMs();
  const startDelayMs = runDelayMs();
  await commitNodes();
  const committed = commitTasks();
  for (let placed = 0; placed < work.tasks.length; ) {
    for (const { changes } of (await watch.next()) ?? []) {
      for (const { kind, action } of changes) if (kind === 'task' && action === 'update') placed++;
    }
  }
  const elapsedMs = clock.monotonicMs() - startMs;
  const ownMs = elapsedMs - (runDelayMs() - startDelayMs);
  const longestTurn = watchTurns ? turns.stop() : NO_TURNS;
  await committed;
  watch.close();
  await scheduler.stop();
  return { elapsedMs, ownMs, longestTurn };
}

interface Rounds {
  /** medians */
  readonly elapsedMs: number;
  readonly ownMs: number;
  readonly longestTurns: readonly LongestTurns[];
}

/** `count` rounds after one that warms up. */
async function repeat(count: number, work: () => Workload, watchTurns = false): Promise<Rounds> {
  await scheduleRound(work(), watchTurns);
  const rounds: Round[] = [];
  for (let i = 0; i < count; i++) rounds.push(await scheduleRound(work(), watchTurns));
  const words = rounds.map(({ elapsedMs, ownMs }) => `${elapsedMs.toFixed(0)}/${ownMs.toFixed(0)}`);
  say(`  rounds, ms by the clock / without waiting for a core: ${words.join(' ')}`);
  return {
    elapsedMs: median(rounds.map(({ elapsedMs }) => elapsedMs)),
    ownMs: median(rounds.map(({ ownMs }) => ownMs)),
    longestTurns: rounds.map(({ longestTurn }) => longestTurn),
  };
}

/** SwarmKit's scenarios, and services of many tasks. */
export async function scheduling(): Promise<void> {
  const upstream = await repeat(9, () => upstreamWorkload(1_000, 10_000, false));
  figure('sched_upstream_1k_10k_ms', upstream.elapsedMs);
  const constraint = await repeat(9, () => upstreamWorkload(1_000, 10_000, true));
  figure('sched_constraint_1k_10k_ms', constraint.elapsedMs);
  const grouped = await repeat(9, () => groupedWorkload(1_000, 100, 100));
  figure('sched_grouped_tasks_per_s', 10_000 / (grouped.elapsedMs / 1_000));
}

/**
 * 100,000 tasks on 10,000 nodes. Of each round's longest turn, the median over the rounds and the most of them: in CPU time of
 * the main thread, which is what a turn does (decision 0052), and by the clock, which on a busy machine is
 * mostly waiting for a core.
 */
export async function scale(): Promise<void> {
  const { elapsedMs, ownMs, longestTurns } = await repeat(
    5,
    () => groupedWorkload(10_000, 100, 1_000),
    true,
  );
  figure('sched_10k_100k_ms', elapsedMs);
  figure('sched_10k_100k_own_ms', ownMs);
  const cpuMs = longestTurns.map((turn) => turn.cpuMs);
  const wallMs = longestTurns.map((turn) => turn.wallMs);
  figure('sched_longest_turn_ms', median(cpuMs));
  figure('sched_longest_turn_max_ms', Math.max(...cpuMs));
  figure('sched_longest_turn_wall_ms', median(wallMs));
  figure('sched_longest_turn_wall_max_ms', Math.max(...wallMs));
}

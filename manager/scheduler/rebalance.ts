/**
 * Which tasks would better be elsewhere: those of a service that has two more on their node than on the one that the
 * scheduler would choose now, and those of a node with two more tasks in all where the service loses nothing. Pure, and
 * worked out in turns: the table is the caller's own.
 */
import type { Clock } from '../../common/base/clock.ts';
import { TurnBudget } from '../../common/base/turn-budget.ts';
import { asId, type TaskId } from '../../common/model/ids.ts';
import type { TaskMove } from '../../common/model/placement.ts';
import type { Service } from '../../common/model/service.ts';
import type { Task } from '../../common/model/task.ts';
import { candidateTask } from './forecast.ts';
import type { NodeTable } from './node-table.ts';
import { planGroup } from './plan-placement.ts';

/**
 * Moves by their worth: services first that are spread worst. Books them in `table`.
 * @param tasks all of the cluster
 */
export async function planRebalance(
  table: NodeTable,
  { services, tasks }: { readonly services: readonly Service[]; readonly tasks: readonly Task[] },
  movesMax: number,
  clock: Pick<Clock, 'monotonicMs'>,
  signal?: AbortSignal,
): Promise<readonly TaskMove[]> {
  const budget = new TurnBudget(clock, signal);
  budget.begin();
  const nowMs = clock.monotonicMs();
  const byService = new Map<string, Task[]>();
  for (const task of tasks) {
    if (!isMovable(task)) continue;
    const known = byService.get(task.serviceId);
    if (known) known.push(task);
    else byService.set(task.serviceId, [task]);
  }
  const inOrder = services
    .filter(({ spec, updateStatus }) => spec.mode.kind === 'replicated' && !isBusy(updateStatus))
    .sort((a, b) => (a.spec.name < b.spec.name ? -1 : 1));
  const moves: TaskMove[] = [];
  const probe = asId<TaskId>('rebalance');
  // Spread of each service first, then the load of nodes: what the scheduler looks at first counts most.
  for (const goal of ['service', 'node'] as const) {
    for (const service of inOrder) {
      const open = byService.get(service.id) ?? [];
      while (moves.length < movesMax) {
        const found = await bestMove(table, { service, open, goal, probe, nowMs }, budget);
        if (found === null) break;
        open.splice(open.indexOf(found.task), 1);
        moves.push(found.move);
      }
    }
  }
  return moves;
}

/** One that runs, and that nobody has sent away yet. */
function isMovable({ slot, nodeId, status, desiredState, moving }: Task): boolean {
  return (
    slot !== null &&
    nodeId !== null &&
    moving === null &&
    desiredState === 'running' &&
    status.state === 'running'
  );
}

/** Its tasks change anyway. */
function isBusy(status: Service['updateStatus']): boolean {
  return status !== null && status.state !== 'completed' && status.state !== 'rollback_completed';
}

interface Search {
  readonly service: Service;
  /** tasks that may be moved */
  readonly open: readonly Task[];
  readonly goal: 'service' | 'node';
  /** id for the candidate */
  readonly probe: TaskId;
  /** monotonic */
  readonly nowMs: number;
}

/** From the fullest node first; the youngest slot of those there. Booked when it is one. */
async function bestMove(
  table: NodeTable,
  { service, open, goal, probe, nowMs }: Search,
  budget: TurnBudget,
): Promise<{ readonly task: Task; readonly move: TaskMove } | null> {
  if (budget.spent) await budget.renew();
  const counts = table.activeOf(service.id);
  const fullness = ({ nodeId }: Task): number => {
    const index = table.indexOf(nodeId!);
    if (index === undefined) return 0;
    return goal === 'service' ? (counts.get(index) ?? 0) : table.activeTasks[index]!;
  };
  // Nowhere are fewer.
  const least = goal === 'service' ? 0 : leastLoad(table);
  const tried = new Set<string>();
  const order = [...open].sort((a, b) => fullness(b) - fullness(a) || b.slot! - a.slot!);
  for (const task of order) {
    const from = table.indexOf(task.nodeId!);
    if (from === undefined || tried.has(task.nodeId!)) continue;
    if (fullness(task) - least < 2) return null; // nor does any after it gain two
    tried.add(task.nodeId!);
    if (budget.spent) await budget.renew();
    const [ownCount, load] = [counts.get(from) ?? 0, table.activeTasks[from]!];
    table.removeTask(task.id);
    const [decision] = planGroup(table, [candidateTask(service, probe, null)], nowMs).decisions;
    table.removeTask(probe);
    const to = decision?.kind === 'place' ? table.indexOf(decision.nodeId) : undefined;
    if (to !== undefined && to !== from) {
      const there = table.activeOf(service.id).get(to) ?? 0;
      const isBetter =
        goal === 'service'
          ? ownCount - there >= 2
          : ownCount > there && load - table.activeTasks[to]! >= 2;
      if (isBetter) {
        table.book(task, to, []);
        return { task, move: moveOf(table, service, task, from, to) };
      }
    }
    table.putTask(task);
  }
  return null;
}

/** Of the nodes that take tasks. */
function leastLoad(table: NodeTable): number {
  let least = Number.POSITIVE_INFINITY;
  for (const index of table.indexes()) {
    const { spec, status } = table.node(index);
    if (spec.availability !== 'active' || status.state !== 'ready') continue;
    least = Math.min(least, table.activeTasks[index]!);
  }
  return least;
}

function moveOf(
  table: NodeTable,
  { spec }: Service,
  { id, slot }: Task,
  from: number,
  to: number,
): TaskMove {
  const place = (index: number): TaskMove['to'] => {
    const { id: nodeId, description } = table.node(index);
    return { nodeId, hostname: description?.hostname ?? '' };
  };
  return {
    ...{ taskId: id, serviceName: spec.name, slot: slot! },
    ...{ from: place(from), to: place(to) },
  };
}

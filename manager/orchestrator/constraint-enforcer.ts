/**
 * Rejects running tasks that their node may no longer have; the orchestrator then moves them. Gives up those that
 * came to a node when it was being removed: nobody would ever tell how they ended.
 */
import type { NodeId, TaskId } from '../../common/model/ids.ts';
import { concernsPlacement } from '../../common/model/node.ts';
import type { Task } from '../../common/model/task.ts';
import { isBefore, isTerminal } from '../../common/model/task-state.ts';
import { Follower } from '../store/follower.ts';
import type { Commit, ReadView, WriteTx } from '../store/types.ts';
import type { RoomOptions } from './options.ts';
import { ENFORCED_MESSAGE, isMisplaced, noncompliantTasks } from './plan-enforcement.ts';

export class ConstraintEnforcer {
  readonly #options: RoomOptions;
  readonly #follower: Follower;

  constructor(options: RoomOptions) {
    this.#options = options;
    this.#follower = new Follower(options, {
      resync: (signal) => this.#enforce(this.#everything(), signal),
      react: (commits, signal) => this.#enforce(suspectsOf(commits), signal),
    });
  }

  start(): void {
    this.#follower.start();
  }

  stop(): Promise<void> {
    return this.#follower.stop();
  }

  #everything(): Suspects {
    return this.#options.store.view((view) => ({
      nodeIds: new Set(view.list('node').map(({ id }) => id)),
      taskIds: view
        .list('task')
        .filter((task) => isNowhere(view, task))
        .map(({ id }) => id),
    }));
  }

  async #enforce(suspects: Suspects, signal: AbortSignal): Promise<void> {
    if (suspects.nodeIds.size === 0 && suspects.taskIds.length === 0) return;
    const { store, clock, log } = this.#options;
    const { rejected, lost } = store.view((view) => ({
      rejected: [
        ...[...suspects.nodeIds].flatMap((nodeId) => rejectedOn(view, nodeId)),
        ...suspects.taskIds.flatMap((taskId) => misplaced(view, taskId)),
      ],
      lost: suspects.taskIds.filter((taskId) => isNowhere(view, view.get('task', taskId))),
    }));
    for (const { id: taskId, nodeId } of rejected) {
      log.info({ taskId, nodeId }, 'node no longer meets constraints of task');
    }
    const nowMs = clock.wallMs();
    await store.batch(rejected, (tx, { id }) => reject(tx, id, nowMs), signal);
    await store.batch(lost, (tx, id) => giveUp(tx, id, nowMs), signal);
  }
}

/** What must be looked at: nodes that changed, and tasks that came to a node meanwhile. */
interface Suspects {
  readonly nodeIds: ReadonlySet<NodeId>;
  readonly taskIds: readonly TaskId[];
}

function suspectsOf(commits: readonly Commit[]): Suspects {
  const nodeIds = new Set<NodeId>();
  const taskIds: TaskId[] = [];
  for (const { changes } of commits) {
    for (const change of changes) {
      if (change.action !== 'update') {
        if (change.kind === 'node' && change.action === 'create') nodeIds.add(change.object.id);
      } else if (change.kind === 'node') {
        if (concernsPlacement(change.object, change.previous)) nodeIds.add(change.object.id);
      } else if (change.kind === 'task') {
        const { status, id } = change.object;
        if (status.state === 'assigned' && change.previous.status.state !== 'assigned') {
          taskIds.push(id);
        }
      }
    }
  }
  return { nodeIds, taskIds };
}

function rejectedOn(view: ReadView, nodeId: NodeId): Task[] {
  const node = view.get('node', nodeId);
  if (!node) return [];
  const service = (task: Task) => view.get('service', task.serviceId);
  return noncompliantTasks(node, view.tasksByNode(nodeId), service);
}

function misplaced(view: ReadView, taskId: TaskId): Task[] {
  const task = view.get('task', taskId);
  const node = task?.nodeId ? view.get('node', task.nodeId) : undefined;
  if (!task || !node) return [];
  return isMisplaced(node, task, view.get('service', task.serviceId)) ? [task] : [];
}

/** A node has it that there is not. */
function isNowhere(view: ReadView, task: Task | undefined): boolean {
  if (!task || task.nodeId === null) return false;
  const { state } = task.status;
  if (isBefore(state, 'assigned') || isTerminal(state)) return false;
  return view.get('node', task.nodeId) === undefined;
}

function giveUp(tx: WriteTx, taskId: TaskId, nowMs: number): void {
  const task = tx.get('task', taskId);
  if (!task || !isNowhere(tx, task)) return;
  const status = {
    ...task.status,
    state: 'orphaned' as const,
    timestampMs: nowMs,
    message: 'task belonged to a node that has been deleted',
  };
  tx.update('task', { ...task, status });
}

function reject(tx: WriteTx, taskId: TaskId, nowMs: number): void {
  const task = tx.get('task', taskId);
  if (!task || isTerminal(task.status.state)) return;
  const status = {
    ...task.status,
    state: 'rejected' as const,
    timestampMs: nowMs,
    appliedAtMs: nowMs,
    message: ENFORCED_MESSAGE,
    err: 'assigned node no longer meets constraints',
  };
  tx.update('task', { ...task, status });
}

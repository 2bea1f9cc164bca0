/** Rejects running tasks that their node may no longer have; the orchestrator then moves them. */
import type { NodeId, TaskId } from '../../common/model/ids.ts';
import { isTerminal } from '../../common/model/task-state.ts';
import { Follower } from '../store/follower.ts';
import type { Commit, WriteTx } from '../store/types.ts';
import { changesPlacement } from './node-change.ts';
import type { RoomOptions } from './options.ts';
import { noncompliantTasks } from './plan-enforcement.ts';

export class ConstraintEnforcer {
  readonly #options: RoomOptions;
  readonly #follower: Follower;

  constructor(options: RoomOptions) {
    this.#options = options;
    this.#follower = new Follower(options, {
      resync: (signal) => this.#enforce(this.#allNodes(), signal),
      react: (commits, signal) => this.#enforce(changedNodes(commits), signal),
    });
  }

  start(): void {
    this.#follower.start();
  }

  stop(): Promise<void> {
    return this.#follower.stop();
  }

  #allNodes(): Set<NodeId> {
    return this.#options.store.view((view) => new Set(view.list('node').map(({ id }) => id)));
  }

  async #enforce(nodeIds: ReadonlySet<NodeId>, signal: AbortSignal): Promise<void> {
    if (nodeIds.size === 0) return;
    const { store, clock, log } = this.#options;
    const rejected = store.view((view) =>
      [...nodeIds].flatMap((nodeId) => {
        const node = view.get('node', nodeId);
        if (!node) return [];
        const tasks = view.tasksByNode(nodeId);
        return noncompliantTasks(node, tasks, (task) => view.get('service', task.serviceId));
      }),
    );
    for (const { id: taskId, nodeId } of rejected) {
      log.info({ taskId, nodeId }, 'node no longer meets constraints of task');
    }
    const nowMs = clock.wallMs();
    await store.batch(rejected, (tx, { id }) => reject(tx, id, nowMs), signal);
  }
}

function changedNodes(commits: readonly Commit[]): Set<NodeId> {
  const changed = new Set<NodeId>();
  for (const { changes } of commits) {
    for (const change of changes) {
      if (change.kind !== 'node' || change.action === 'remove') continue;
      if (change.action === 'create' || changesPlacement(change.object, change.previous)) {
        changed.add(change.object.id);
      }
    }
  }
  return changed;
}

function reject(tx: WriteTx, taskId: TaskId, nowMs: number): void {
  const task = tx.get('task', taskId);
  if (!task || isTerminal(task.status.state)) return;
  const status = {
    ...task.status,
    state: 'rejected' as const,
    timestampMs: nowMs,
    appliedAtMs: nowMs,
    message: 'task rejected by constraint enforcer',
    err: 'assigned node no longer meets constraints',
  };
  tx.update('task', { ...task, status });
}

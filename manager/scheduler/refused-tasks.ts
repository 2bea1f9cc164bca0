/**
 * The tasks that no node would have: woken by what can help them and by nothing else, and told in new
 * words when the reason has changed.
 */
import type { Clock, Timer } from '../../common/base/clock.ts';
import type { TurnBudget } from '../../common/base/turn-budget.ts';
import type { Task } from '../../common/model/task.ts';
import type { Store } from '../store/types.ts';
import type { NodeTable } from './node-table.ts';
import type { PendingGroup, PendingTasks } from './pending-tasks.ts';
import type { Refusal } from './plan-placement.ts';
import { noSuitableNode, type Refusals } from './refusals.ts';
import { placesBefore, type Successors } from './successors.ts';

/** Places become free in bursts: they are looked at for all of a burst together, no more often than this. */
const REVIEW_PERIOD_MS = 50;
/** The words of a waiting task are renewed no more often than this: each time is a write for each task. */
const RESTATE_PERIOD_MS = 1_000;

export interface RefusedTasksOptions {
  readonly store: Pick<Store, 'view'>;
  readonly clock: Clock;
  readonly table: NodeTable;
  readonly pending: PendingTasks;
  readonly successors: Successors;
  /** has `review` called soon */
  readonly wake: () => void;
}

export class RefusedTasks {
  readonly #options: RefusedTasksOptions;
  #lastReviewMs = Number.NEGATIVE_INFINITY;
  #lastRestateMs = Number.NEGATIVE_INFINITY;
  /** groups whose tasks may say something that is no longer so */
  readonly #stale = new Set<PendingGroup>();
  #timer: Timer | null = null;

  constructor(options: RefusedTasksOptions) {
    this.#options = options;
  }

  stop(): void {
    this.#timer?.cancel();
    this.#timer = null;
  }

  /** No node would have `task` and those that are alike. */
  note(task: Task, refusals: Refusals): void {
    const group = this.#options.pending.groupOf(task.id);
    if (group) group.refusals = refusals;
  }

  /** Makes those due that a node which changed, or on which something became free, would have now. */
  async review(budget: TurnBudget): Promise<void> {
    const { clock, pending, table } = this.#options;
    const { relieved } = table;
    if (pending.size === 0) {
      relieved.clear();
      this.#stale.clear();
      return;
    }
    if (relieved.size === 0) return;
    if (!this.#isTime(this.#lastReviewMs + REVIEW_PERIOD_MS)) return;
    this.#lastReviewMs = clock.monotonicMs();
    const indexes = new Set(relieved);
    relieved.clear();
    for (const group of [...pending.groups]) {
      this.#reviewGroup(group, indexes);
      if (budget.spent) await budget.renew();
    }
  }

  #reviewGroup(group: PendingGroup, indexes: ReadonlySet<number>): void {
    const { pending, table } = this.#options;
    if (group.nodeId !== null) {
      const home = table.indexOf(group.nodeId);
      if (home !== undefined && indexes.has(home)) pending.retry(group);
    } else if (group.unwritten || group.refusals?.review(indexes)) {
      pending.retry(group);
    } else if (this.#mayComeInPlace(group, indexes)) {
      pending.retry(group);
    } else if (group.refusals) {
      this.#stale.add(group);
    }
  }

  /** Something changed where one ends before a task of the group: with its place it may do now. */
  #mayComeInPlace({ tasks }: PendingGroup, indexes: ReadonlySet<number>): boolean {
    const { store, successors, table } = this.#options;
    const [model] = tasks.values();
    if (!model || !successors.has(model.serviceId)) return false;
    return store.view((view) => {
      for (const task of tasks.values()) {
        for (const taskId of placesBefore(task, view)) {
          const index = table.placeOf(taskId);
          if (index !== undefined && indexes.has(index)) return true;
        }
      }
      return false;
    });
  }

  /** New words for tasks whose reason has changed. */
  takeRestatements(): Refusal[] {
    if (this.#stale.size === 0) return [];
    if (!this.#isTime(this.#lastRestateMs + RESTATE_PERIOD_MS)) return [];
    const restatements: Refusal[] = [];
    for (const { refusals, tasks } of this.#stale) {
      if (!refusals) continue;
      const explanation = noSuitableNode(refusals.explanation());
      for (const task of tasks.values()) {
        if (task.status.err === explanation) continue;
        restatements.push({ kind: 'refuse', task, explanation });
      }
    }
    this.#stale.clear();
    if (restatements.length > 0) this.#lastRestateMs = this.#options.clock.monotonicMs();
    return restatements;
  }

  /** If not, we are woken when it is. */
  #isTime(dueMs: number): boolean {
    const { clock, wake } = this.#options;
    const waitMs = dueMs - clock.monotonicMs();
    if (waitMs <= 0) return true;
    this.#timer ??= clock.setTimer(waitMs, () => {
      this.#timer = null;
      wake();
    });
    return false;
  }
}

/**
 * The tasks that no node would have: woken by what can help them and by nothing else, and told in new
 * words when the reason has changed.
 */
import type { Clock, Timer } from '../../common/base/clock.ts';
import type { TurnBudget } from '../../common/base/turn-budget.ts';
import type { TaskId } from '../../common/model/ids.ts';
import type { Task } from '../../common/model/task.ts';
import type { NodeTable } from './node-table.ts';
import type { PendingGroup, PendingTasks } from './pending-tasks.ts';
import type { Refusal } from './plan-placement.ts';
import { noSuitableNode, type Refusals } from './refusals.ts';

/** Places become free in bursts: they are looked at for all of a burst together, no more often than this. */
const REVIEW_PERIOD_MS = 50;
/** The words of a waiting task are renewed no more often than this: each time is a write for each task. */
const RESTATE_PERIOD_MS = 1_000;

export class RefusedTasks {
  readonly #table: NodeTable;
  readonly #pending: PendingTasks;
  readonly #clock: Clock;
  readonly #before: (task: Task) => readonly TaskId[];
  readonly #wake: () => void;
  #lastReviewMs = Number.NEGATIVE_INFINITY;
  #lastRestateMs = Number.NEGATIVE_INFINITY;
  /** groups whose tasks may say something that is no longer so */
  readonly #stale = new Set<PendingGroup>();
  #timer: Timer | null = null;

  /**
   * @param before the tasks whose places a task may have
   * @param wake has `review` called soon
   */
  constructor(
    table: NodeTable,
    pending: PendingTasks,
    clock: Clock,
    before: (task: Task) => readonly TaskId[],
    wake: () => void,
  ) {
    this.#table = table;
    this.#pending = pending;
    this.#clock = clock;
    this.#before = before;
    this.#wake = wake;
  }

  stop(): void {
    this.#timer?.cancel();
    this.#timer = null;
  }

  /** No node would have `task` and those that are alike. */
  note(task: Task, refusals: Refusals): void {
    const group = this.#pending.groupOf(task.id);
    if (group) group.refusals = refusals;
  }

  /** Makes those due that a node which changed, or on which something became free, would have now. */
  async review(budget: TurnBudget): Promise<void> {
    const { relieved } = this.#table;
    if (this.#pending.size === 0) {
      relieved.clear();
      this.#stale.clear();
      return;
    }
    if (relieved.size === 0) return;
    if (!this.#isTime(this.#lastReviewMs + REVIEW_PERIOD_MS)) return;
    this.#lastReviewMs = this.#clock.monotonicMs();
    const indexes = new Set(relieved);
    relieved.clear();
    for (const group of [...this.#pending.groups]) {
      this.#reviewGroup(group, indexes);
      if (budget.spent) await budget.renew();
    }
  }

  #reviewGroup(group: PendingGroup, indexes: ReadonlySet<number>): void {
    if (group.nodeId !== null) {
      const home = this.#table.indexOf(group.nodeId);
      if (home !== undefined && indexes.has(home)) this.#pending.retry(group);
    } else if (group.unwritten || group.refusals?.review(indexes)) {
      this.#pending.retry(group);
    } else if (this.#mayComeInPlace(group, indexes)) {
      this.#pending.retry(group);
    } else if (group.refusals) {
      this.#stale.add(group);
    }
  }

  /** Something changed where one ends before a task of the group: with its place it may do now. */
  #mayComeInPlace({ tasks }: PendingGroup, indexes: ReadonlySet<number>): boolean {
    for (const task of tasks.values()) {
      for (const taskId of this.#before(task)) {
        const index = this.#table.placeOf(taskId);
        if (index !== undefined && indexes.has(index)) return true;
      }
    }
    return false;
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
    if (restatements.length > 0) this.#lastRestateMs = this.#clock.monotonicMs();
    return restatements;
  }

  /** If not, we are woken when it is. */
  #isTime(dueMs: number): boolean {
    const waitMs = dueMs - this.#clock.monotonicMs();
    if (waitMs <= 0) return true;
    this.#timer ??= this.#clock.setTimer(waitMs, () => {
      this.#timer = null;
      this.#wake();
    });
    return false;
  }
}

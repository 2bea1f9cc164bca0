/** The tasks that wait for a node, by group; which groups are new, and which were refused already. */
import type { TaskId } from '../../common/model/ids.ts';
import type { Task } from '../../common/model/task.ts';
import { isSchedulable } from './apply.ts';
import { groupKey } from './node-entry.ts';

export class PendingTasks {
  readonly #groups = new Map<string, Map<TaskId, Task>>();
  readonly #groupOf = new Map<TaskId, string>();
  /** groups with a task that was never decided, or that shall be tried again */
  readonly #due = new Set<string>();

  get size(): number {
    return this.#groupOf.size;
  }

  get hasDue(): boolean {
    return this.#due.size > 0;
  }

  /** Takes note of a task's present state: it may come, stay or go. New ones are due. */
  put(task: Task): void {
    if (!this.#groupOf.has(task.id) && isSchedulable(task)) this.#due.add(waitKey(task));
    this.putBack(task);
  }

  /** As `put`, but a new one waits for `retryAll`. */
  putBack(task: Task): void {
    if (!isSchedulable(task)) {
      this.remove(task.id);
      return;
    }
    const key = waitKey(task);
    const group = this.#groups.get(key) ?? new Map<TaskId, Task>();
    group.set(task.id, task);
    this.#groups.set(key, group);
    this.#groupOf.set(task.id, key);
  }

  remove(taskId: TaskId): void {
    const key = this.#groupOf.get(taskId);
    if (key === undefined) return;
    this.#groupOf.delete(taskId);
    const group = this.#groups.get(key)!;
    group.delete(taskId);
    if (group.size === 0) this.#groups.delete(key);
    if (group.size === 0) this.#due.delete(key);
  }

  /** Everything is to be tried again. */
  retryAll(): void {
    for (const key of this.#groups.keys()) this.#due.add(key);
  }

  /** The groups that are due, those of preassigned tasks first; each is due no longer. */
  *takeDue(): Generator<readonly Task[]> {
    const keys = [...this.#due].sort(
      (a, b) => Number(b.startsWith(PREASSIGNED)) - Number(a.startsWith(PREASSIGNED)),
    );
    for (const key of keys) {
      this.#due.delete(key);
      const group = this.#groups.get(key);
      if (group) yield [...group.values()];
    }
  }
}

/** No service id begins so. */
const PREASSIGNED = '@';

function waitKey(task: Task): string {
  return task.nodeId === null ? groupKey(task) : `${PREASSIGNED}${groupKey(task)}`;
}

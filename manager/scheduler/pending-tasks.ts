/** The tasks that wait for a node, by group; which groups are to be decided, and which were refused why. */
import { ShardedMap } from '../../common/base/sharded-map.ts';
import type { NodeId, TaskId } from '../../common/model/ids.ts';
import type { Task } from '../../common/model/task.ts';
import { isSchedulable } from './apply.ts';
import type { Refusals } from './refusals.ts';
import { TaskGroups } from './task-groups.ts';

/** Tasks that are decided together: those that are alike, or those that belong to one node already. */
export interface PendingGroup {
  readonly key: string;
  /** of tasks of global services, which have no choice; null = any node */
  readonly nodeId: NodeId | null;
  readonly tasks: Map<TaskId, Task>;
  /** why no node would do for one of them, kept up to date; null = none was refused, or their node alone counts */
  refusals: Refusals | null;
  /** a decision could not be written: to be made again as soon as anything changes */
  unwritten: boolean;
}

type DueTasks = Map<PendingGroup, Set<TaskId>>;

/** INVARIANT: no group is empty, and none is due without a task. */
export class PendingTasks {
  readonly #alike = new TaskGroups();
  readonly #groups = new Map<string, PendingGroup>();
  readonly #groupOf = new ShardedMap<TaskId, PendingGroup>();
  /** tasks that were never decided, or that shall be decided again; those that belong to a node */
  readonly #dueAtHome: DueTasks = new Map();
  /** and those that may go to any */
  readonly #dueAnywhere: DueTasks = new Map();

  get size(): number {
    return this.#groupOf.size;
  }

  get hasDue(): boolean {
    return this.#dueAtHome.size + this.#dueAnywhere.size > 0;
  }

  get groups(): Iterable<PendingGroup> {
    return this.#groups.values();
  }

  /** Takes note of a task's present state: it may come, stay or go. New ones are due. */
  put(task: Task): void {
    if (!isSchedulable(task)) {
      this.remove(task.id);
      return;
    }
    const known = this.#groupOf.get(task.id);
    if (known) known.tasks.set(task.id, task);
    else this.putNew(task);
  }

  /** The same for one that is schedulable and not here. It is due. */
  putNew(task: Task): void {
    this.#makeDue(this.#add(task), task.id);
  }

  /** As `put`, but a new one waits until it is made due. */
  putBack(task: Task): void {
    if (!isSchedulable(task)) {
      this.remove(task.id);
      return;
    }
    const known = this.#groupOf.get(task.id);
    if (known) known.tasks.set(task.id, task);
    else this.#add(task);
  }

  #add(task: Task): PendingGroup {
    const group = this.#groupFor(task);
    group.tasks.set(task.id, task);
    this.#groupOf.set(task.id, group);
    return group;
  }

  remove(taskId: TaskId): void {
    const group = this.#groupOf.get(taskId);
    if (!group) return;
    this.#groupOf.delete(taskId);
    group.tasks.delete(taskId);
    const due = this.#dueOf(group);
    const dueTasks = due.get(group);
    dueTasks?.delete(taskId);
    if (dueTasks?.size === 0) due.delete(group);
    if (group.tasks.size === 0) this.#groups.delete(group.key);
  }

  /** A task of the group that `takeDue` gave has its place. */
  settle(group: PendingGroup, taskId: TaskId): void {
    this.#groupOf.delete(taskId);
    group.tasks.delete(taskId);
    if (group.tasks.size === 0) this.#groups.delete(group.key);
  }

  /** All tasks of the group are to be decided again. */
  retry(group: PendingGroup): void {
    group.unwritten = false;
    this.#dueOf(group).set(group, new Set(group.tasks.keys()));
  }

  groupOf(taskId: TaskId): PendingGroup | undefined {
    return this.#groupOf.get(taskId);
  }

  /** Its decision could not be written. */
  putBackUnwritten(task: Task): void {
    this.putBack(task);
    const group = this.#groupOf.get(task.id);
    if (group) group.unwritten = true;
  }

  /** One of the tasks that `takeDue` gives next, if these have a choice of node. */
  get nextAnywhere(): Task | null {
    if (this.#dueAtHome.size > 0) return null;
    for (const [group, taskIds] of this.#dueAnywhere) {
      for (const taskId of taskIds) return group.tasks.get(taskId)!;
    }
    return null;
  }

  /** At most `limit` tasks of one group that are due, no longer due then; those that belong to a node first. */
  takeDue(limit: number): { readonly group: PendingGroup; readonly tasks: Task[] } | null {
    const due = this.#dueAtHome.size > 0 ? this.#dueAtHome : this.#dueAnywhere;
    for (const [group, taskIds] of due) {
      const tasks: Task[] = [];
      for (const taskId of taskIds) {
        if (tasks.length >= limit) break;
        taskIds.delete(taskId);
        tasks.push(group.tasks.get(taskId)!);
      }
      if (taskIds.size === 0) due.delete(group);
      return { group, tasks };
    }
    return null;
  }

  #groupFor(task: Task): PendingGroup {
    const key = task.nodeId === null ? this.#alike.keyOf(task) : preassignedKey(task.nodeId);
    let group = this.#groups.get(key);
    if (!group) {
      group = { key, nodeId: task.nodeId, tasks: new Map(), refusals: null, unwritten: false };
      this.#groups.set(key, group);
    }
    return group;
  }

  /** With a task that comes anew, those of its group that were refused get their chance, too. */
  #makeDue(group: PendingGroup, taskId: TaskId): void {
    const due = this.#dueOf(group);
    const taskIds = due.get(group);
    if (taskIds) taskIds.add(taskId);
    else if (group.refusals || group.unwritten) this.retry(group);
    else due.set(group, new Set([taskId]));
  }

  #dueOf(group: PendingGroup): DueTasks {
    return group.nodeId === null ? this.#dueAnywhere : this.#dueAtHome;
  }
}

/** No service id begins so. */
function preassignedKey(nodeId: NodeId): string {
  return `@${nodeId}`;
}

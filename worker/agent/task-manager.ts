/**
 * The node's set of tasks: what the manager assigned, one runner each, remembered on disk. Applies
 * assignment sets in the order secrets, configs, network state, tasks; knows nothing of streams.
 */
import type { Clock } from '../../common/base/clock.ts';
import { type OnFailure, TaskSet } from '../../common/base/lifecycle.ts';
import type { Logger } from '../../common/base/log.ts';
import type {
  AssignedConfig,
  AssignedSecret,
  AssignmentChange,
} from '../../common/model/assignment.ts';
import type { TaskId } from '../../common/model/ids.ts';
import type { Task, TaskStatus } from '../../common/model/task.ts';
import { isBefore } from '../../common/model/task-state.ts';
import type { Dependencies, Executor } from '../executor/executor.ts';
import type { StatusReporter } from './status-reporter.ts';
import type { TaskRecords } from './task-database.ts';
import { TaskRunner } from './task-runner.ts';

export interface TaskManagerOptions {
  readonly executor: Executor;
  readonly database: TaskRecords;
  readonly reporter: StatusReporter;
  readonly clock: Clock;
  readonly log: Logger;
  readonly onFailure: OnFailure;
}

export class TaskManager {
  readonly #options: TaskManagerOptions;
  readonly #runners = new Map<TaskId, TaskRunner>();
  /** resumed tasks that wait for their manager; their runners were never started */
  readonly #held = new Set<TaskId>();
  /** tasks being removed: their ids are taken until that is done */
  readonly #leaving = new Map<TaskId, Promise<void>>();
  readonly #secrets = new Map<string, AssignedSecret>();
  readonly #configs = new Map<string, AssignedConfig>();
  readonly #background: TaskSet;
  /** what `put` promised last */
  #keeping: Promise<void> | null = null;
  readonly #dependencies: Dependencies = {
    secret: (id) => this.#secrets.get(id),
    config: (id) => this.#configs.get(id),
  };

  constructor(options: TaskManagerOptions) {
    this.#options = options;
    this.#background = new TaskSet(options.onFailure);
  }

  /** Resumes the tasks of the local database, without a manager. */
  async start(): Promise<void> {
    const records = await this.#options.database.load();
    const known = new Set(records.map((record) => record.task.id));
    await this.#options.executor.sweep((taskId) => known.has(taskId));
    for (const { task, status } of records) {
      // What still has to be prepared needs secrets and credentials, which only a manager has.
      const held = isBefore(status.state, 'starting');
      this.#add(task, status, held);
    }
  }

  /** Leaves every task running. */
  async stop(): Promise<void> {
    await Promise.all([...this.#runners.values()].map((runner) => runner.stop()));
    await this.#background.stop();
    await this.#options.database.flushed();
  }

  /** Removes what belongs to no task. Of one that is assigned or removed meanwhile nothing is touched. */
  async sweep(): Promise<void> {
    if (this.#background.signal.aborted) return;
    const isKnown = (id: TaskId): boolean => this.#runners.has(id) || this.#leaving.has(id);
    const sweep = this.#options.executor.sweep(isKnown);
    this.#background.run(() => sweep.catch(() => {})); // its caller sees the failure
    await sweep;
  }

  list(): { task: Task; status: TaskStatus }[] {
    return [...this.#runners.values()].map(({ task, status }) => ({ task, status }));
  }

  /** After a new session every status goes out again: the manager may have missed some. */
  reportAll(): void {
    for (const { task, status } of this.#runners.values()) {
      this.#options.reporter.report(task.id, status);
    }
  }

  /** Puts a set, or a step between two sets, in force. Resolves when the network state is programmed. */
  async apply(changes: readonly AssignmentChange[], complete: boolean): Promise<void> {
    this.#applyDependencies(changes, complete);
    try {
      await this.#options.executor.applyNetworkState(changes, complete);
    } finally {
      // One network's trouble must not hold up orders to stop; a task that needs it says what lacks.
      this.#applyTasks(changes, complete);
    }
  }

  /** Ends and removes every task (leaving the swarm). */
  async removeAll(): Promise<void> {
    for (const taskId of [...this.#runners.keys()]) this.#remove(taskId);
    await Promise.all(this.#leaving.values());
  }

  #applyDependencies(changes: readonly AssignmentChange[], complete: boolean): void {
    if (complete) {
      this.#secrets.clear();
      this.#configs.clear();
    }
    for (const change of changes) {
      if (change.kind === 'secret') {
        if (change.action === 'set') this.#secrets.set(change.key, change.item);
        else this.#secrets.delete(change.key);
      } else if (change.kind === 'config') {
        if (change.action === 'set') this.#configs.set(change.key, change.item);
        else this.#configs.delete(change.key);
      }
    }
  }

  #applyTasks(changes: readonly AssignmentChange[], complete: boolean): void {
    const named = new Set<TaskId>();
    for (const change of changes) {
      if (change.kind !== 'task') continue;
      if (change.action === 'set') {
        named.add(change.item.id);
        this.#assign(change.item);
      } else {
        this.#remove(change.key as TaskId);
      }
    }
    if (!complete) return;
    for (const taskId of [...this.#runners.keys()]) {
      if (!named.has(taskId)) this.#remove(taskId);
    }
  }

  #assign(task: Task): void {
    const runner = this.#runners.get(task.id);
    if (!runner) {
      if (!this.#leaving.has(task.id)) this.#add(task, task.status, false);
      return;
    }
    if (this.#held.has(task.id)) {
      // The manager may know better: the machine lost power, and the newest records with it.
      const known = isBefore(runner.status.state, task.status.state) ? task : runner;
      this.#add(task, known.status, false);
      return;
    }
    runner.update(task);
    this.#remember(runner.task, runner.status);
  }

  /** @param held not to be started before a manager assigns it (again) */
  #add(task: Task, status: TaskStatus, held: boolean): void {
    const { executor, clock, log } = this.#options;
    const runner = new TaskRunner({
      task,
      status,
      // Where the task stands here, not where the assignment has it: that names the ports it holds.
      controller: executor.controller({ ...task, status }, this.#dependencies),
      clock,
      log,
      onStatus: (latest, next) => {
        this.#remember(latest, next);
        this.#options.reporter.report(latest.id, next);
      },
    });
    this.#runners.set(task.id, runner);
    this.#remember(task, status);
    if (held) {
      this.#held.add(task.id);
    } else {
      this.#held.delete(task.id);
      runner.start();
    }
  }

  #remove(taskId: TaskId): void {
    const runner = this.#runners.get(taskId);
    if (!runner) return;
    this.#runners.delete(taskId);
    this.#held.delete(taskId);
    this.#background.run((signal) => {
      const removal = runner
        .remove(signal)
        .then(() => this.#options.database.remove(taskId))
        .finally(() => {
          this.#leaving.delete(taskId);
          this.#options.reporter.forget(taskId);
        });
      this.#leaving.set(taskId, removal);
      return removal;
    });
  }

  #remember(task: Task, status: TaskStatus): void {
    if (this.#background.signal.aborted) return; // nobody would hear that it failed
    const kept = this.#options.database.put({ task, status });
    if (kept === this.#keeping) return; // many records are kept at once: one of them is waited for
    this.#keeping = kept;
    this.#background.run(() => kept);
  }
}

/** Deletes tasks that are over: those of removed slots and services at once, old ones beyond the limit. */
import { append } from '../../common/base/append.ts';
import type { Timer } from '../../common/base/clock.ts';
import { DEFAULT_CLUSTER_SPEC } from '../../common/model/cluster.ts';
import type { ServiceId, TaskId } from '../../common/model/ids.ts';
import { isUnderWay } from '../../common/model/service-update.ts';
import type { Task } from '../../common/model/task.ts';
import { isTerminal } from '../../common/model/task-state.ts';
import { Follower } from '../store/follower.ts';
import type { Commit, ReadView, StoreChange } from '../store/types.ts';
import type { RoomOptions } from './options.ts';
import { historyLimit, isDoneForGood, surplusTasks, updateWitnesses } from './plan-reaping.ts';
import { hasNoRoom, seatKey, seatsByNode, seatsBySlot } from './seat.ts';

/** Bursts of a rollout are cleaned up together. */
const HISTORY_DELAY_MS = 250;
const DIRTY_SEATS_MAX = 1000;

export class TaskReaper {
  readonly #options: RoomOptions;
  readonly #follower: Follower;
  readonly #done = new Set<TaskId>();
  /** seats to be counted, as `serviceId/slot` or `serviceId/nodeId` -> one of their tasks */
  readonly #seats = new Map<string, Task>();
  #timer: Timer | null = null;
  #historyDue = false;

  constructor(options: RoomOptions) {
    this.#options = options;
    this.#follower = new Follower(options, {
      resync: (signal) => this.#resync(signal),
      react: (commits, signal) => this.#react(commits, signal),
    });
  }

  start(): void {
    this.#follower.start();
  }

  async stop(): Promise<void> {
    await this.#follower.stop();
    this.#timer?.cancel();
    this.#timer = null;
  }

  async #resync(signal: AbortSignal): Promise<void> {
    this.#done.clear();
    this.#seats.clear();
    this.#options.store.view((view) => {
      for (const task of view.list('task')) {
        this.#note(view, task);
        this.#seats.set(seatKey(task), task);
      }
    });
    this.#historyDue = true;
    await this.#reap(signal);
  }

  async #react(commits: readonly Commit[], signal: AbortSignal): Promise<void> {
    this.#options.store.view((view) => {
      for (const { changes } of commits) {
        for (const change of changes) this.#observe(view, change);
      }
    });
    await this.#reap(signal);
  }

  #observe(view: ReadView, change: StoreChange): void {
    if (change.kind === 'node' && change.action === 'remove') {
      for (const task of view.tasksByNode(change.object.id)) this.#note(view, task);
    }
    if (change.kind === 'service' && change.action === 'update') {
      // What its update spared is like any other history now.
      if (isUnderWay(change.previous) && !isUnderWay(change.object)) {
        for (const task of view.tasksByService(change.object.id)) {
          this.#seats.set(seatKey(task), task);
        }
      }
    }
    if (change.kind !== 'task' || change.action === 'remove') return;
    const task = change.object;
    this.#note(view, task);
    // A task's birth may make another one surplus; so may the end, or the start, of one that was
    // spared before.
    const counts =
      change.action === 'create' ||
      (isTerminal(task.status.state) && !isTerminal(change.previous.status.state)) ||
      (task.desiredState !== 'ready' && change.previous.desiredState === 'ready') ||
      (hasNoRoom(change.previous) && !hasNoRoom(task));
    if (counts) this.#seats.set(seatKey(task), task);
  }

  #note(view: ReadView, task: Task): void {
    const nodeExists = task.nodeId === null || view.get('node', task.nodeId) !== undefined;
    if (isDoneForGood(task, nodeExists)) this.#done.add(task.id);
  }

  async #reap(signal: AbortSignal): Promise<void> {
    const { store, clock } = this.#options;
    const doomed = [...this.#done];
    this.#done.clear();
    if (this.#historyDue || this.#seats.size > DIRTY_SEATS_MAX) {
      append(
        doomed,
        store.view((view) => this.#surplus(view)),
      );
      this.#seats.clear();
      this.#historyDue = false;
      this.#timer?.cancel();
      this.#timer = null;
    } else if (this.#seats.size > 0) {
      this.#timer ??= clock.setTimer(HISTORY_DELAY_MS, () => {
        this.#timer = null;
        this.#historyDue = true;
        this.#follower.wake();
      });
    }
    await store.batch(
      doomed,
      (tx, taskId) => {
        if (tx.get('task', taskId)) tx.remove('task', taskId);
      },
      signal,
    );
  }

  #surplus(view: ReadView): TaskId[] {
    const cluster = view.list('cluster')[0];
    const clusterLimit = (cluster?.spec ?? DEFAULT_CLUSTER_SPEC).taskHistoryLimit;
    const doomed: TaskId[] = [];
    const counted = new Set<ServiceId>();
    for (const { serviceId, slot } of this.#seats.values()) {
      const service = view.get('service', serviceId);
      // The tasks of a removed service are all told to go.
      const limit = service ? historyLimit(service, clusterLimit) : null;
      if (!service || limit === null || counted.has(serviceId)) continue;
      if (slot === null) counted.add(serviceId);
      const tasks =
        slot === null ? view.tasksByService(serviceId) : view.tasksBySlot(serviceId, slot);
      if (tasks.length <= 1) continue; // nothing can be too much
      const seats = slot === null ? seatsByNode(tasks).values() : seatsBySlot(tasks);
      const iteration = service.jobStatus?.iteration ?? null;
      for (const seat of seats) {
        const kept = updateWitnesses(seat, service);
        for (const task of surplusTasks(seat, limit, iteration)) {
          if (!kept.includes(task)) doomed.push(task.id);
        }
      }
    }
    return doomed;
  }
}

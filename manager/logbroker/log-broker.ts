/**
 * The output of services, wherever their tasks run: asks each task's node for its log and hands the
 * records on as they come. Runs on every manager; reads the store, writes nothing.
 */
import { setMaxListeners } from 'node:events';
import { abortWith } from '../../common/base/abort-with.ts';
import type { Clock } from '../../common/base/clock.ts';
import { describeError, hasCode } from '../../common/base/errors.ts';
import { CancelledError, TaskSet } from '../../common/base/lifecycle.ts';
import type { Logger } from '../../common/base/log.ts';
import { BoundedQueue, type QueueState } from '../../common/base/queue.ts';
import type { ServiceId, TaskId } from '../../common/model/ids.ts';
import type { Task } from '../../common/model/task.ts';
import type { TaskLogQuery, TaskLogRecord } from '../../common/model/task-log.ts';
import { isBefore, isTerminal } from '../../common/model/task-state.ts';
import { readTaskLogs } from '../../common/rpc/node-methods.ts';
import type { RpcClients } from '../../common/rpc/pool.ts';
import type { Commit, ReadView, Store } from '../store/types.ts';

export interface LogBrokerOptions {
  readonly store: Store;
  readonly pool: RpcClients;
  readonly clock: Clock;
  readonly log: Logger;
}

export type LogSelector =
  | { readonly kind: 'service'; readonly serviceId: ServiceId }
  | { readonly kind: 'task'; readonly taskId: TaskId };

export type LogEvent =
  | { readonly kind: 'record'; readonly task: Task; readonly record: TaskLogRecord }
  /** a task whose output could not be read (to its end), and why */
  | { readonly kind: 'incomplete'; readonly task: Task; readonly why: string };

/** Records waiting for a slow reader; then the nodes are read no further. */
const QUEUE_MAX = 1_000;
const FULL_WAIT_MS = 20;
/** A task that ran out of luck with its node is asked again, while following. */
const RETRY_MS = 500;

export class LogBroker {
  readonly #options: LogBrokerOptions;
  /** of those who read now */
  readonly #queues = new Set<BoundedQueue<LogEvent>>();

  constructor(options: LogBrokerOptions) {
    this.#options = options;
  }

  queues(): QueueState[] {
    return Array.from(this.#queues, ({ size }) => ({
      ...{ name: 'log records for a reader', length: size, limit: QUEUE_MAX },
    }));
  }

  /** Ends when every task's log ended; with `follow` when `signal` aborts. */
  async *read(
    selector: LogSelector,
    query: TaskLogQuery,
    signal: AbortSignal,
  ): AsyncGenerator<LogEvent> {
    const queue = new BoundedQueue<LogEvent>(QUEUE_MAX);
    this.#queues.add(queue);
    let failure: unknown = null;
    const readers = new TaskSet((err) => {
      failure = err;
      queue.close();
    });
    const stop = abortWith(signal); // which may belong to a connection of many requests
    setMaxListeners(0, stop.signal); // one reader per task listens
    const seen = new Set<TaskId>();
    let reading = 0;
    const begin = (task: Task): void => {
      if (seen.has(task.id) || !mayHaveOutput(task)) return;
      seen.add(task.id);
      reading++;
      readers.run(async () => {
        try {
          await this.#readTask(task, query, queue, stop.signal);
        } finally {
          reading--;
        }
      });
    };
    const areRead = (): boolean => reading === 0;
    readers.run(() => this.#drive(selector, query.follow, begin, areRead, queue, stop.signal));
    try {
      for (;;) {
        const events = await queue.takeAll(signal);
        if (events === null) break;
        yield* events;
      }
      if (failure !== null) throw failure;
    } finally {
      this.#queues.delete(queue);
      stop.abort(new CancelledError());
      await readers.stop();
      stop.release();
    }
  }

  /** Starts a reader per task; without `follow` closes the queue when all have ended. */
  async #drive(
    selector: LogSelector,
    follow: boolean,
    begin: (task: Task) => void,
    areRead: () => boolean,
    queue: BoundedQueue<LogEvent>,
    signal: AbortSignal,
  ): Promise<void> {
    const { store, clock } = this.#options;
    const look = (): void => {
      for (const task of store.view((view) => tasksOf(view, selector))) begin(task);
    };
    if (!follow) {
      look();
      while (!areRead()) await clock.sleep(FULL_WAIT_MS, signal);
      queue.close();
      return;
    }
    while (!signal.aborted) await this.#followTasks(selector, look, signal);
  }

  /** Until the feed is cut off: a reader that was too slow starts over. */
  async #followTasks(selector: LogSelector, look: () => void, signal: AbortSignal): Promise<void> {
    const watch = this.#options.store.watch();
    try {
      look();
      for (;;) {
        const commits = await watch.next(signal);
        if (commits?.some((commit) => concerns(commit, selector))) look();
      }
    } catch (err) {
      if (!hasCode(err, 'resource-exhausted')) throw err;
    } finally {
      watch.close();
    }
  }

  async #readTask(
    task: Task,
    query: TaskLogQuery,
    queue: BoundedQueue<LogEvent>,
    signal: AbortSignal,
  ): Promise<void> {
    const { store, pool, clock, log } = this.#options;
    let sinceNanos = query.sinceNanos;
    let { tail } = query;
    for (;;) {
      const node =
        task.nodeId === null ? undefined : store.view((v) => v.get('node', task.nodeId!));
      const address = node?.description?.address;
      try {
        const exists = store.view((view) => view.get('task', task.id) !== undefined);
        if (!node || !address || !exists) {
          const why = exists ? 'its node is gone' : 'it was removed';
          await push(queue, { kind: 'incomplete', task, why }, clock, signal);
          return;
        }
        const stream = await pool
          .client(address, { nodeId: node.id })
          .serverStream(readTaskLogs, { ...query, tail, sinceNanos, taskId: task.id }, { signal });
        for (let record = await stream.next(signal); record; record = await stream.next(signal)) {
          sinceNanos = record.timeNanos + 1n;
          tail = 'all';
          await push(queue, { kind: 'record', task, record }, clock, signal);
        }
        return;
      } catch (err) {
        if (signal.aborted) return;
        log.debug({ taskId: task.id, nodeId: task.nodeId, err }, 'task log not readable');
        if (!query.follow || hasCode(err, 'not-found', 'permission-denied')) {
          const why = describeError(err);
          await push(queue, { kind: 'incomplete', task, why }, clock, signal);
          return;
        }
        await clock.sleep(RETRY_MS, signal);
      }
    }
  }
}

/** Not one that has not started, nor one that was rejected or stopped before its node made a container. */
function mayHaveOutput({ nodeId, status: { state, container } }: Task): boolean {
  if (nodeId === null || isBefore(state, 'running')) return false;
  return container !== null || !isTerminal(state);
}

function concerns(commit: Commit, selector: LogSelector): boolean {
  return commit.changes.some(
    ({ kind, object }) =>
      kind === 'task' &&
      (selector.kind === 'task'
        ? object.id === selector.taskId
        : object.serviceId === selector.serviceId),
  );
}

function tasksOf(view: ReadView, selector: LogSelector): readonly Task[] {
  if (selector.kind === 'service') return view.tasksByService(selector.serviceId);
  const task = view.get('task', selector.taskId);
  return task ? [task] : [];
}

async function push(
  queue: BoundedQueue<LogEvent>,
  event: LogEvent,
  clock: Clock,
  signal: AbortSignal,
): Promise<void> {
  while (!queue.push(event)) {
    if (queue.closed) return;
    await clock.sleep(FULL_WAIT_MS, signal);
  }
}

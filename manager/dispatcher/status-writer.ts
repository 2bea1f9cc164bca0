/**
 * Statuses from agents on their way into the store, written in batches. State only grows: a report
 * below what is stored is dropped. Knows nothing of streams.
 */
import type { Clock, Timer } from '../../common/base/clock.ts';
import { hasCode, SkepError } from '../../common/base/errors.ts';
import { type OnFailure, TaskSet } from '../../common/base/lifecycle.ts';
import type { QueueState } from '../../common/base/queue.ts';
import type { NodeId, TaskId } from '../../common/model/ids.ts';
import type { TaskStatusUpdate } from '../../common/model/session.ts';
import { checkSize } from '../../common/model/spec-size.ts';
import { withShortWords } from '../../common/model/status-words.ts';
import { type TaskStatus, taskWith } from '../../common/model/task.ts';
import { isBefore, isTerminal } from '../../common/model/task-state.ts';
import { MAX_CHANGES_PER_TRANSACTION, type Store, type WriteTx } from '../store/types.ts';
import { standingAddresses } from './reported-addresses.ts';

/** How long statuses wait for others to share their transaction (Swarm: 100 ms). */
const BATCH_DELAY = { minMs: 10, maxMs: 50 };
/**
 * While they come by the thousand a second: each transaction is a round of Raft, whose cost to every manager hardly depends
 * on what is in it. So the next one waits for as many as the last one had.
 */
const DELAY_PER_STATUS_MS = 0.5;
/** More waiting statuses than this and new ones are refused: the agent sends them again. */
const WAITING_MAX = 20_000;
/** As many reports of the same tasks, which wait for the same writes. */
const REPORTS_MAX = 20_000;

interface Waiting {
  readonly nodeId: NodeId;
  readonly taskId: TaskId;
  readonly status: TaskStatus;
}

export class StatusWriter {
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #background: TaskSet;
  /** by node and task: what one node says of another's task must not displace the owner's words */
  #waiting = new Map<string, Waiting>();
  #listeners: ((failure: unknown) => void)[] = [];
  #timer: Timer | null = null;
  #delayMs = BATCH_DELAY.minMs;
  /** the timer is for now: there are enough for a transaction */
  #isDue = false;
  #writing = false;
  #stopped = false;

  constructor(store: Store, clock: Clock, onFailure: OnFailure) {
    this.#store = store;
    this.#clock = clock;
    this.#background = new TaskSet(onFailure);
  }

  /** Idempotent. Writes that wait are refused. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#timer?.cancel();
    await this.#background.stop();
    this.#settle(stopping());
  }

  queues(): QueueState[] {
    return [
      { name: 'statuses to be stored', length: this.#waiting.size, limit: WAITING_MAX },
      { name: 'reports to be answered', length: this.#listeners.length, limit: REPORTS_MAX },
    ];
  }

  /** Resolves when the statuses are committed. Rejects with `resource-exhausted`, `invalid-argument` (`bounded`) or the store's error. */
  write(nodeId: NodeId, updates: readonly TaskStatusUpdate[]): Promise<void> {
    if (this.#stopped) return Promise.reject(stopping());
    if (this.#waiting.size + updates.length > WAITING_MAX) {
      return Promise.reject(
        new SkepError('resource-exhausted', `store task statuses: ${WAITING_MAX} are waiting`),
      );
    }
    if (this.#listeners.length >= REPORTS_MAX) {
      return Promise.reject(
        new SkepError('resource-exhausted', `store task statuses: ${REPORTS_MAX} reports wait`),
      );
    }
    let told: readonly TaskStatusUpdate[];
    try {
      told = updates.map(bounded);
    } catch (err) {
      return Promise.reject(err);
    }
    for (const { taskId, status } of told) {
      const key = `${nodeId}/${taskId}`;
      const known = this.#waiting.get(key);
      if (!known || !isBefore(status.state, known.status.state)) {
        this.#waiting.set(key, { nodeId, taskId, status });
      }
    }
    return new Promise((resolve, reject) => {
      this.#listeners.push((failure) => (failure === null ? resolve() : reject(failure)));
      this.#schedule();
    });
  }

  #schedule(): void {
    if (this.#writing || this.#stopped) return;
    const isFull = this.#waiting.size >= MAX_CHANGES_PER_TRANSACTION;
    if (this.#timer && (!isFull || this.#isDue)) return;
    this.#timer?.cancel();
    this.#isDue = isFull;
    this.#timer = this.#clock.setTimer(isFull ? 0 : this.#delayMs, () => {
      this.#timer = null;
      this.#background.run((signal) => this.#flush(signal));
    });
  }

  async #flush(signal: AbortSignal): Promise<void> {
    const batch = [...this.#waiting.values()];
    const listeners = this.#listeners;
    this.#waiting = new Map();
    this.#listeners = [];
    const { minMs, maxMs } = BATCH_DELAY;
    this.#delayMs = Math.min(maxMs, Math.max(minMs, batch.length * DELAY_PER_STATUS_MS));
    this.#writing = true;
    let failure: unknown = null;
    try {
      const nowMs = this.#clock.wallMs();
      await this.#store.batch(batch, (tx, waiting) => applyStatus(tx, waiting, nowMs), signal);
    } catch (err) {
      failure = err;
      if (!isTransient(err) && !signal.aborted) throw err;
    } finally {
      this.#writing = false;
      for (const listener of listeners) listener(failure);
      if (this.#listeners.length > 0) this.#schedule();
    }
  }

  #settle(failure: unknown): void {
    const listeners = this.#listeners;
    this.#listeners = [];
    for (const listener of listeners) listener(failure);
  }
}

/**
 * Within what a transaction can have: an error that quotes a whole file is cut. Throws `invalid-argument` for one that is too
 * large in what cannot be cut, which no agent of ours sends.
 */
function bounded({ taskId, status }: TaskStatusUpdate): TaskStatusUpdate {
  const told = withShortWords(status);
  checkSize(`status of task ${taskId}`, told);
  return { taskId, status: told };
}

/** A write that may succeed later or elsewhere; anything else is our own fault. */
export function isTransient(err: unknown): boolean {
  return hasCode(
    err,
    'not-leader',
    'no-leader',
    'unavailable',
    'version-conflict',
    'deadline-exceeded',
  );
}

function stopping(): SkepError {
  return new SkepError('unavailable', 'store task statuses: the dispatcher stops');
}

/**
 * A report of a deleted task, or of another node's task, or of the past, changes nothing. Nor does another
 * end than the one that is stored: after a loss of power an agent may have forgotten how its task ended. Of addresses
 * only those are stored that the node may give.
 */
function applyStatus(tx: WriteTx, waiting: Waiting, nowMs: number): void {
  const task = tx.get('task', waiting.taskId);
  if (!task || task.nodeId !== waiting.nodeId) return;
  const { state } = task.status;
  if (isBefore(waiting.status.state, state)) return;
  if (isTerminal(state) && waiting.status.state !== state) return;
  const localAddresses = standingAddresses(tx, task, waiting.status.localAddresses);
  const status = { ...waiting.status, localAddresses, appliedAtMs: nowMs };
  if (sameStatus(task.status, status)) return;
  tx.update('task', taskWith(task, { status }));
}

function sameStatus(a: TaskStatus, b: TaskStatus): boolean {
  if (a.state !== b.state) return false; // most of the time
  return JSON.stringify({ ...a, appliedAtMs: 0 }) === JSON.stringify({ ...b, appliedAtMs: 0 });
}

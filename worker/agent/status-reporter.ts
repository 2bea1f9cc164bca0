/**
 * Statuses on their way to the manager: the newest of each task, sent in each session until stored. Bounded by
 * the number of tasks. Knows nothing of streams.
 */
import type { QueueState } from '../../common/base/queue.ts';
import type { TaskId } from '../../common/model/ids.ts';
import type { TaskStatusUpdate } from '../../common/model/session.ts';
import { withShortWords } from '../../common/model/status-words.ts';
import type { TaskStatus } from '../../common/model/task.ts';

/** Most statuses in one message. */
const BATCH_MAX = 200;
/** Of words, from which on no further status goes into a message: one takes 4 MiB. */
const BATCH_CHARS_MAX = 512 * 1024;
/** Of batches that a manager has not acknowledged; then no more go, and of each task the newest status waits. */
const IN_FLIGHT_MAX = 256;

/** Goes in one message. */
export interface StatusBatch {
  readonly sequence: number;
  readonly updates: readonly TaskStatusUpdate[];
}

export class StatusReporter {
  readonly #unstored = new Map<TaskId, TaskStatus>();
  /** what this session was given of each task of `#unstored` */
  readonly #sent = new Map<TaskId, TaskStatus>();
  readonly #inFlight = new Map<number, readonly TaskStatusUpdate[]>();
  #sequence = 0;
  #onWork: (() => void) | null = null;

  queues(): QueueState[] {
    return [{ name: 'reports in flight', length: this.#inFlight.size, limit: IN_FLIGHT_MAX }];
  }

  /** `listener` is called when there is something to send; one at a time, null to stop. */
  setListener(listener: (() => void) | null): void {
    this.#onWork = listener;
    if (listener && this.#unstored.size > 0) listener();
  }

  report(taskId: TaskId, status: TaskStatus): void {
    this.#unstored.set(taskId, withShortWords(status));
    this.#onWork?.();
  }

  /** The task is gone: nobody asks any more. */
  forget(taskId: TaskId): void {
    this.#unstored.delete(taskId);
    this.#sent.delete(taskId);
  }

  /** A new session: what was in flight on the old one is unknown, so everything unstored goes again. */
  reset(): void {
    this.#inFlight.clear();
    this.#sent.clear();
  }

  /** What is unstored and not in flight, unless much is. */
  takeAll(): StatusBatch[] {
    const batches: StatusBatch[] = [];
    for (let batch = this.take(); batch; batch = this.take()) batches.push(batch);
    return batches;
  }

  /** The next batch, or null when all that is unstored is in flight, or much is. */
  take(): StatusBatch | null {
    if (this.#inFlight.size >= IN_FLIGHT_MAX) return null;
    const updates: TaskStatusUpdate[] = [];
    let chars = 0;
    for (const [taskId, status] of this.#unstored) {
      if (this.#sent.get(taskId) === status) continue;
      this.#sent.set(taskId, status);
      updates.push({ taskId, status });
      chars += status.message.length + status.err.length;
      if (updates.length === BATCH_MAX || chars >= BATCH_CHARS_MAX) break;
    }
    if (updates.length === 0) return null;
    const sequence = ++this.#sequence;
    this.#inFlight.set(sequence, updates);
    return { sequence, updates };
  }

  /** The manager stored the batches of this session up to `sequence`. */
  stored(sequence: number): void {
    const wasFull = this.#inFlight.size >= IN_FLIGHT_MAX;
    for (const [stored, updates] of this.#inFlight) {
      if (stored > sequence) break; // they are in their order
      for (const { taskId, status } of updates) {
        if (this.#unstored.get(taskId) === status) this.forget(taskId);
      }
      this.#inFlight.delete(stored);
    }
    if (wasFull) this.#onWork?.();
  }
}

/**
 * Which tasks of this node get no new connections any more: managers say so when every node has
 * confirmed it. A task is told to stop only then, or when that takes too long. Knows no containers.
 */
import { abortWith, type LinkedAbort } from '../../common/base/abort-with.ts';
import type { Clock } from '../../common/base/clock.ts';
import type { TaskId } from '../../common/model/ids.ts';
import { DRAIN_LIMIT_MS } from '../../common/model/session.ts';

/** Without a manager nobody will say so: this is what nodes need to hear of it and act, with room. */
const ALONE_MS = 400;
/** Words that came before anybody waited for them; of more the oldest are forgotten. */
const KEPT_MAX = 10_000;

export class EndpointDrains {
  readonly #clock: Clock;
  readonly #drained = new Set<TaskId>();
  readonly #waiting = new Map<TaskId, LinkedAbort>();
  #inSession = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  sessionBegan(): void {
    this.#inSession = true;
  }

  /** What the next session says is all that counts. */
  sessionEnded(): void {
    this.#inSession = false;
    this.#drained.clear();
  }

  /** The managers' word on tasks of this node. */
  drained(taskIds: readonly TaskId[]): void {
    for (const taskId of taskIds) {
      const waiting = this.#waiting.get(taskId);
      if (waiting) waiting.abort(DRAINED);
      else this.#drained.add(taskId);
    }
    for (const taskId of this.#drained) {
      if (this.#drained.size <= KEPT_MAX) return;
      this.#drained.delete(taskId);
    }
  }

  /** The task is gone. */
  forget(taskId: TaskId): void {
    this.#drained.delete(taskId);
  }

  /** Resolves at the managers' word, at the latest after DRAIN_LIMIT_MS. One waits for a task. */
  async whenDrained(taskId: TaskId, signal: AbortSignal): Promise<void> {
    if (this.#drained.delete(taskId)) return;
    const word = abortWith(signal);
    this.#waiting.set(taskId, word);
    try {
      await this.#clock.sleep(this.#inSession ? DRAIN_LIMIT_MS : ALONE_MS, word.signal);
    } catch (reason) {
      if (reason !== DRAINED) throw reason;
    } finally {
      word.release();
      if (this.#waiting.get(taskId) === word) this.#waiting.delete(taskId);
    }
  }
}

const DRAINED = new Error('drained');

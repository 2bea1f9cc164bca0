/** A wait that can be cut short: for loops that look from time to time, and at once when they are told to. */
import { abortWith, type LinkedAbort } from './abort-with.ts';
import type { Clock } from './clock.ts';

/** Of one loop: it waits once at a time. */
export class Nudge {
  #isGiven = false;
  #waiting: LinkedAbort | null = null;

  /** The wait under way ends, or else the next one at once; however often it is given, one. */
  give(): void {
    this.#isGiven = true;
    this.#waiting?.abort();
  }

  /** Resolves after so long, or when nudged. Rejects with the signal's reason. */
  async wait(clock: Pick<Clock, 'sleep'>, limitMs: number, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    if (!this.#isGiven) {
      const waiting = abortWith(signal);
      this.#waiting = waiting;
      try {
        await clock.sleep(limitMs, waiting.signal);
      } catch {
        signal.throwIfAborted();
      } finally {
        this.#waiting = null;
        waiting.release();
      }
    }
    this.#isGiven = false;
  }
}

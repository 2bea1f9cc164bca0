/** A clock on which sleeping takes no time but moves it. For code that waits by `sleep` alone. */
import type { Clock, Timer } from '../../common/base/clock.ts';

export class InstantClock implements Clock {
  #nowMs: number;
  readonly #startMs: number;

  constructor(startMs = Date.UTC(2026, 0, 15, 12)) {
    this.#nowMs = startMs;
    this.#startMs = startMs;
  }

  advance(byMs: number): void {
    this.#nowMs += byMs;
  }

  monotonicMs(): number {
    return this.#nowMs - this.#startMs;
  }

  wallMs(): number {
    return this.#nowMs;
  }

  setTimer(): Timer {
    throw new Error('InstantClock has no timers');
  }

  setPeriodic(): Timer {
    throw new Error('InstantClock has no timers');
  }

  async sleep(delayMs: number, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    this.#nowMs += delayMs;
    await Promise.resolve();
    signal?.throwIfAborted();
  }
}

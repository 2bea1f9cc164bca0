/** Virtual time for unit tests: stands still until it is advanced. */
import { type Clock, sleepOn, type Timer } from '../../common/base/clock.ts';

interface Waiting {
  dueMs: number;
  readonly order: number;
  readonly callback: () => void;
  /** null = once */
  readonly periodMs: number | null;
}

/**
 * INVARIANTS
 * - Timers fire only inside `advance`, by due time, those of equal time in the order they were set.
 * - While one fires, `monotonicMs` is its due time.
 */
export class FakeClock implements Clock {
  #nowMs = 0;
  #order = 0;
  readonly #wallOriginMs: number;
  readonly #waiting = new Set<Waiting>();

  /** @param wallOriginMs what the wall clock shows at the start */
  constructor(wallOriginMs = Date.UTC(2026, 0, 1)) {
    this.#wallOriginMs = wallOriginMs;
  }

  monotonicMs(): number {
    return this.#nowMs;
  }

  wallMs(): number {
    return this.#wallOriginMs + this.#nowMs;
  }

  setTimer(delayMs: number, callback: () => void): Timer {
    return this.#add(delayMs, callback, null);
  }

  setPeriodic(periodMs: number, callback: () => void): Timer {
    return this.#add(periodMs, callback, periodMs);
  }

  sleep(delayMs: number, signal?: AbortSignal): Promise<void> {
    return sleepOn(this, delayMs, signal);
  }

  /** Timers that are set. */
  get pending(): number {
    return this.#waiting.size;
  }

  /** Moves time on, firing what falls due; promises settle between two timers and at the end. */
  async advance(byMs: number): Promise<void> {
    const untilMs = this.#nowMs + byMs;
    await settle();
    for (let timer = this.#nextDue(untilMs); timer; timer = this.#nextDue(untilMs)) {
      this.#nowMs = Math.max(this.#nowMs, timer.dueMs);
      if (timer.periodMs === null) this.#waiting.delete(timer);
      else timer.dueMs += Math.max(timer.periodMs, 1);
      timer.callback();
      await settle();
    }
    this.#nowMs = untilMs;
  }

  #add(delayMs: number, callback: () => void, periodMs: number | null): Timer {
    const dueMs = this.#nowMs + Math.max(delayMs, 0);
    const waiting: Waiting = { dueMs, order: this.#order++, callback, periodMs };
    this.#waiting.add(waiting);
    return { cancel: () => void this.#waiting.delete(waiting) };
  }

  #nextDue(untilMs: number): Waiting | null {
    let next: Waiting | null = null;
    for (const timer of this.#waiting) {
      if (timer.dueMs > untilMs) continue;
      if (!next || timer.dueMs < next.dueMs) next = timer;
      else if (timer.dueMs === next.dueMs && timer.order < next.order) next = timer;
    }
    return next;
  }
}

/** Lets everything run that waits for nothing but promises. */
export function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** Long work in short turns of the event loop, so that nobody else waits long for theirs. */
import type { Clock } from './clock.ts';

/**
 * A turn of work, ms. Short, since it ends only at the owner's next step, several owners may have theirs in
 * one turn of the loop, and a collection of garbage of some ms may fall into it: together below 10.
 */
const TURN_MS = 2;

/** One owner's work: `begin`, then `if (budget.spent) await budget.renew()` between its steps. */
export class TurnBudget {
  readonly #clock: Pick<Clock, 'monotonicMs'>;
  readonly #signal: AbortSignal | undefined;
  #endMs = 0;

  /** @param signal ends the work when it would have its next turn */
  constructor(clock: Pick<Clock, 'monotonicMs'>, signal?: AbortSignal) {
    this.#clock = clock;
    this.#signal = signal;
  }

  /** The work starts now, in a fresh turn as far as its owner knows. */
  begin(): void {
    this.#endMs = this.#clock.monotonicMs() + TURN_MS;
  }

  get spent(): boolean {
    return this.#clock.monotonicMs() >= this.#endMs;
  }

  /**
   * Goes on after everything else that is ready had its turn. Keeps the process alive, as the clock's sleep does not:
   * at start nothing else does. Rejects with the signal's reason.
   */
  async renew(): Promise<void> {
    await new Promise<void>((resolve) => setImmediate(resolve));
    this.#signal?.throwIfAborted();
    this.begin();
  }
}

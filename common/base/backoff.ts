/** Delays between attempts. */
import { assert } from './assert.ts';
import type { Random } from './random.ts';

export interface BackoffOptions {
  /** Upper bound of the first delay, ms, > 0. */
  readonly baseMs: number;
  /** Upper bound of every delay, ms, >= baseMs. */
  readonly maxMs: number;
}

/**
 * Exponential back-off with full jitter: the n-th delay is uniform in [0, min(maxMs, baseMs * 2^n)).
 * (M. Brooker, "Exponential Backoff And Jitter", AWS 2015: full jitter clears contention soonest.)
 */
export class Backoff {
  readonly #options: BackoffOptions;
  readonly #random: Random;
  #attempt = 0;

  constructor(options: BackoffOptions, random: Random) {
    assert(options.baseMs > 0 && options.maxMs >= options.baseMs, 'backoff: 0 < baseMs <= maxMs');
    this.#options = options;
    this.#random = random;
  }

  nextDelayMs(): number {
    const bound = Math.min(this.#options.maxMs, this.#options.baseMs * 2 ** this.#attempt);
    if (bound < this.#options.maxMs) this.#attempt++;
    return this.#random.unit() * bound;
  }

  /** After a success. */
  reset(): void {
    this.#attempt = 0;
  }
}

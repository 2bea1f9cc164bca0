/**
 * Where a small flush is made: on the thread pool, or at once on the thread that asks. Pure; knows no files.
 *
 * On a quick disk a flush takes 0.1 ms, and the way to the pool and back 0.15: two wakings of threads and a turn
 * of the event loop, on the leader and on the follower of each commit. On a slow disk nothing but the pool
 * will do, since the event loop must not stand still (docs/decisions/0054).
 */

/** Longer flushes are of many proposals: they gain more from what the loop does meanwhile. */
const BYTES_MAX = 4096;
/** The loop may stand still for so long per flush, ms, on the average of the last ones. */
const QUICK_MS = 0.5;
/** Each flush counts for this part of the average: one of 10 ms sends about a dozen to the pool, one of 1 s eighty. */
const WEIGHT = 1 / 16;

export class FlushPlace {
  /** Moving average, ms. Until a disk has shown otherwise it is slow. */
  #averageMs = 10;

  /** The flush of so many bytes may be made at once. */
  isAtOnce(bytes: number): boolean {
    return bytes <= BYTES_MAX && this.#averageMs <= QUICK_MS;
  }

  /** A flush took this long, wherever it was made. */
  took(ms: number): void {
    this.#averageMs += (ms - this.#averageMs) * WEIGHT;
  }
}

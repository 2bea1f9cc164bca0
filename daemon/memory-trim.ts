/**
 * Gives back what a daemon no longer needs once it rests: V8 collects when it allocates, so that one with
 * nothing to do keeps what its start took, some 25 MB. Knows nothing of what the daemon does.
 */
import type { Clock, Timer } from '../common/base/clock.ts';

const LOOK_MS = 1_000;
/** So many in a row at rest: now. */
const RESTED_LOOKS = 3;
/** Busier than this share of the time: not now. */
const REST_UTILIZATION = 0.05;
/** A collection stops everything for a millisecond per 1.5 MB: not where that would be felt. */
const HEAP_BYTES_MAX = 64 << 20;
/** After a collection the heap has to grow by so much before the next is worth it. */
const GROWN_BYTES_MIN = 8 << 20;
/** The space of young objects is given back by a collection that finds it empty: the one after. */
const COLLECTIONS = 4;

export interface MemoryTrimParts {
  readonly clock: Clock;
  /** share of the time since the last call in which this process was at work, 0 to 1 */
  readonly utilization: () => number;
  /** bytes that V8 holds, used or not */
  readonly heapBytes: () => number;
  /** null: this process was started without a way to collect */
  readonly collect: (() => void) | null;
  /** of the C library, to the kernel */
  readonly releaseFreed: () => void;
}

/** Lifecycle: constructed, `start`, `stop`. */
export class MemoryTrim {
  readonly #parts: MemoryTrimParts;
  #timer: Timer | null = null;
  /** collections that are still due; 0: nothing to do until the heap has grown */
  #due = COLLECTIONS;
  /** looks in a row that found it at rest */
  #rested = 0;
  /** of the heap after the last collection */
  #leftBytes = 0;

  constructor(parts: MemoryTrimParts) {
    this.#parts = parts;
  }

  start(): void {
    if (this.#parts.collect === null) return;
    this.#timer = this.#parts.clock.setPeriodic(LOOK_MS, () => this.#look());
  }

  /** Idempotent. */
  stop(): void {
    this.#timer?.cancel();
    this.#timer = null;
  }

  #look(): void {
    const { utilization, heapBytes, collect, releaseFreed } = this.#parts;
    this.#rested = utilization() < REST_UTILIZATION ? this.#rested + 1 : 0;
    if (this.#due === 0 && heapBytes() > this.#leftBytes + GROWN_BYTES_MIN) this.#due = COLLECTIONS;
    if (this.#rested < RESTED_LOOKS || this.#due === 0 || heapBytes() > HEAP_BYTES_MAX) return;
    collect?.();
    releaseFreed();
    this.#due--;
    this.#leftBytes = heapBytes();
  }
}

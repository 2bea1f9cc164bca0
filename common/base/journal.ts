/**
 * The newest entries of something that goes on, for readers that come and go. Nothing is kept for a
 * reader: one that falls behind the oldest entry kept is cut off.
 */
import { assert } from './assert.ts';
import { SkepError } from './errors.ts';

export class Journal<T> {
  readonly #limit: number;
  /** INVARIANT: the entry at place i has the number #first + i. */
  #entries: T[] = [];
  #first = 0;
  readonly #sleepers = new Set<() => void>();

  /** @param limit entries kept, >= 1 */
  constructor(limit: number) {
    assert(Number.isInteger(limit) && limit >= 1, `journal limit ${limit} must be >= 1`);
    this.#limit = limit;
  }

  append(entry: T): void {
    this.#entries.push(entry);
    // Swept in halves, so that an append costs the same whatever the limit.
    if (this.#entries.length >= 2 * this.#limit) {
      this.#entries = this.#entries.slice(this.#limit);
      this.#first += this.#limit;
    }
    const sleepers = [...this.#sleepers];
    this.#sleepers.clear();
    for (const wake of sleepers) wake();
  }

  /** What is kept, oldest first. */
  kept(): readonly T[] {
    return this.#entries.slice(-this.#limit);
  }

  /** Of what is appended from now on. One `next` at a time. */
  reader(): JournalReader<T> {
    let at = this.#first + this.#entries.length;
    return {
      next: async (signal) => {
        for (;;) {
          signal.throwIfAborted();
          const end = this.#first + this.#entries.length;
          if (at < end - this.#limit) {
            const words = `read events: ${end - at} came unread, ${this.#limit} are kept`;
            throw new SkepError('resource-exhausted', words);
          }
          if (at < end) {
            const news = this.#entries.slice(at - this.#first);
            at = end;
            return news;
          }
          await this.#appended(signal);
        }
      },
    };
  }

  #appended(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const wake = (): void => {
        this.#sleepers.delete(wake);
        signal.removeEventListener('abort', wake);
        resolve();
      };
      this.#sleepers.add(wake);
      signal.addEventListener('abort', wake, { once: true });
    });
  }
}

export interface JournalReader<T> {
  /**
   * The entries that came since the last call, at least one. Rejects with `resource-exhausted` when some
   * of them are no longer kept, with `signal.reason` on abort.
   */
  next(signal: AbortSignal): Promise<readonly T[]>;
}

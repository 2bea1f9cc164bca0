/** Bounded hand-over between a producer and one consumer. */
import { assert } from './assert.ts';

/** How full something is that may not grow without limit. */
export interface QueueState {
  readonly name: string;
  readonly length: number;
  /** never less than `length` */
  readonly limit: number;
}

/**
 * An async queue with a limit. `push` returns false when full: the caller states what happens then
 * (drop, cut the consumer off, refuse). One consumer at a time.
 */
export class BoundedQueue<T> {
  readonly #limit: number;
  #items: T[] = [];
  #wake: (() => void) | null = null;
  #closed = false;

  /** @param limit most items held, >= 1 */
  constructor(limit: number) {
    assert(Number.isInteger(limit) && limit >= 1, `queue limit ${limit} must be >= 1`);
    this.#limit = limit;
  }

  get size(): number {
    return this.#items.length;
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** False when the queue is full or closed; the item was not taken. */
  push(item: T): boolean {
    if (this.#closed || this.#items.length >= this.#limit) return false;
    this.#items.push(item);
    this.#signal();
    return true;
  }

  /** No more pushes; the consumer gets what is queued and then the end. */
  close(): void {
    this.#closed = true;
    this.#signal();
  }

  /** Everything queued, at least one item; null at the end. Rejects with `signal.reason` on abort. */
  async takeAll(signal?: AbortSignal): Promise<T[] | null> {
    while (this.#items.length === 0) {
      if (this.#closed) return null;
      await this.#wait(signal);
    }
    const items = this.#items;
    this.#items = [];
    return items;
  }

  #signal(): void {
    const wake = this.#wake;
    this.#wake = null;
    wake?.();
  }

  #wait(signal?: AbortSignal): Promise<void> {
    assert(this.#wake === null, 'queue has one consumer at a time');
    return new Promise((resolve, reject) => {
      if (signal?.aborted) {
        reject(signal.reason);
        return;
      }
      const onAbort = (): void => {
        this.#wake = null;
        reject(signal?.reason);
      };
      signal?.addEventListener('abort', onAbort, { once: true });
      this.#wake = () => {
        signal?.removeEventListener('abort', onAbort);
        resolve();
      };
    });
  }
}

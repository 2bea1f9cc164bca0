/** Downloads and unpackings that several pulls want, done once: one goes on while anybody waits for it, and is aborted with the last. */
import { abortable } from '../../common/base/abort-with.ts';
import { CancelledError } from '../../common/base/lifecycle.ts';

interface Work {
  readonly done: Promise<void>;
  readonly abort: AbortController;
  waiting: number;
}

/** INVARIANT: what is in `#running` has neither ended nor been aborted: nobody joins what fails already. */
export class SharedWork {
  readonly #running = new Map<string, Work>();
  /** those given up included, until they have cleaned up */
  readonly #all = new Set<Promise<void>>();

  /**
   * Does what is not done yet, once for all who want it meanwhile; whoever waited for one that failed
   * tries it itself. `begin` gets a signal of its own. Rejects with its failure, or at once with `signal.reason`.
   * False = it was done.
   */
  async ensure(
    key: string,
    isDone: () => boolean,
    signal: AbortSignal,
    begin: (signal: AbortSignal) => Promise<void>,
  ): Promise<boolean> {
    for (;;) {
      signal.throwIfAborted();
      if (isDone()) return false;
      const other = this.#running.get(key);
      if (other) {
        await this.#wait(key, other, signal).catch(() => {});
      } else {
        await this.#wait(key, this.#start(key, begin), signal);
        return true;
      }
    }
  }

  /** Resolves when none runs. Whoever waited was told before. */
  async ended(): Promise<void> {
    await Promise.allSettled(this.#all);
  }

  /** As one of those for whom it goes on. */
  async #wait(key: string, work: Work, signal: AbortSignal): Promise<void> {
    work.waiting++;
    try {
      await abortable(work.done, signal);
    } finally {
      work.waiting--;
      if (work.waiting === 0) this.#giveUp(key, work);
    }
  }

  #start(key: string, begin: (signal: AbortSignal) => Promise<void>): Work {
    const abort = new AbortController();
    const done = begin(abort.signal).finally(() => {
      this.#all.delete(done);
      this.#remove(key, work);
    });
    const work = { done, abort, waiting: 0 };
    this.#all.add(done);
    this.#running.set(key, work);
    return work;
  }

  /** Nobody waits: it has ended, or all went away. */
  #giveUp(key: string, work: Work): void {
    this.#remove(key, work);
    work.abort.abort(new CancelledError());
  }

  #remove(key: string, work: Work): void {
    if (this.#running.get(key) === work) this.#running.delete(key);
  }
}

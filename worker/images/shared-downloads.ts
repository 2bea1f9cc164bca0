/** Downloads that several pulls want, done once: one goes on while anybody waits for it, and is aborted with the last. */
import { abortable } from '../../common/base/abort-with.ts';
import { CancelledError } from '../../common/base/lifecycle.ts';

interface Download {
  readonly done: Promise<void>;
  readonly abort: AbortController;
  waiting: number;
}

/** INVARIANT: what is in `#running` has neither ended nor been aborted: nobody joins a download that fails already. */
export class SharedDownloads {
  readonly #running = new Map<string, Download>();
  /** those given up included, until they have cleaned up */
  readonly #all = new Set<Promise<void>>();

  /**
   * Fetches what is not here yet, once for all who want it meanwhile; whoever waited for a download that failed
   * tries it itself. `fetch` gets a signal of its own. Rejects with its failure, or at once with `signal.reason`.
   * False = it was here.
   */
  async ensure(
    digest: string,
    isHere: () => boolean,
    signal: AbortSignal,
    fetch: (signal: AbortSignal) => Promise<void>,
  ): Promise<boolean> {
    for (;;) {
      signal.throwIfAborted();
      if (isHere()) return false;
      const other = this.#running.get(digest);
      if (other) {
        await this.#wait(digest, other, signal).catch(() => {});
      } else {
        await this.#wait(digest, this.#start(digest, fetch), signal);
        return true;
      }
    }
  }

  /** Resolves when none runs. Whoever waited was told before. */
  async ended(): Promise<void> {
    await Promise.allSettled(this.#all);
  }

  /** As one of those for whom the download goes on. */
  async #wait(digest: string, download: Download, signal: AbortSignal): Promise<void> {
    download.waiting++;
    try {
      await abortable(download.done, signal);
    } finally {
      download.waiting--;
      if (download.waiting === 0) this.#giveUp(digest, download);
    }
  }

  #start(digest: string, fetch: (signal: AbortSignal) => Promise<void>): Download {
    const abort = new AbortController();
    const done = fetch(abort.signal).finally(() => {
      this.#all.delete(done);
      this.#remove(digest, download);
    });
    const download = { done, abort, waiting: 0 };
    this.#all.add(done);
    this.#running.set(digest, download);
    return download;
  }

  /** Nobody waits: it has ended, or all went away. */
  #giveUp(digest: string, download: Download): void {
    this.#remove(digest, download);
    download.abort.abort(new CancelledError());
  }

  #remove(digest: string, download: Download): void {
    if (this.#running.get(digest) === download) this.#running.delete(digest);
  }
}

/** Waiting for the cluster's objects to change: by its own word, and by looking again where there is none. */
import { abortWith, type LinkedAbort } from '../../common/base/abort-with.ts';
import { SkepError } from '../../common/base/errors.ts';
import { ApiError } from '../client/transport.ts';
import type { CommandContext } from './context.ts';

/** Between two looks at the cluster, however much changes, and where the daemon tells of no changes. */
const GAP_MS = 250;
/** Before it is asked again to tell. */
const REOPEN_MS = 2_000;

type Kind = 'cluster' | 'service' | 'task' | 'node';

export class Changes {
  readonly #context: CommandContext;
  readonly #kinds: readonly Kind[];
  readonly #closed: LinkedAbort;
  #isOpen = false;
  #changed = false;
  /** what no daemon's answer explains */
  #failure: Error | null = null;
  #wake: () => void = () => {};

  constructor(context: CommandContext, kinds: readonly Kind[] = ['service', 'task', 'node']) {
    this.#context = context;
    this.#kinds = kinds;
    this.#closed = abortWith(context.signal);
    void this.#listen(); // it never rejects
  }

  /**
   * Resolves when something has changed since the last call, but not before `GAP_MS`; after `maxMs` at the latest. Rejects
   * for an answer of the daemon that means nothing.
   */
  async next(maxMs = 1_000): Promise<void> {
    const { clock, signal } = this.#context;
    const gapMs = Math.min(GAP_MS, maxMs);
    await clock.sleep(gapMs, signal);
    if (this.#failure) throw this.#failure;
    if (this.#isOpen && !this.#changed && maxMs > gapMs) {
      const over = abortWith(signal);
      const change = new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      const pause = clock.sleep(maxMs - gapMs, over.signal).catch(() => {});
      await Promise.race([change, pause]);
      over.abort();
      over.release();
      signal.throwIfAborted();
    }
    this.#changed = false;
  }

  close(): void {
    this.#closed.abort();
    this.#closed.release();
  }

  async #listen(): Promise<void> {
    const { client, clock } = this.#context;
    const ended = this.#closed.signal;
    for (let wasOpen = true; wasOpen && !ended.aborted; ) {
      wasOpen = false;
      try {
        const opened = (): void => {
          wasOpen = this.#isOpen = true;
          this.#note(); // what changed before
        };
        const options = { signal: ended, onReady: opened };
        for await (const _ of client.watch({ kind: this.#kinds }, options)) this.#note();
      } catch (err) {
        // No such route, or the daemon went: looking again has to do.
        if (!ended.aborted && !isOfDaemon(err)) this.#failure = err as Error;
      }
      this.#isOpen = false;
      this.#note();
      if (wasOpen) await clock.sleep(REOPEN_MS, ended).catch(() => {});
    }
  }

  #note(): void {
    this.#changed = true;
    this.#wake();
  }
}

/** It refused, it cannot be reached, or the connection broke: no fault of ours. */
const isOfDaemon = (err: unknown): boolean =>
  err instanceof ApiError ||
  err instanceof SkepError ||
  (err as NodeJS.ErrnoException).code !== undefined;

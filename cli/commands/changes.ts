/** Waiting for the cluster's objects to change: by its own word, and by looking again where there is none. */
import type { CommandContext } from './context.ts';

/** Between two looks at the cluster, however much changes. */
const GAP_MS = 100;
/** Where the daemon tells of no changes. */
const POLL_MS = 250;
/** Before it is asked again to tell. */
const REOPEN_MS = 2_000;

type Kind = 'service' | 'task' | 'node';

export class Changes {
  readonly #context: CommandContext;
  readonly #kinds: readonly Kind[];
  readonly #closed = new AbortController();
  #isOpen = false;
  #changed = false;
  #wake: () => void = () => {};

  constructor(context: CommandContext, kinds: readonly Kind[] = ['service', 'task', 'node']) {
    this.#context = context;
    this.#kinds = kinds;
    void this.#listen(); // it never rejects
  }

  /** Resolves when something has changed since the last call, and after `maxMs` at the latest. */
  async next(maxMs = 1_000): Promise<void> {
    const { clock, signal } = this.#context;
    if (!this.#isOpen) {
      await clock.sleep(POLL_MS, signal);
      return;
    }
    await clock.sleep(GAP_MS, signal);
    if (!this.#changed) {
      const over = new AbortController();
      const change = new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      const pause = clock.sleep(maxMs, AbortSignal.any([signal, over.signal])).catch(() => {});
      await Promise.race([change, pause]);
      over.abort();
      signal.throwIfAborted();
    }
    this.#changed = false;
  }

  close(): void {
    this.#closed.abort();
  }

  async #listen(): Promise<void> {
    const { client, clock, signal } = this.#context;
    const ended = AbortSignal.any([signal, this.#closed.signal]);
    for (let wasOpen = true; wasOpen && !ended.aborted; ) {
      wasOpen = false;
      try {
        const opened = (): void => {
          wasOpen = this.#isOpen = true;
          this.#note(); // what changed before
        };
        for await (const _ of client.watch({ kind: this.#kinds }, ended, opened)) this.#note();
      } catch {
        // No such route, or the daemon went: looking again has to do.
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

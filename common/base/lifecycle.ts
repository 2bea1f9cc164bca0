/**
 * Owners and what they own. Acquire, register the release on the next line; everything is released
 * in reverse order, exactly once, also after a failure half-way through a start.
 */
import { setMaxListeners } from 'node:events';

/** Something that outlives a call. `stop` is idempotent and resolves when nothing of it runs. */
export interface Service {
  start(): Promise<void>;
  stop(): Promise<void>;
}

/** Told once when a component dies in service; its owner decides what that means. */
export type OnFailure = (err: unknown) => void;

type Release = () => void | Promise<void>;

/** A stack of releases. INVARIANT: each release runs at most once, the last registered first. */
export class Scope {
  #releases: Release[] = [];
  #closing: Promise<void> | null = null;

  get closed(): boolean {
    return this.#closing !== null;
  }

  /** Registers a release. On a closed scope it runs at once (and a failure of it is thrown). */
  defer(release: Release): void {
    if (this.#closing) {
      void Promise.resolve(release()); // the owner is gone; nobody is left to be told of a failure
      return;
    }
    this.#releases.push(release);
  }

  /** Starts `service` and registers its stop. */
  async start<T extends Service>(service: T): Promise<T> {
    this.defer(() => service.stop());
    await service.start();
    return service;
  }

  /** Runs every release, even if some fail; rejects with the first failure. */
  close(): Promise<void> {
    this.#closing ??= this.#run();
    return this.#closing;
  }

  async #run(): Promise<void> {
    const failures: unknown[] = [];
    for (const release of this.#releases.reverse()) {
      try {
        await release();
      } catch (err) {
        failures.push(err);
      }
    }
    this.#releases = [];
    if (failures.length > 0) throw failures[0];
  }
}

/**
 * The background promises of one owner. A task that rejects (other than by the owner's own abort)
 * is reported to `onFailure`; `stop` aborts `signal` and waits for all of them.
 */
export class TaskSet {
  readonly #abort = new AbortController();
  readonly #running = new Set<Promise<void>>();
  readonly #onFailure: OnFailure;

  constructor(onFailure: OnFailure) {
    this.#onFailure = onFailure;
    // Every waiting task of the owner listens here: their number is the owner's to bound.
    setMaxListeners(0, this.#abort.signal);
  }

  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  get size(): number {
    return this.#running.size;
  }

  /** Hands a promise to this set. */
  run(work: (signal: AbortSignal) => Promise<unknown>): void {
    if (this.#abort.signal.aborted) return;
    const promise = this.#supervise(work);
    this.#running.add(promise);
    void promise.finally(() => this.#running.delete(promise)); // #supervise never rejects
  }

  async stop(): Promise<void> {
    this.#abort.abort(new CancelledError());
    while (this.#running.size > 0) await Promise.all(this.#running);
  }

  async #supervise(work: (signal: AbortSignal) => Promise<unknown>): Promise<void> {
    try {
      await work(this.#abort.signal);
    } catch (err) {
      if (!this.#abort.signal.aborted) this.#onFailure(err);
    }
  }
}

/** The reason given by our own aborts. Not an error to log. */
export class CancelledError extends Error {
  override readonly name = 'CancelledError';
  constructor() {
    super('cancelled');
  }
}

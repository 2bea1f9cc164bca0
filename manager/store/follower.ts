/**
 * The loop that every room of the manager shares: open the watch, look at everything once, then react
 * commit by commit; start over when the watch was cut. It knows no room and no kind of object.
 */
import { Backoff } from '../../common/base/backoff.ts';
import type { Clock } from '../../common/base/clock.ts';
import { hasCode } from '../../common/base/errors.ts';
import { type OnFailure, TaskSet } from '../../common/base/lifecycle.ts';
import type { Logger } from '../../common/base/log.ts';
import type { Random } from '../../common/base/random.ts';
import type { Commit, Store, Watch } from './types.ts';

export interface FollowerOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  /** Told once when a handler fails for another reason than a lost leadership or a busy proposer. */
  readonly onFailure: OnFailure;
}

export interface FollowerHandlers {
  /** Everything known is void: read a fresh view and act on all of it. */
  resync(signal: AbortSignal): Promise<void>;
  /**
   * Commits since the last call, in order; empty after `wake`. A commit that `resync` already saw may
   * come once more, so reactions are decided from the view, never from the commit alone.
   */
  react(commits: readonly Commit[], signal: AbortSignal): Promise<void>;
}

const RETRY_DELAY = { baseMs: 50, maxMs: 2000 } as const;

/**
 * Ends quietly with `not-leader` or `no-leader`: the owner stops leader-only rooms. `unavailable` and
 * lost optimistic locks are retried from a fresh view, with back-off.
 */
export class Follower {
  readonly #options: FollowerOptions;
  readonly #handlers: FollowerHandlers;
  readonly #tasks: TaskSet;
  #wakeUp: (() => void) | null = null;
  #wakeWanted = false;
  #started = false;

  constructor(options: FollowerOptions, handlers: FollowerHandlers) {
    this.#options = options;
    this.#handlers = handlers;
    this.#tasks = new TaskSet(options.onFailure);
  }

  /** Returns at once; the first `resync` runs in the background. */
  start(): void {
    if (this.#started) return;
    this.#started = true;
    this.#tasks.run((signal) => this.#run(signal));
  }

  /** Idempotent; no handler runs after it resolved. */
  stop(): Promise<void> {
    return this.#tasks.stop();
  }

  /** Has `react` called soon, also without a commit (timers). Calls until then are one. */
  wake(): void {
    this.#wakeWanted = true;
    this.#wakeUp?.();
  }

  async #run(signal: AbortSignal): Promise<void> {
    const backoff = new Backoff(RETRY_DELAY, this.#options.random);
    while (!signal.aborted) {
      const watch = this.#options.store.watch();
      try {
        if ((await this.#follow(watch, signal, backoff)) === 'ended') return;
        this.#options.log.info({}, 'change feed was cut, starting over');
      } catch (err) {
        if (signal.aborted) return;
        if (hasCode(err, 'not-leader', 'no-leader')) {
          this.#options.log.debug({ err }, 'leadership lost, room ends');
          return;
        }
        if (!hasCode(err, 'unavailable', 'version-conflict', 'deadline-exceeded')) throw err;
        this.#options.log.warn({ err }, 'write failed, starting over');
        await this.#options.clock.sleep(backoff.nextDelayMs(), signal);
      } finally {
        watch.close();
      }
    }
  }

  async #follow(watch: Watch, signal: AbortSignal, backoff: Backoff): Promise<'ended' | 'cut'> {
    await this.#handlers.resync(signal);
    let pending = nextOrCut(watch, signal);
    while (!signal.aborted) {
      const next = await this.#nextOrWake(pending);
      if (next === 'cut') return 'cut';
      if (next === null) return 'ended';
      if (typeof next === 'object' && 'failure' in next) throw next.failure;
      if (next !== 'woken') pending = nextOrCut(watch, signal);
      await this.#handlers.react(next === 'woken' ? [] : next, signal);
      backoff.reset();
    }
    return 'ended';
  }

  async #nextOrWake(pending: Promise<NextCommits>): Promise<NextCommits | 'woken'> {
    if (!this.#wakeWanted) {
      const woken = new Promise<'woken'>((resolve) => {
        this.#wakeUp = () => resolve('woken');
      });
      const next = await Promise.race([pending, woken]);
      this.#wakeUp = null;
      if (next !== 'woken') return next;
    }
    this.#wakeWanted = false;
    return 'woken';
  }
}

type NextCommits = readonly Commit[] | null | 'cut' | { readonly failure: unknown };

/** Never rejects, for while a reaction runs nobody waits for it. */
async function nextOrCut(watch: Watch, signal: AbortSignal): Promise<NextCommits> {
  try {
    return await watch.next(signal);
  } catch (err) {
    if (signal.aborted) return null;
    return hasCode(err, 'resource-exhausted') ? 'cut' : { failure: err };
  }
}

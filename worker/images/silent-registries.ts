/**
 * Registries that did not answer in time: the next question to them is not waited for as long, so that on a
 * machine without any registry only the first of a row of services is waited for.
 */
import { abortWith } from '../../common/base/abort-with.ts';
import type { Clock } from '../../common/base/clock.ts';
import { SkepError } from '../../common/base/errors.ts';

/** Somebody waits at a terminal, and can do without the digest: a machine without a way out answers soon. */
export const RESOLVE_LIMIT_MS = 5_000;
/**
 * Until a connection to the registry, or to what stands before it, is there: its name looked up, and the first packet sent a
 * second time (after 1 s, by RFC 6298) if it was lost.
 */
export const DIAL_LIMIT_MS = 2_000;
/** For a registry that was silent just now; most of those that are well need less. */
export const SILENT_LIMIT_MS = 500;
/** How long "just now" is. */
export const SILENCE_MS = 60_000;

interface Endpoint {
  /** by the monotonic clock: when a request last had a connection */
  readonly connectedAtMs: number;
}

export class SilentRegistries {
  readonly #clock: Clock;
  /** domain -> when it was silent last. Forgotten with its first answer; as many as users name. */
  readonly #silentAtMs = new Map<string, number>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /**
   * What `work` makes of a registry in its time. Rejects with `deadline-exceeded` when none of its endpoints has a connection
   * soon, or the work is not done in the end.
   */
  async bounded<T>(
    domain: string,
    endpoints: readonly Endpoint[],
    signal: AbortSignal,
    work: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const clock = this.#clock;
    const limit = abortWith(signal);
    let isLate = false;
    const giveUp = (afterMs: number): void => {
      isLate = true;
      this.#silent(domain);
      limit.abort(new SkepError('deadline-exceeded', `no answer in ${afterMs} ms`));
    };
    const beganMs = clock.monotonicMs();
    const limitMs = this.#limitMs(domain);
    const dialLimitMs = Math.min(DIAL_LIMIT_MS, limitMs);
    const timers = [
      clock.setTimer(dialLimitMs, () => {
        if (!endpoints.some(({ connectedAtMs }) => connectedAtMs >= beganMs)) giveUp(dialLimitMs);
      }),
      clock.setTimer(limitMs, () => giveUp(limitMs)),
    ];
    try {
      return await work(limit.signal);
    } catch (err) {
      throw isLate ? limit.signal.reason : err;
    } finally {
      for (const timer of timers) timer.cancel();
      limit.release();
      if (!isLate && !signal.aborted) this.#silentAtMs.delete(domain); // it answered, with whatever words
    }
  }

  #limitMs(domain: string): number {
    const silentAtMs = this.#silentAtMs.get(domain);
    if (silentAtMs === undefined) return RESOLVE_LIMIT_MS;
    const isRecent = this.#clock.monotonicMs() - silentAtMs < SILENCE_MS;
    return isRecent ? SILENT_LIMIT_MS : RESOLVE_LIMIT_MS;
  }

  /** It was not heard of within its limit. Begins no silence anew: that ends a minute after it began. */
  #silent(domain: string): void {
    if (this.#limitMs(domain) === RESOLVE_LIMIT_MS) {
      this.#silentAtMs.set(domain, this.#clock.monotonicMs());
    }
  }
}

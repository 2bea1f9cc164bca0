/** Another attempt after passing trouble with a registry, as late as the registry asks for. */
import { Backoff } from '../../common/base/backoff.ts';
import type { Clock } from '../../common/base/clock.ts';
import type { Logger } from '../../common/base/log.ts';
import type { Random } from '../../common/base/random.ts';
import { isTransient, retryAfterMsOf } from './registry-errors.ts';

export const ATTEMPTS_MAX = 5;
const BACKOFF = { baseMs: 250, maxMs: 5_000 };
/** A registry that wants a longer pause is quoted instead of waited for: a task is retried by itself. */
export const RETRY_AFTER_MAX_MS = 30_000;

export interface RetryOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}

/** Rejects with the last failure; with the first that is not worth it, or that is to wait too long. */
export async function retrying<T>(
  { clock, random, log }: RetryOptions,
  signal: AbortSignal,
  work: () => Promise<T>,
  isWorthIt: (err: unknown) => boolean = isTransient,
): Promise<T> {
  const backoff = new Backoff(BACKOFF, random);
  for (let attempt = 1; ; attempt++) {
    try {
      return await work();
    } catch (err) {
      const askedMs = retryAfterMsOf(err, clock.wallMs());
      if (signal.aborted || attempt === ATTEMPTS_MAX || !isWorthIt(err)) throw err;
      if (askedMs > RETRY_AFTER_MAX_MS) throw err;
      log.debug({ err, attempt }, 'registry request failed');
      await clock.sleep(Math.max(askedMs, backoff.nextDelayMs()), signal);
    }
  }
}

/** Limits of time around work, on a clock that may be simulated. */
import { abortWith } from './abort-with.ts';
import type { Clock } from './clock.ts';
import { SkepError } from './errors.ts';

export interface DeadlineOptions {
  readonly clock: Clock;
  /** ms, > 0 */
  readonly limitMs: number;
  /** for the words of the failure */
  readonly action: string;
  /** of the caller: aborts the work as well */
  readonly signal?: AbortSignal | undefined;
}

/** Does `work` with a signal that is aborted after the limit with `deadline-exceeded`. */
export async function withDeadline<T>(
  { clock, limitMs, action, signal }: DeadlineOptions,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  signal?.throwIfAborted();
  const abort = abortWith(signal);
  const timer = clock.setTimer(limitMs, () => {
    abort.abort(new SkepError('deadline-exceeded', `${action}: not done within ${limitMs} ms`));
  });
  try {
    return await work(abort.signal);
  } finally {
    timer.cancel();
    abort.release();
  }
}

/** Whether `work` ends in time; it goes on if not, and how it ends then is nobody's. Rejects as `work` does. */
export function endsWithin(
  clock: Clock,
  limitMs: number,
  work: Promise<unknown>,
): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const timer = clock.setTimer(limitMs, () => resolve(false));
    work.then(() => resolve(true), reject).finally(() => timer.cancel());
  });
}

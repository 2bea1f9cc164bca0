/** An abort of one's own under a signal that lives longer. */

/**
 * The work's own abort, and that of `signal` with it. `release` belongs to the end of the work. For work
 * that is done again and again under one signal: on Node 20 each `AbortSignal.any` leaves an entry with
 * its sources for as long as these live.
 */
export interface LinkedAbort {
  readonly signal: AbortSignal;
  abort(reason?: unknown): void;
  release(): void;
}

export function abortWith(signal: AbortSignal | undefined): LinkedAbort {
  const own = new AbortController();
  const onAbort = (): void => own.abort(signal?.reason);
  if (signal?.aborted) onAbort();
  else signal?.addEventListener('abort', onAbort, { once: true });
  return {
    signal: own.signal,
    abort: (reason) => own.abort(reason),
    release: () => signal?.removeEventListener('abort', onAbort),
  };
}

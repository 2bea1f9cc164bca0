/** An abort of one's own under a signal that lives longer, and waiting no longer than one's own signal. */

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

/** `promise`, or a rejection with `signal.reason`, whichever is first. */
export function abortable<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return promise;
  return new Promise<T>((resolve, reject) => {
    const onAbort = (): void => reject(signal.reason);
    if (signal.aborted) onAbort();
    signal.addEventListener('abort', onAbort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });
}

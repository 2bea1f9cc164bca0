/** Reads from a client that may send slowly, or stop to. Knows nothing of what it reads. */
import type { Clock } from '../../common/base/clock.ts';
import { SkepError } from '../../common/base/errors.ts';

/** A client that has sent nothing for so long is gone or stuck. */
export const SENDER_PATIENCE_MS = 60_000;

/**
 * What `source` gives. Only the waiting for it counts: whoever reads this may take its time. Rejects with
 * `deadline-exceeded`, and leaves the source as it is: the answer goes on the same connection.
 */
export async function* patiently<T>(source: AsyncIterable<T>, clock: Clock): AsyncGenerator<T> {
  const items = source[Symbol.asyncIterator]();
  let isStuck = false;
  try {
    for (;;) {
      const next = items.next();
      let late: () => void = () => {};
      const patience = new Promise<null>((resolve) => {
        late = () => resolve(null);
      });
      const timer = clock.setTimer(SENDER_PATIENCE_MS, late);
      const item = await Promise.race([next, patience]).finally(() => timer.cancel());
      if (item === null) {
        isStuck = true;
        next.catch(() => {}); // nobody waits for it any more
        const words = `read from a client: it has sent nothing for ${SENDER_PATIENCE_MS} ms`;
        throw new SkepError('deadline-exceeded', words);
      }
      if (item.done) return;
      yield item.value;
    }
  } finally {
    // A source that is stuck would let us wait for its end.
    if (!isStuck) await items.return?.();
  }
}

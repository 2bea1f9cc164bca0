/** How many answers go on for as long as their source or their client does. Beside them requests are served that end by themselves. */
import { SkepError } from '../../common/base/errors.ts';

export const STREAMS_MAX = 1_000;

export interface Closing {
  once(event: 'close', listener: () => void): unknown;
}

/** INVARIANT: STREAMS_MAX at most are taken, each until its answer or connection is closed. */
export class StreamPlaces {
  #taken = 0;

  /** @param until what is closed when the stream has ended. Throws `unavailable` when all places are taken. */
  take(until: Closing): void {
    if (this.#taken >= STREAMS_MAX) {
      const words = `begin a stream: ${STREAMS_MAX} streams are open, which is the most`;
      throw new SkepError('unavailable', words);
    }
    this.#taken += 1;
    until.once('close', () => {
      this.#taken -= 1;
    });
  }
}

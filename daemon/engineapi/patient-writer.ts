/** Writes to a client that may read slowly, or not at all. Knows nothing of what it writes. */
import { once } from 'node:events';
import type { Writable } from 'node:stream';
import { abortWith } from '../../common/base/abort-with.ts';
import type { Clock } from '../../common/base/clock.ts';
import { SkepError } from '../../common/base/errors.ts';

/** A client that has taken nothing for so long is gone or stuck. */
export const READER_PATIENCE_MS = 30_000;

/** INVARIANT: what waits for the client is what the stream holds, some tens of KiB and one chunk. */
export class PatientWriter {
  readonly #out: Writable;
  readonly #clock: Clock;
  readonly #signal: AbortSignal;

  /** @param signal aborted when the client is gone */
  constructor(out: Writable, clock: Clock, signal: AbortSignal) {
    this.#out = out;
    this.#clock = clock;
    this.#signal = signal;
  }

  /** Resolves when more may be written. Rejects with `cancelled` when the client takes no more. */
  async write(chunk: string | Uint8Array): Promise<void> {
    this.#signal.throwIfAborted();
    if (this.#out.write(chunk)) return;
    const tooLong = abortWith(this.#signal);
    const timer = this.#clock.setTimer(READER_PATIENCE_MS, () => tooLong.abort());
    try {
      await once(this.#out, 'drain', { signal: tooLong.signal });
    } catch (err) {
      this.#signal.throwIfAborted();
      const words = `write to a client: it has read nothing for ${READER_PATIENCE_MS} ms`;
      throw new SkepError('cancelled', words, { cause: err });
    } finally {
      timer.cancel();
      tooLong.release();
    }
  }
}

/**
 * Resolves when `out` may be written to again; waits as long as the reader likes: for what nobody else waits for.
 * Rejects with the reason of `signal`.
 */
export async function drained(out: Writable, signal: AbortSignal): Promise<void> {
  try {
    await once(out, 'drain', { signal });
  } catch (err) {
    signal.throwIfAborted();
    throw err;
  }
}

/** Large enough to cost little, and what is taken within STALL_LIMIT_MS over the slowest of links. */
export const PIECE_BYTES_MAX = 256 * 1024;

/**
 * Ends `out` with `bytes`, as fast as its reader takes them: of what is written at once nobody could tell whether it is being read
 * (`StalledReaders`). Whoever destroys `out` ends it.
 */
export function endInPieces(out: Writable, bytes: Buffer): void {
  let at = 0;
  const goOn = (): void => {
    for (let isFull = false; !isFull; at += PIECE_BYTES_MAX) {
      if (bytes.length - at <= PIECE_BYTES_MAX) {
        out.off('drain', goOn).end(bytes.subarray(at));
        return;
      }
      isFull = !out.write(bytes.subarray(at, at + PIECE_BYTES_MAX));
    }
  };
  out.on('drain', goOn);
  goOn();
}

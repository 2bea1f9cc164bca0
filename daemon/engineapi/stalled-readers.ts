/**
 * Tells which connections hold what their clients do not take: logs, images, the output of processes. Most of what is sent waits for
 * its reader as long as that likes, for people page through logs; but not for ever. Knows nothing of what is sent.
 */
import type { Duplex } from 'node:stream';
import { StreamDuplex } from '../../common/rpc/stream-duplex.ts';

/** A client that has taken nothing of what waits for it for so long is gone or stuck. People leave pagers open for minutes. */
export const STALL_LIMIT_MS = 600_000;
export const STALL_CHECK_PERIOD_MS = 60_000;

interface Standing {
  /** bytes that have left this process, whatever was added to those that wait */
  readonly taken: number;
  readonly sinceMs: number;
}

export class StalledReaders {
  readonly #standing = new WeakMap<Duplex, Standing>();

  /** Those whose clients have taken nothing for STALL_LIMIT_MS, as far as earlier looks tell. */
  among(connections: Iterable<Duplex>, nowMs: number): Duplex[] {
    return [...connections].filter((connection) => this.#isStalled(connection, nowMs));
  }

  #isStalled(connection: Duplex, nowMs: number): boolean {
    const waiting = connection.writableLength;
    if (waiting === 0) {
      this.#standing.delete(connection);
      return false;
    }
    const taken = takenOf(connection);
    const before = this.#standing.get(connection);
    if (before?.taken === taken) return nowMs - before.sinceMs >= STALL_LIMIT_MS;
    this.#standing.set(connection, { taken, sinceMs: nowMs });
    return false;
  }
}

/** Of a socket a chunk is written when it comes, and waits until the whole of it is through: what is large is to come in pieces. */
function takenOf(connection: Duplex): number {
  if (connection instanceof StreamDuplex) return connection.takenBytes;
  const { bytesWritten = 0 } = connection as { readonly bytesWritten?: number };
  return bytesWritten - connection.writableLength;
}

/**
 * Finds out that a client is gone altogether. To who reads from it that looks as the end of its input, after which it may want
 * output for hours; and as long as there is none, nothing that is written fails.
 */
import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';

export const VANISHED_CHECK_PERIOD_MS = 5_000;

/**
 * Writes nothing to those from which nothing comes. At the end of a unix socket whose other end is closed that fails (Linux,
 * `unix_stream_sendmsg`), not where it has ended its input alone; by TCP it fails once the kernel has had no answer to its own
 * probes, for which the listener is to have `keepAlive`. A connection that fails so is destroyed by whoever holds it.
 */
export function probeSilent(connections: Iterable<Duplex>): void {
  for (const connection of connections) {
    if (!(connection instanceof Socket) || !connection.writable) continue;
    const isSilent = connection.readableEnded || connection.isPaused();
    if (isSilent && connection.writableLength === 0) connection.write('');
  }
}

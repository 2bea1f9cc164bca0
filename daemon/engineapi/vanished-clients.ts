/**
 * Finds out that a client is gone altogether. To who reads from it that looks as the end of its input, after which it may want
 * output for hours; and as long as there is none, nothing that is written fails.
 */
import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { TLSSocket } from 'node:tls';

export const VANISHED_CHECK_PERIOD_MS = 5_000;

/** Those from which nothing comes, or nobody reads. Of connections by TLS the ones below are to be looked at. */
export function silentAmong(connections: Iterable<Duplex>): Duplex[] {
  return [...connections].filter(
    (it) => !(it instanceof TLSSocket) && (it.readableEnded || it.readableFlowing !== true),
  );
}

/**
 * Writes nothing to them. At the end of a unix socket whose other end is closed that fails (Linux, `unix_stream_sendmsg`), not
 * where it has ended its input alone; by TCP it fails once the kernel's own probes were answered so, for which the
 * listener is to have `keepAlive`: a minute after the client's end, until when its kernel answers for it. A connection that
 * fails so is destroyed by whoever holds it.
 */
export function probe(connections: Iterable<Duplex>): void {
  for (const connection of connections) {
    const isSocket = connection instanceof Socket;
    if (isSocket && connection.writable && connection.writableLength === 0) connection.write('');
  }
}

/**
 * The end of a connection whose client may still be sending: to close it with input that nobody has read resets it,
 * and a reset takes the answer with it that the client has not read yet (RFC 9112, 9.6). Knows nothing of HTTP.
 */
import type { Duplex } from 'node:stream';
import type { Clock } from '../../common/base/clock.ts';

/** What is still read of what a client sends for nobody. */
export const LINGER_BYTES_MAX = 16 << 20;
/** So long, at most; a client that reads its answer closes before. */
export const LINGER_MS_MAX = 2_000;

/** Ends our side once what was written is out, and reads on until the client ends its own. Nobody else reads `socket`. */
export function closeLingering(socket: Duplex, clock: Clock): void {
  let left = LINGER_BYTES_MAX;
  const timer = clock.setTimer(LINGER_MS_MAX, () => socket.destroy());
  socket.once('close', () => timer.cancel());
  socket.on('data', (chunk: Buffer) => {
    left -= chunk.length;
    if (left < 0) socket.destroy();
  });
  socket.resume(); // it may be stopped, as its reader had enough
  socket.end();
}

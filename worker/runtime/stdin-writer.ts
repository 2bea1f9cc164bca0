/** A stream into the STDIN frames of a shim's connection. */
import { Writable } from 'node:stream';
import { FRAME } from '../../native/ffi/shim-protocol.ts';
import type { ShimConnection } from './shim-connection.ts';

/** Goes to the shim in pieces of this size. */
const STDIN_CHUNK_BYTES = 16384;

export function stdinWriter(connection: () => ShimConnection | null): Writable {
  const stdin = new Writable({
    write: (chunk: Buffer, _encoding, done) => {
      for (let at = 0; at < chunk.length; at += STDIN_CHUNK_BYTES) {
        const piece = chunk.subarray(at, at + STDIN_CHUNK_BYTES);
        const last = at + STDIN_CHUNK_BYTES >= chunk.length;
        connection()?.send(FRAME.stdin, piece, last ? done : undefined);
      }
      if (chunk.length === 0) done();
    },
    final: (done) => connection()?.send(FRAME.stdinClose, new Uint8Array(0), done),
  });
  stdin.on('error', () => {}); // a command that ended early is no failure of the writer's
  return stdin;
}

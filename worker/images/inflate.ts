/** Compressed streams read as what they hold: gzip by zlib, zstd by fzstd (Node 20 has no zstd). */
import { Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { Decompress } from 'fzstd';
import { SkepError } from '../../common/base/errors.ts';
import type { Compression } from './compression.ts';

const GUNZIP_CHUNK_BYTES = 256 * 1024;
/**
 * Compressed bytes that are inflated at once. Four of them can stand for a block of 128 KiB, so that a
 * hostile kilobyte takes up to 32 MiB of memory until it is read; smaller pieces cost speed.
 */
const ZSTD_PIECE_BYTES = 1024;

/** Throws `unimplemented` for other compressions. A damaged stream fails the reader. */
export function inflate(source: Readable, compression: Compression): Readable {
  switch (compression) {
    case 'none':
      return source;
    case 'gzip': {
      const gunzip = createGunzip({ chunkSize: GUNZIP_CHUNK_BYTES });
      source.on('error', (err) => gunzip.destroy(err));
      gunzip.on('close', () => source.destroy());
      return source.pipe(gunzip);
    }
    case 'zstd':
      return Readable.from(zstdChunks(source), { objectMode: false });
    case 'bzip2':
    case 'xz':
      source.destroy();
      throw new SkepError('unimplemented', `${compression} compression is not supported`);
  }
}

async function* zstdChunks(source: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let out: Buffer[] = [];
  const decoder = new Decompress((bytes) => {
    // A view of the decoder's own window, which it writes over.
    if (bytes.length > 0) out.push(Buffer.from(bytes));
  });
  for await (const chunk of source) {
    for (let at = 0; at < chunk.length; at += ZSTD_PIECE_BYTES) {
      push(decoder, chunk.subarray(at, at + ZSTD_PIECE_BYTES), false);
      yield* out;
      out = [];
    }
  }
  push(decoder, new Uint8Array(0), true);
  yield* out;
}

function push(decoder: Decompress, bytes: Uint8Array, isLast: boolean): void {
  try {
    decoder.push(bytes, isLast);
  } catch (cause) {
    throw new SkepError('invalid-argument', 'inflate zstd stream', { cause });
  }
}

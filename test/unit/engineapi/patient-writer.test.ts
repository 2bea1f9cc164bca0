import { Writable } from 'node:stream';
import { describe, expect, test } from 'vitest';
import { endInPieces, PIECE_BYTES_MAX } from '../../../daemon/engineapi/patient-writer.ts';

describe('an answer in pieces', () => {
  test.each([
    [5, [5]],
    [PIECE_BYTES_MAX, [PIECE_BYTES_MAX]],
    [2 * PIECE_BYTES_MAX + 5, [PIECE_BYTES_MAX, PIECE_BYTES_MAX, 5]],
  ])(
    'of %i bytes is written as %j, each when the one before is through',
    async (length, pieces) => {
      const answer = Buffer.alloc(length, 'some text');
      const written: Buffer[] = [];
      let heldMax = 0;
      const out = new Writable({
        write: (chunk: Buffer, _, done) => {
          written.push(chunk);
          heldMax = Math.max(heldMax, out.writableLength);
          setImmediate(done);
        },
      });
      const finished = new Promise((resolve) => out.once('finish', resolve));
      endInPieces(out, answer);
      await finished;
      expect(written.map((chunk) => chunk.length)).toEqual(pieces);
      expect(Buffer.concat(written).equals(answer)).toBe(true);
      expect(heldMax).toBeLessThanOrEqual(PIECE_BYTES_MAX);
      expect(out.listenerCount('drain')).toBe(0);
    },
  );
});

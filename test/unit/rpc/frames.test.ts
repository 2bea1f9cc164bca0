import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { encodeFrame, FrameDecoder } from '../../../common/rpc/frames.ts';
import { MESSAGE_BYTES_MAX } from '../../../common/rpc/limits.ts';

function decoded(decoder: FrameDecoder, chunks: readonly Buffer[]): [string, string][] {
  const frames: [string, string][] = [];
  for (const chunk of chunks) {
    decoder.push(chunk, ({ kind, body }) => frames.push([kind, body.toString('latin1')]));
  }
  return frames;
}

/** Cut at these places, in parts of the whole. */
function cut(bytes: Buffer, places: readonly number[]): Buffer[] {
  const at = [...new Set(places.map((place) => Math.floor(place * bytes.length)))];
  const sorted = [0, ...at.sort((a, b) => a - b), bytes.length];
  return sorted.slice(1).map((end, i) => bytes.subarray(sorted[i], end));
}

describe('frames', () => {
  test('come out as they went in, however they are cut', () => {
    const kind = fc.constantFrom('open' as const, 'message' as const, 'alive' as const);
    const body = fc.uint8Array({ maxLength: 40 });
    const place = fc.double({ min: 0, max: 1, noNaN: true });
    fc.assert(
      fc.property(fc.array(fc.tuple(kind, body)), fc.array(place), (frames, places) => {
        const bytes = Buffer.concat(frames.map(([k, b]) => encodeFrame(k, b)));
        const sent = frames.map(([k, b]) => [k, Buffer.from(b).toString('latin1')]);
        expect(decoded(new FrameDecoder(40), cut(bytes, places))).toEqual(sent);
      }),
    );
  });

  test('that are whole are not copied', () => {
    const chunk = encodeFrame('message', Buffer.from('here'));
    new FrameDecoder(10).push(chunk, ({ body }) => expect(body.buffer).toBe(chunk.buffer));
    expect.assertions(1);
  });

  test('may be large only when their sender is known', () => {
    const large = encodeFrame('message', Buffer.alloc(11));
    const decoder = new FrameDecoder(10);
    expect(() => decoded(decoder, [large])).toThrow('receive a frame: 12 bytes are outside 1..11');
    decoder.allowMessages();
    expect(decoded(decoder, [large])).toHaveLength(1);
    const tooLarge = encodeFrame('message', Buffer.alloc(MESSAGE_BYTES_MAX + 1));
    expect(() => decoded(decoder, [tooLarge.subarray(0, 5)])).toThrow('are outside');
  });

  test('of no size or no kind are refused', () => {
    expect(() => decoded(new FrameDecoder(10), [Buffer.alloc(5)])).toThrow('0 bytes are outside');
    const unknown = encodeFrame('message', Buffer.alloc(1));
    unknown[4] = 9;
    expect(() => decoded(new FrameDecoder(10), [unknown])).toThrow('no kind 9');
  });
});

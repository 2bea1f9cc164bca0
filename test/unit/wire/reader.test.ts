import fc from 'fast-check';
import protobuf from 'protobufjs/minimal.js';
import { describe, expect, test } from 'vitest';
import { WireReader } from '../../../common/wire/reader.ts';

function written(text: string): Uint8Array {
  return new protobuf.BufferWriter().string(text).uint32(7).finish();
}

describe('a wire reader', () => {
  test('reads any text, and goes on behind it', () => {
    const text = fc.oneof(
      fc.string({ unit: 'grapheme', maxLength: 100 }),
      fc.string({ unit: 'grapheme-ascii', maxLength: 300 }),
    );
    fc.assert(
      fc.property(text, (text) => {
        const reader = new WireReader(new Uint8Array(written(text)));
        expect(reader.stringVerify()).toBe(text);
        expect(reader.uint32()).toBe(7);
      }),
      { numRuns: 300 },
    );
  });

  test.each([5, 20, 80])('refuses %i bytes that are no UTF-8', (length) => {
    const bytes = Uint8Array.from([length, ...new Array(length - 1).fill(0x61), 0xc0]);
    expect(() => new WireReader(bytes).stringVerify()).toThrow();
  });

  test.each([5, 20, 80])('refuses text of which the last of %i bytes is missing', (length) => {
    const bytes = Uint8Array.from([length, ...new Array(length - 1).fill(0x61)]);
    expect(() => new WireReader(bytes).stringVerify()).toThrow(RangeError);
  });

  test('tells whether it skipped anything', () => {
    const reader = new WireReader(written('skipped'));
    expect(reader.metUnknown).toBe(false);
    reader.skipType(2);
    expect(reader.metUnknown).toBe(true);
    expect(reader.uint32()).toBe(7);
  });
});

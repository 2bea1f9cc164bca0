import fc from 'fast-check';
import Long from 'long';
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

  test('reads any 64 bits, and goes on behind them', () => {
    const read = (value: unknown) =>
      BigInt.asIntN(64, BigInt((value as { toString(): string }).toString()));
    const written = (value: bigint) =>
      new protobuf.BufferWriter().int64(Long.fromString(value.toString())).uint32(7).finish();
    const expectRead = (value: bigint) => {
      for (const form of ['int64', 'uint64'] as const) {
        const reader = new WireReader(new Uint8Array(written(value)));
        expect(read(reader[form]())).toBe(value);
        expect(reader.uint32()).toBe(7);
      }
    };
    fc.assert(fc.property(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }), expectRead));
    for (let bits = 0n; bits < 63n; bits++)
      for (const value of [2n ** bits - 1n, 2n ** bits]) expectRead(value);
  });

  test('refuses a number of which the last byte is missing', () => {
    for (const length of [1, 6, 7, 9]) {
      const reader = new WireReader(new Uint8Array(length).fill(0x80));
      expect(() => reader.int64()).toThrow();
    }
  });

  test('tells whether it skipped anything', () => {
    const reader = new WireReader(written('skipped'));
    expect(reader.metUnknown).toBe(false);
    reader.skipType(2);
    expect(reader.metUnknown).toBe(true);
    expect(reader.uint32()).toBe(7);
  });
});

import fc from 'fast-check';
import Long from 'long';
import protobuf, { type Writer } from 'protobufjs/minimal.js';
import { describe, expect, test } from 'vitest';
import { WireWriter } from '../../../common/wire/writer.ts';

type Whole = Parameters<Writer['int64']>[0];

function hexOf(writer: Writer, value: Whole): string {
  const bytes = writer.uint64(value).int64(value).uint32(7).finish();
  return Buffer.from(bytes).toString('hex');
}

function expectSameBytes(value: Whole): void {
  expect(hexOf(new WireWriter(), value)).toBe(hexOf(new protobuf.BufferWriter(), value));
}

describe('a wire writer writes the bytes of the library', () => {
  test('of any safe integer', () => {
    fc.assert(fc.property(fc.maxSafeInteger(), expectSameBytes), { numRuns: 1_000 });
  });

  test('on both sides of each power of two', () => {
    for (let bits = 0; bits <= 63; bits++) {
      for (const value of [2 ** bits - 1, 2 ** bits, 2 ** bits + 1, -(2 ** bits)])
        expectSameBytes(value);
    }
  });

  test('of what is no number', () => {
    expectSameBytes(Long.fromString('-9223372036854775808'));
    expectSameBytes(Long.fromString('1234567890123'));
  });
});

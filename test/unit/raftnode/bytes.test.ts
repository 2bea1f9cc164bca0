import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ByteReader, ByteWriter } from '../../../manager/raftnode/bytes.ts';

type Field =
  | { readonly kind: 'u8' | 'u32' | 'u64'; readonly value: number }
  | { readonly kind: 'bytes'; readonly value: Uint8Array }
  | { readonly kind: 'text'; readonly value: string };

const field: fc.Arbitrary<Field> = fc.oneof(
  fc.record({ kind: fc.constant('u8' as const), value: fc.nat(0xff) }),
  fc.record({ kind: fc.constant('u32' as const), value: fc.nat(0xffffffff) }),
  fc.record({ kind: fc.constant('u64' as const), value: fc.maxSafeNat() }),
  fc.record({ kind: fc.constant('bytes' as const), value: fc.uint8Array({ maxLength: 70 }) }),
  fc.record({ kind: fc.constant('text' as const), value: fc.string() }),
);

function write(writer: ByteWriter, one: Field): void {
  if (one.kind === 'bytes') writer.bytes(one.value);
  else if (one.kind === 'text') writer.text(one.value);
  else writer[one.kind](one.value);
}

describe('byte writer and reader', () => {
  test('fields of any kind come back, whenever the buffer grows', () => {
    fc.assert(
      fc.property(fc.array(field), fc.integer({ min: 1, max: 40 }), (fields, capacity) => {
        const writer = new ByteWriter(capacity);
        for (const one of fields) write(writer, one);
        const reader = new ByteReader(writer.finish());
        for (const { kind, value } of fields) {
          const back = reader[kind]();
          expect(typeof back === 'object' ? [...back] : back).toEqual(
            typeof value === 'object' ? [...value] : value,
          );
        }
        expect(reader.remaining).toBe(0);
      }),
    );
  });

  test('reading past the end throws', () => {
    expect(() => new ByteReader(Buffer.alloc(3)).u32()).toThrow(RangeError);
    const tooLong = new ByteWriter().u32(100).u8(1).finish();
    expect(() => new ByteReader(tooLong).bytes()).toThrow(RangeError);
  });
});

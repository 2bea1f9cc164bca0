import Long from 'long';
import { describe, expect, test } from 'vitest';
import { enumTable, intFromProto, optionalIntFromProto } from '../../../common/wire/scalars.ts';

describe('64-bit integers from the wire', () => {
  test.each([
    [0, 0],
    [-5, -5],
    [Long.fromNumber(-1), -1],
    [Long.fromNumber(2 ** 40 + 7), 2 ** 40 + 7],
    [Long.fromNumber(Number.MIN_SAFE_INTEGER), Number.MIN_SAFE_INTEGER],
    [Long.fromNumber(Number.MAX_SAFE_INTEGER, true), Number.MAX_SAFE_INTEGER],
    [undefined, 0],
    [null, 0],
  ])('%s is %d', (value, expected) => {
    expect(intFromProto(value, 'x')).toBe(expected);
  });

  test.each([Long.MAX_VALUE, Long.MIN_VALUE, Long.MAX_UNSIGNED_VALUE, 2 ** 53])(
    '%s is refused',
    (value) => {
      expect(() => intFromProto(value, 'x')).toThrow(
        expect.objectContaining({
          code: 'data-loss',
          message: 'decode x: the value is beyond 2^53-1',
        }),
      );
    },
  );

  test('an absent optional one is null', () => {
    expect(optionalIntFromProto(undefined, 'x')).toBeNull();
    expect(optionalIntFromProto(Long.ZERO, 'x')).toBe(0);
  });
});

describe('enum table', () => {
  const table = enumTable<'a' | 'b', number>('letter', { a: 1, b: 2 });

  test('maps both ways', () => {
    expect(table.toProto('b')).toBe(2);
    expect(table.fromProto(1)).toBe('a');
  });

  test.each([0, 3, undefined, null])('refuses %s', (value) => {
    expect(() => table.fromProto(value)).toThrow(expect.objectContaining({ code: 'data-loss' }));
  });

  test('refuses a name that it does not know', () => {
    expect(() => table.toProto('c' as 'a')).toThrow("encode letter: 'c' is unknown");
  });
});

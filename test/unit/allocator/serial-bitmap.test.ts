import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { SerialBitmap } from '../../../manager/allocator/serial-bitmap.ts';

describe('serial bitmap', () => {
  test('gives numbers in order and reuses freed ones only after a wrap-around', () => {
    const bitmap = new SerialBitmap(4);
    expect([bitmap.takeNext(), bitmap.takeNext()]).toEqual([0, 1]);
    bitmap.release(0);
    expect([bitmap.takeNext(), bitmap.takeNext(), bitmap.takeNext()]).toEqual([2, 3, 0]);
    expect(bitmap.takeNext()).toBeNull();
    expect([bitmap.taken, bitmap.free]).toEqual([4, 0]);
  });

  test.each([1, 31, 32, 33, 64, 100])('gives each of %i numbers once', (size) => {
    const bitmap = new SerialBitmap(size);
    const given = Array.from({ length: size }, () => bitmap.takeNext());
    expect(given).toEqual(Array.from({ length: size }, (_, i) => i));
    expect(bitmap.takeNext()).toBeNull();
  });

  test('continues above the highest number of a rebuild', () => {
    const bitmap = new SerialBitmap(100);
    bitmap.take(7);
    bitmap.continueAbove(7);
    expect(bitmap.takeNext()).toBe(8);
  });

  test('a taken number is not taken again; releasing twice is harmless', () => {
    const bitmap = new SerialBitmap(8);
    expect([bitmap.take(3), bitmap.take(3)]).toEqual([true, false]);
    bitmap.release(3);
    bitmap.release(3);
    expect(bitmap.taken).toBe(0);
  });

  test('over any history it agrees with a set, and the next number is the next free one', () => {
    const step = fc.oneof(
      fc.constant({ kind: 'next' as const, index: 0 }),
      fc.record({ kind: fc.constantFrom('take' as const, 'release' as const), index: fc.nat(69) }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), (history) => {
        const bitmap = new SerialBitmap(70);
        const model = new Set<number>();
        let last = -1;
        for (const { kind, index } of history) {
          if (kind === 'take') {
            expect(bitmap.take(index)).toBe(!model.has(index));
            model.add(index);
          } else if (kind === 'release') {
            bitmap.release(index);
            model.delete(index);
          } else {
            const expected = nextFree(model, 70, last);
            expect(bitmap.takeNext()).toBe(expected);
            if (expected !== null) model.add(expected);
            last = expected ?? last;
          }
          expect(bitmap.taken).toBe(model.size);
        }
      }),
    );
  });
});

function nextFree(taken: ReadonlySet<number>, size: number, last: number): number | null {
  for (let i = 1; i <= size; i++) {
    const candidate = (last + i) % size;
    if (!taken.has(candidate)) return candidate;
  }
  return null;
}

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ShardedMap } from '../../../common/base/sharded-map.ts';

const MANY = 10_000;

function filled(count: number): ShardedMap<string, number> {
  const map = new ShardedMap<string, number>();
  for (let i = 0; i < count; i++) map.set(`service/${i}`, i);
  return map;
}

describe('sharded map', () => {
  test.each<[string, (n: number) => string | number]>([
    ['strings', (n) => `task${n}`],
    ['numbers', (n) => n],
  ])('is a map of %s, whatever is done to it', (_, keyOf) => {
    const key = fc.integer({ min: 0, max: 9_000 }).map(keyOf);
    const step = fc.tuple(fc.constantFrom('set', 'set', 'set', 'delete'), key);
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), fc.boolean(), (steps, many) => {
        const map = new ShardedMap<string | number, number>();
        const model = new Map<string | number, number>();
        // So many that it is spread.
        for (let i = 0; many && i < 4_096; i++) {
          map.set(keyOf(i), i);
          model.set(keyOf(i), i);
        }
        steps.forEach(([action, id], at) => {
          if (action === 'delete') expect(map.delete(id)).toBe(model.delete(id));
          else {
            map.set(id, at);
            model.set(id, at);
          }
          expect(map.get(id)).toBe(model.get(id));
          expect(map.has(id)).toBe(model.has(id));
          expect(map.size).toBe(model.size);
        });
        expect(new Map(map.entries())).toEqual(model);
      }),
      { numRuns: 30 },
    );
  });

  test('keeps the order of insertion while it holds few', () => {
    const map = filled(4_096);
    expect([...map.entries()].map(([, value]) => value)).toEqual(
      Array.from({ length: 4_096 }, (_, i) => i),
    );
  });

  test('has no part that holds much more than its share of many', () => {
    const { shards } = filled(MANY);
    expect(shards.length).toBeGreaterThan(1);
    expect(Math.max(...shards.map(({ size }) => size))).toBeLessThan((4 * MANY) / shards.length);
  });
});

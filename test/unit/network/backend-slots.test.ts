import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { SeededRandom } from '../../../common/base/random.ts';
import { planSameSlots, planSlots } from '../../../worker/network/backend-slots.ts';

describe('slots of a balancing map', () => {
  test('a removed backend is replaced by the last one: two slots change', () => {
    const plan = planSlots(['a', 'b', 'c', 'd'], new Set(['a', 'c', 'd']), new SeededRandom(1));
    expect(plan).toEqual({ slots: ['a', 'd', 'c'], deleted: [1, 3], added: [1] });
  });

  test('a replaced backend takes over the slot', () => {
    const plan = planSlots(['a', 'b', 'c'], new Set(['a', 'x', 'c']), new SeededRandom(1));
    expect(plan).toEqual({ slots: ['a', 'x', 'c'], deleted: [1], added: [1] });
  });

  test('two tasks begin with different backends', () => {
    const wanted = new Set(Array.from({ length: 8 }, (_, i) => `b${i}`));
    const firsts = new Set(
      Array.from(
        { length: 20 },
        (_, seed) => planSlots([], wanted, new SeededRandom(seed)).slots[0],
      ),
    );
    expect(firsts.size).toBeGreaterThan(3);
  });

  test('the same backends can have the same slots, whatever was before', () => {
    expect(planSameSlots(['c', 'a'], new Set(['c', 'b', 'a']))).toEqual({
      slots: ['a', 'b', 'c'],
      ...{ deleted: [0, 1], added: [0, 1, 2] },
    });
    expect(planSameSlots(['a', 'b', 'c'], new Set(['b', 'a']))).toEqual({
      slots: ['a', 'b'],
      ...{ deleted: [2], added: [] },
    });
  });

  test('the plan leads from the old slots to exactly the wanted set, with keys 0 .. n-1', () => {
    const names = fc.uniqueArray(fc.integer({ min: 0, max: 40 }).map(String), { maxLength: 30 });
    fc.assert(
      fc.property(names, names, fc.integer({ min: 0 }), (before, after, seed) => {
        const plan = planSlots(before, new Set(after), new SeededRandom(seed));
        expect([...plan.slots].sort()).toEqual([...after].sort());
        // Replayed on the kernel's map: deletions hit what is there, additions what is free.
        const map = new Map(before.map((name, slot) => [slot, name]));
        for (const slot of plan.deleted) expect(map.delete(slot)).toBe(true);
        for (const slot of plan.added) {
          expect(map.has(slot)).toBe(false);
          map.set(slot, plan.slots[slot] as string);
        }
        expect(new Map([...map].sort(([a], [b]) => a - b))).toEqual(
          new Map(plan.slots.map((name, slot) => [slot, name])),
        );
        const kept = before.filter((name) => after.includes(name)).length;
        expect(plan.added.length).toBeLessThanOrEqual(after.length - kept + before.length - kept);
      }),
    );
  });
});

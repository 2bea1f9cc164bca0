import { getHeapSpaceStatistics } from 'node:v8';
import { expect, test } from 'vitest';
import { collectHeap } from '../../../daemon/heap-collection.ts';

const MIB = 1 << 20;
const OBJECTS = 50_000;
const youngBytes = (): number =>
  getHeapSpaceStatistics().find(({ space_name }) => space_name === 'new_space')!.space_size;

test('the room of young objects is given back at once, whatever was allocated just now', async () => {
  let kept: { readonly round: number }[] = [];
  for (let round = 0; round < 20; round++) {
    kept = Array.from({ length: OBJECTS }, (_, i) => ({ i, round }));
  }
  expect(kept).toHaveLength(OBJECTS);
  expect(youngBytes()).toBeGreaterThan(8 * MIB);
  kept = [];
  await collectHeap();
  expect(youngBytes()).toBeLessThanOrEqual(4 * MIB);
});

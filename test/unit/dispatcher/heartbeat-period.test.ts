import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  BEATS_PER_SECOND_MAX,
  heartbeatPeriodMs,
} from '../../../manager/dispatcher/heartbeat-period.ts';

describe('heartbeat period', () => {
  test.each([
    ['is the one chosen in a small cluster', 2_000, 0, 0, 2_000],
    ['is the least one in a cluster that stored less', 0.000_005, 0, 0, 500],
    ['does not stay a step above the least one', 0.000_005, 10, 1_000, 500],
    ['is so up to the budget', 2_000, 2_000, 2_000, 2_000],
    ['grows in steps beyond it', 2_000, 2_001, 2_000, 2_500],
    ['grows in proportion', 2_000, 5_000, 2_000, 5_000],
    ['leaves a longer one that was chosen', 30_000, 5_000, 5_000, 30_000],
    ['takes up a shorter one that was chosen', 1_000, 10, 5_000, 1_000],
    ['does not shrink by one step', 2_000, 4_400, 5_000, 5_000],
    ['shrinks by two', 2_000, 4_000, 5_000, 4_000],
    ['goes back to the one chosen', 2_000, 1_900, 2_500, 2_000],
  ])('%s', (_what, chosenMs, nodes, presentMs, expected) => {
    expect(heartbeatPeriodMs(chosenMs, nodes, presentMs)).toBe(expected);
  });

  test('keeps the beats within the budget, and never falls below what was chosen', () => {
    const counts = fc.array(fc.nat(20_000), { minLength: 1, maxLength: 20 });
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 60_000 }), counts, (chosenMs, history) => {
        let periodMs = 0;
        for (const nodes of history) {
          periodMs = heartbeatPeriodMs(chosenMs, nodes, periodMs);
          expect(periodMs).toBeGreaterThanOrEqual(chosenMs);
          expect(nodes / (periodMs / 1_000)).toBeLessThanOrEqual(BEATS_PER_SECOND_MAX);
        }
      }),
    );
  });
});

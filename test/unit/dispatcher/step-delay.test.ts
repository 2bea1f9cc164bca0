import { expect, test } from 'vitest';
import { stepDelayMs } from '../../../manager/dispatcher/step-delay.ts';

test.each([
  [0, 10],
  [2, 10],
  [5, 20],
  [25, 100],
  [400, 100],
])('after a step that took %d ms commits wait for %d ms', (tookMs, delayMs) => {
  expect(stepDelayMs(tookMs)).toBe(delayMs);
});

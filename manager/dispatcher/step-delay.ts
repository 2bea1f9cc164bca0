/** How long commits wait for others, so that they go to the agents as one step. */
import { restMs } from '../../common/base/rest.ts';

/**
 * At least: it is part of the time that every task takes to start. At most: Swarm's delay, always. When thousands of tasks
 * move, an agent gets its own in a few messages and not one by one.
 */
const DELAY = { minMs: 10, maxMs: 100 };

/** @param tookMs time that the last step took to make, ms */
export function stepDelayMs(tookMs: number): number {
  return restMs(tookMs, DELAY);
}

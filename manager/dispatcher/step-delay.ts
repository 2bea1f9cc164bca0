/** How long commits wait for others, so that they go to the agents as one step. */

/** When there is little to do: it is part of the time that every task takes to start. */
const DELAY_MIN_MS = 10;
/** Swarm's delay, always. */
const DELAY_MAX_MS = 100;
/**
 * So many times as long as the last step took to make: when thousands of tasks move, an agent gets its own in a few
 * messages and not one by one, and steps take a fifth of the leader's time at most.
 */
const REST_FACTOR = 4;

/** @param tookMs time that the last step took to make, ms */
export function stepDelayMs(tookMs: number): number {
  return Math.min(DELAY_MAX_MS, Math.max(DELAY_MIN_MS, REST_FACTOR * tookMs));
}

/** How long somebody rests who works on all that has come since the last time, so that it comes in larger parts. */

/** So many times as long as the work took: it takes a fifth of the process's time at most. */
const REST_FACTOR = 4;

/**
 * @param tookMs time that the work took the last time, ms
 * @param minMs rest when there is little to do
 * @param maxMs rest whatever it took
 */
export function restMs(
  tookMs: number,
  { minMs, maxMs }: { readonly minMs: number; readonly maxMs: number },
): number {
  return Math.min(maxMs, Math.max(minMs, REST_FACTOR * tookMs));
}

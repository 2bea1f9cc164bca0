/** Arithmetic on runs of entries: sizes and cuts. */
import { type Entry, entrySizeBytes } from './types.ts';

/** Total counted against size limits. */
export function totalSizeBytes(entries: readonly Entry[]): number {
  let size = 0;
  for (const entry of entries) size += entrySizeBytes(entry);
  return size;
}

/** Payload only: empty entries weigh nothing, so limits on it never refuse them. */
export function payloadBytes(entries: readonly Entry[]): number {
  let size = 0;
  for (const entry of entries) size += entry.data.length;
  return size;
}

/**
 * A copy of `entries[from..to)` cut before its total would exceed `maxSizeBytes`, but never empty
 * when the range is not.
 */
export function limitEntries(
  entries: readonly Entry[],
  from: number,
  to: number,
  maxSizeBytes: number,
): Entry[] {
  let size = 0;
  let end = from;
  while (end < to) {
    size += entrySizeBytes(entries[end]!);
    if (size > maxSizeBytes && end > from) break;
    end++;
  }
  return entries.slice(from, end);
}

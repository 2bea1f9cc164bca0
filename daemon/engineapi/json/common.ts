/** Small conversions that every kind of answer needs. */

/** RFC 3339 in UTC. 0 is Go's zero time, which clients print as "never". */
export function isoTime(ms: number): string {
  return ms === 0 ? '0001-01-01T00:00:00Z' : new Date(ms).toISOString();
}

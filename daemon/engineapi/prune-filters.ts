/** What a prune takes of objects that nobody uses: `label`, `label!` and `until`, as Docker's. */
import { SkepError } from '../../common/base/errors.ts';
import type { Filters } from './filters.ts';

export const PRUNE_FILTERS: readonly string[] = ['label', 'label!', 'until'];

export interface Prunable {
  readonly labels: Readonly<Record<string, string>>;
  readonly createdAtMs: number;
}

/** Throws `invalid-argument` for an `until` that is no time. @param nowMs what durations are before */
export function pruneTest(filters: Filters, nowMs: number): (object: Prunable) => boolean {
  const beforeMs = untilMs(filters, nowMs);
  return ({ labels, createdAtMs }) =>
    createdAtMs < beforeMs &&
    filters.labels('label', labels) &&
    !filters.get('label!').some((filter) => hasLabel(labels, filter));
}

/** What is meant was made before; Infinity = whenever. Throws as `pruneTest`. */
export function untilMs(filters: Filters, nowMs: number): number {
  return Math.min(...filters.get('until').map((text) => instantBeforeMs(text, nowMs)));
}

function hasLabel(labels: Prunable['labels'], filter: string): boolean {
  const [key = '', value] = filter.split(/=(.*)/s);
  return Object.hasOwn(labels, key) && (value === undefined || labels[key] === value);
}

const UNIT_MS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

/** `1h30m` before now, unix seconds, or RFC 3339. */
function instantBeforeMs(text: string, nowMs: number): number {
  if (/^(?:\d+(?:\.\d+)?(?:h|m|s|ms))+$/.test(text)) {
    const parts = text.matchAll(/(\d+(?:\.\d+)?)(h|ms|m|s)/g);
    return nowMs - [...parts].reduce((sum, [, n, unit]) => sum + Number(n) * UNIT_MS[unit!]!, 0);
  }
  const ms = /^\d+(?:\.\d+)?$/.test(text) ? Number(text) * 1000 : Date.parse(text);
  if (Number.isFinite(ms)) return ms;
  throw new SkepError('invalid-argument', `invalid filter 'until': ${text} is no time or duration`);
}

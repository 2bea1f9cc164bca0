import { describe, expect, test } from 'vitest';
import { Filters } from '../../../daemon/engineapi/filters.ts';
import { PRUNE_FILTERS, pruneTest } from '../../../daemon/engineapi/prune-filters.ts';

const NOW_MS = Date.UTC(2026, 0, 2, 3, 4, 5);
const HOUR_MS = 3_600_000;

function takes(filters: object, labels: Record<string, string>, ageMs = 0): boolean {
  const parsed = Filters.parse(JSON.stringify(filters), PRUNE_FILTERS);
  return pruneTest(parsed, NOW_MS)({ labels, createdAtMs: NOW_MS - ageMs });
}

describe('what a prune takes', () => {
  test('is everything without a filter', () => {
    expect(takes({}, {})).toBe(true);
  });

  test.each([
    [{ label: ['a'] }, { a: '1' }, true],
    [{ label: ['a=2'] }, { a: '1' }, false],
    [{ label: ['a', 'b'] }, { a: '1' }, false],
    [{ 'label!': ['a'] }, { a: '1' }, false],
    [{ 'label!': ['a=2'] }, { a: '1' }, true],
    [{ 'label!': ['b', 'a=1'] }, { a: '1' }, false],
  ] as const)('follows labels: %j', (filters, labels, isTaken) => {
    expect(takes(filters, labels)).toBe(isTaken);
  });

  test.each([
    ['1h30m', 2 * HOUR_MS, true],
    ['1h30m', HOUR_MS, false],
    [String(NOW_MS / 1000 - 60), 61_000, true],
    [String(NOW_MS / 1000 - 60), 59_000, false],
    ['2026-01-02T03:00:00Z', HOUR_MS, true],
    ['2026-01-02T03:00:00Z', 0, false],
  ])('was made before %s', (until, ageMs, isTaken) => {
    expect(takes({ until: [until] }, {}, ageMs)).toBe(isTaken);
  });

  test('of several times the first one counts', () => {
    expect(takes({ until: ['1h', '3h'] }, {}, 2 * HOUR_MS)).toBe(false);
  });

  test('is nothing for a time that is none', () => {
    expect(() => takes({ until: ['soon'] }, {})).toThrow("invalid filter 'until': soon is no time");
  });
});

import { describe, expect, test } from 'vitest';
import {
  longestOutage,
  mergeSpans,
  overlapMs,
  type Reach,
  type ReachChange,
  servingSets,
} from '../../support/availability.ts';

const FIVE = ['a', 'b', 'c', 'd', 'e'];
const whole: Reach = { up: FIVE, cut: [], voters: [FIVE] };
const without = (...down: string[]): Reach => ({
  ...whole,
  up: FIVE.filter((host) => !down.includes(host)),
});
const bothWays = (left: string[], right: string[]): string[] =>
  left.flatMap((a) => right.flatMap((b) => [`${a}>${b}`, `${b}>${a}`]));

/** The largest serving set, or nothing. */
function serving(reach: Reach): string {
  const sets = servingSets(reach).map((set) => set.join(''));
  return sets.sort((a, b) => b.length - a.length)[0] ?? '';
}

describe('a cluster that has to answer', () => {
  test.each<[string, Reach, string]>([
    ['is whole', whole, 'abcde'],
    ['has two of five down', without('a', 'd'), 'bce'],
    ['has three of five down: it need not', without('a', 'b', 'c'), ''],
    ['is split in two and three', { ...whole, cut: bothWays(['a', 'b'], ['c', 'd', 'e']) }, 'cde'],
    [
      'is split in two, one and two: it need not',
      {
        ...whole,
        cut: [...bothWays(['a', 'b'], ['c', 'd', 'e']), ...bothWays(['c'], ['d', 'e'])],
      },
      '',
    ],
    [
      'has a host that nobody hears',
      { ...whole, cut: ['b', 'c', 'd', 'e'].map((x) => `a>${x}`) },
      'bcde',
    ],
    ['has one link that works one way only', { ...whole, cut: ['a>b'] }, 'acde'],
    ['has fewer voters than hosts', { ...without('a'), voters: [['a', 'b', 'c']] }, 'bcde'],
    [
      'has lost two of three voters: it need not',
      { ...without('a', 'b'), voters: [['a', 'b', 'c']] },
      '',
    ],
    [
      'changes its voters, and needs a majority of both',
      {
        ...without('a'),
        voters: [
          ['a', 'b', 'c'],
          ['a', 'b'],
        ],
      },
      '',
    ],
  ])('%s', (_, reach, largest) => {
    expect(serving(reach)).toBe(largest);
  });
});

describe('longest outage', () => {
  const at = (atMs: number, reach: Reach): ReachChange => ({ atMs, reach });
  const lost = without('a', 'b', 'c');

  test.each<[string, ReachChange[], number[], [number, number] | null]>([
    ['is the longest time between two successes', [at(0, whole)], [10, 30, 80], [30, 80]],
    ['goes on to the end of the run', [at(0, whole)], [10], [10, 100]],
    ['begins with the cluster, not before', [at(30, whole)], [80], [30, 80]],
    ['does not count without a majority', [at(0, whole), at(20, lost)], [15], [0, 15]],
    ['counts up to the loss of the majority', [at(0, whole), at(40, lost)], [10], [10, 40]],
    [
      'counts anew from when a majority is back',
      [at(0, whole), at(20, lost), at(70, whole)],
      [20, 95],
      [70, 95],
    ],
    [
      'goes on over faults that leave a majority as it was',
      [at(0, whole), at(30, without('a')), at(60, without('a', 'b'))],
      [25],
      [25, 100],
    ],
    [
      'does not go on from one majority to another',
      [at(0, without('a', 'b')), at(50, without('d', 'e'))],
      [],
      [0, 50],
    ],
    [
      'ends with the run, though what was broken is mended after it',
      [at(0, whole), at(90, without('a')), at(400, whole)],
      [30, 60, 99],
      [60, 99],
    ],
    ['is nothing where there was never a majority', [at(0, lost)], [], null],
  ])('%s', (_, changes, successes, span) => {
    const longest = longestOutage(changes, successes, 100);
    expect(longest && [longest.fromMs, longest.toMs]).toEqual(span);
  });
});

describe('spans', () => {
  test('that overlap or touch are merged', () => {
    const spans = [
      { fromMs: 5, toMs: 9 },
      { fromMs: 0, toMs: 3 },
      { fromMs: 3, toMs: 4 },
      { fromMs: 6, toMs: 7 },
    ];
    expect(mergeSpans(spans)).toEqual([
      { fromMs: 0, toMs: 4 },
      { fromMs: 5, toMs: 9 },
    ]);
  });

  test('take away only what lies inside', () => {
    const stalls = [
      { fromMs: 0, toMs: 12 },
      { fromMs: 14, toMs: 15 },
      { fromMs: 19, toMs: 30 },
    ];
    expect(overlapMs({ fromMs: 10, toMs: 20 }, stalls)).toBe(4);
  });
});

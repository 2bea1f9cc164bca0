import { beforeEach, describe, expect, test } from 'vitest';
import type { NodeId } from '../../../common/model/ids.ts';
import { Liveness } from '../../../manager/dispatcher/liveness.ts';
import { idOf } from '../../support/builders.ts';

const LOOK_MS = 200;
const a = idOf<NodeId>('a');
const b = idOf<NodeId>('b');

let nowMs: number;
let liveness: Liveness;

beforeEach(() => {
  nowMs = 1_000_000;
  liveness = new Liveness(() => nowMs, LOOK_MS);
});

/** Time passes, and the owner looks as often as it should. */
function pass(ms: number): void {
  for (let left = ms; left > 0; left -= LOOK_MS) {
    nowMs += Math.min(LOOK_MS, left);
    liveness.listen();
  }
}

describe('a connected node', () => {
  test('is silent after three of the periods that it was told', () => {
    liveness.connect(a);
    liveness.promise(a, 2_000);
    pass(5_999);
    expect(liveness.silent()).toEqual([]);
    pass(1);
    expect(liveness.silent()).toEqual([a]);
  });

  test('is not while it is heard', () => {
    liveness.connect(a);
    liveness.promise(a, 2_000);
    for (let i = 0; i < 10; i++) {
      pass(5_000);
      liveness.heard(a);
    }
    expect(liveness.silent()).toEqual([]);
  });

  test('is waited for without limit until it is told a period, and then from that moment', () => {
    liveness.connect(a);
    pass(100_000);
    expect(liveness.silent()).toEqual([]);
    liveness.promise(a, 2_000);
    expect(liveness.silent()).toEqual([]);
    pass(6_000);
    expect(liveness.silent()).toEqual([a]);
  });

  test('has until the end of the longer period when it was just told that one', () => {
    liveness.connect(a);
    liveness.promise(a, 2_000);
    pass(5_000);
    liveness.promise(a, 5_000);
    pass(9_900);
    expect(liveness.silent()).toEqual([]);
    pass(100);
    expect(liveness.silent()).toEqual([a]);
  });

  test('has three of the shorter ones from the moment when it was told that', () => {
    liveness.connect(a);
    liveness.promise(a, 60_000);
    pass(59_000);
    liveness.promise(a, 2_000);
    expect(liveness.silent()).toEqual([]);
    pass(5_999);
    liveness.promise(a, 2_000); // told again, which is no news
    expect(liveness.silent()).toEqual([]);
    pass(1);
    expect(liveness.silent()).toEqual([a]);
  });
});

describe('a node without a session', () => {
  test.each([
    ['broken', 2_000, 2_000],
    ['broken', 30_000, 2_000],
    ['returning', 2_000, 15_000],
    ['returning', 30_000, 90_000],
    ['unheard', 2_000, 20_000],
    ['unheard', 30_000, 180_000],
  ] as const)('%s, with a period of %i ms, is lost after %i ms', (absence, periodMs, graceMs) => {
    liveness.miss(a, absence, periodMs);
    pass(graceMs - 1);
    expect(liveness.overdue()).toEqual([]);
    pass(1);
    expect(liveness.overdue()).toEqual([a]);
  });

  test('that came back in time is not', () => {
    liveness.miss(a, 'broken', 2_000);
    pass(1_900);
    liveness.connect(a);
    pass(60_000);
    expect(liveness.overdue()).toEqual([]);
  });

  test('that was forgotten is not either', () => {
    liveness.miss(a, 'broken', 2_000);
    liveness.forget(a);
    pass(60_000);
    expect(liveness.overdue()).toEqual([]);
    expect(liveness.size).toBe(0);
  });

  test('has longer when many went at once: the leader takes them back one by one', () => {
    const many = Array.from({ length: 1_000 }, (_, i) => idOf<NodeId>(`n${i}x`));
    for (const id of many) liveness.miss(id, 'broken', 2_000);
    pass(8_000);
    for (const id of many.slice(0, 990)) liveness.connect(id);
    // Those that are left had the same queue before them.
    pass(5_900);
    expect(liveness.overdue()).toEqual([]);
    pass(100);
    expect(liveness.overdue()).toEqual(many.slice(990));
    for (const id of many.slice(990)) liveness.forget(id);
    // With all accounted for, the next one that goes is one alone.
    liveness.miss(a, 'broken', 2_000);
    pass(2_000);
    expect(liveness.overdue()).toEqual([a]);
  });
});

test('time in which this process did not run is nobody’s silence', () => {
  liveness.connect(a);
  liveness.promise(a, 2_000);
  liveness.miss(b, 'broken', 2_000);
  pass(1_000);
  nowMs += 60_000; // stopped
  liveness.listen();
  expect(liveness.silent()).toEqual([]);
  expect(liveness.overdue()).toEqual([]);
  liveness.heard(a);
  pass(1_000);
  expect(liveness.overdue()).toEqual([b]);
  pass(4_999);
  expect(liveness.silent()).toEqual([]);
  pass(1);
  expect(liveness.silent()).toEqual([a]);
});

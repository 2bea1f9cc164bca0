import { beforeEach, expect, test } from 'vitest';
import { Nudge } from '../../../common/base/nudge.ts';
import { FakeClock } from '../../support/fake-clock.ts';

let clock: FakeClock;
let nudge: Nudge;
let abort: AbortController;
let over: number;

beforeEach(() => {
  clock = new FakeClock();
  nudge = new Nudge();
  abort = new AbortController();
  over = 0;
});

const wait = (): Promise<void> =>
  nudge.wait(clock, 1000, abort.signal).then(() => {
    over++;
  });

test('a wait ends with its time', async () => {
  void wait();
  await clock.advance(999);
  expect(over).toBe(0);
  await clock.advance(1);
  expect(over).toBe(1);
});

test('it ends when nudged; what was given while nobody waited ends the next one, and that alone', async () => {
  const first = wait();
  nudge.give();
  await first;
  nudge.give();
  nudge.give();
  await wait();
  void wait();
  await clock.advance(999);
  expect(over).toBe(2);
  await clock.advance(1);
  expect(over).toBe(3);
  expect(clock.pending).toBe(0);
});

test('an abort is told, nudged or not', async () => {
  const waiting = wait();
  abort.abort(new Error('gone'));
  await expect(waiting).rejects.toThrow('gone');
  nudge.give();
  await expect(wait()).rejects.toThrow('gone');
  expect([over, clock.pending]).toEqual([0, 0]);
});

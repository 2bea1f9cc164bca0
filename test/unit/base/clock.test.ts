import { stat } from 'node:fs';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { SystemClock } from '../../../common/base/clock.ts';

describe('system clock', () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  test.each([0, 5, 2 ** 31 - 1, 2 ** 31, 3 * 2 ** 31 + 7])('fires once after %d ms', (delayMs) => {
    const fired = vi.fn();
    new SystemClock().setTimer(delayMs, fired);
    vi.advanceTimersByTime(Math.max(0, delayMs - 1));
    expect(fired).toHaveBeenCalledTimes(delayMs === 0 ? 1 : 0);
    vi.advanceTimersByTime(10);
    expect(fired).toHaveBeenCalledTimes(1);
  });

  test('a long timer is cancelled in each of its parts', () => {
    const fired = vi.fn();
    const timer = new SystemClock().setTimer(2 ** 32, fired);
    vi.advanceTimersByTime(2 ** 31 + 5);
    timer.cancel();
    vi.advanceTimersByTime(2 ** 33);
    expect(fired).not.toHaveBeenCalled();
  });

  test('0 ms is the end of this turn, before anything that waits for time', async () => {
    vi.useRealTimers();
    const order = await new Promise<string[]>((resolve) => {
      const seen: string[] = [];
      stat('.', () => {
        setTimeout(() => resolve([...seen, 'timer']), 0);
        new SystemClock().setTimer(0, () => seen.push('cancelled')).cancel();
        new SystemClock().setTimer(0, () => seen.push('turn'));
        void Promise.resolve().then(() => seen.push('promise'));
      });
    });
    expect(order).toEqual(['promise', 'turn', 'timer']);
  });

  test('a sleep ends with the reason of its signal', async () => {
    const abort = new AbortController();
    const sleep = new SystemClock().sleep(1000, abort.signal);
    abort.abort(new Error('enough'));
    await expect(sleep).rejects.toThrow('enough');
  });
});

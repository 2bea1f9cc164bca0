import { describe, expect, test } from 'vitest';
import { endsWithin, withDeadline } from '../../../common/base/deadline.ts';
import { FakeClock } from '../../support/fake-clock.ts';

describe('limits of time', () => {
  test('work that is late is told to end, work in time leaves no timer', async () => {
    const clock = new FakeClock();
    const options = { clock, limitMs: 100, action: 'dig' };
    expect(await withDeadline(options, async () => 'done')).toBe('done');
    expect(clock.pending).toBe(0);
    const late = withDeadline(
      options,
      (signal) =>
        new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason))),
    );
    late.catch(() => {}); // looked at below
    await clock.advance(100);
    await expect(late).rejects.toThrow('dig: not done within 100 ms');
  });

  test('work that is waited for no longer goes on, and its failure is nobody’s', async () => {
    const clock = new FakeClock();
    expect(await endsWithin(clock, 100, Promise.resolve())).toBe(true);
    await expect(endsWithin(clock, 100, Promise.reject(new Error('no')))).rejects.toThrow('no');
    expect(clock.pending).toBe(0);
    let fail = (_: Error): void => {};
    const work = new Promise<void>((_, reject) => {
      fail = reject;
    });
    const late = endsWithin(clock, 100, work);
    await clock.advance(100);
    expect(await late).toBe(false);
    fail(new Error('too late to matter')); // unhandled it would fail this file
    await clock.advance(0);
  });
});

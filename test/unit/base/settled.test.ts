import { describe, expect, test } from 'vitest';
import { settled } from '../../../common/base/settled.ts';

describe('settled', () => {
  test('gives every value in its place, of promises and of plain values', async () => {
    expect(await settled([Promise.resolve('a'), 2, Promise.resolve(null)])).toEqual(['a', 2, null]);
  });

  test('rejects as the first in order, once none is under way', async () => {
    const steps: string[] = [];
    let finish = (): void => {};
    const slow = new Promise<void>((resolve) => {
      finish = resolve;
    }).then(() => void steps.push('slow'));
    const all = settled([
      slow,
      Promise.reject(new Error('first')),
      Promise.reject(new Error('no')),
    ]);
    const seen = all.catch((err: Error) => steps.push(err.message));
    await Promise.resolve();
    expect(steps).toEqual([]);
    finish();
    await seen;
    expect(steps).toEqual(['slow', 'first']);
  });
});

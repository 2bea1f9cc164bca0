import { describe, expect, test } from 'vitest';
import { Slots } from '../../../worker/images/slots.ts';

/** Everything that is due by then has happened. */
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('slots', () => {
  const never = new AbortController().signal;

  test('run so many at once, the others in the order of their asking', async () => {
    const slots = new Slots(2);
    const log: string[] = [];
    const ends: (() => void)[] = [];
    const start = (name: string): Promise<void> =>
      slots.run(never, async () => {
        log.push(name);
        await new Promise<void>((resolve) => ends.push(resolve));
      });
    const all = ['a', 'b', 'c', 'd'].map(start);
    await turn();
    expect(log).toEqual(['a', 'b']);
    ends[0]!();
    await all[0];
    await turn();
    expect(log).toEqual(['a', 'b', 'c']);
    ends[1]!();
    await all[1];
    await turn();
    expect(log).toEqual(['a', 'b', 'c', 'd']);
    for (const end of ends) end();
    await Promise.all(all);
  });

  test('are free again after failures and after aborted waits', async () => {
    const slots = new Slots(1);
    await expect(slots.run(never, () => Promise.reject(new Error('x')))).rejects.toThrow('x');
    let end: () => void = () => {};
    const first = slots.run(never, () => new Promise<void>((resolve) => (end = resolve)));
    const abort = new AbortController();
    const second = slots.run(abort.signal, async () => 'second');
    const third = slots.run(never, async () => 'third');
    abort.abort(new Error('gone'));
    await expect(second).rejects.toThrow('gone');
    end();
    await first;
    expect(await third).toBe('third');
    await expect(slots.run(abort.signal, async () => 'late')).rejects.toThrow('gone');
    expect(await slots.run(never, async () => 'last')).toBe('last');
  });
});

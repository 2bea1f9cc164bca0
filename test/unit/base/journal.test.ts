import { describe, expect, test } from 'vitest';
import { Journal } from '../../../common/base/journal.ts';

const forever = new AbortController().signal;

function filled(limit: number, count: number): Journal<number> {
  const journal = new Journal<number>(limit);
  for (let i = 1; i <= count; i++) journal.append(i);
  return journal;
}

describe('journal', () => {
  test.each([
    [0, []],
    [2, [1, 2]],
    [3, [1, 2, 3]],
    [4, [2, 3, 4]],
    [7, [5, 6, 7]],
    [100, [98, 99, 100]],
  ])('with room for three keeps the newest of %i', (count, kept) => {
    expect(filled(3, count).kept()).toEqual(kept);
  });

  test('a reader gets what comes after it, each at its own pace', async () => {
    const journal = filled(3, 2);
    const [a, b] = [journal.reader(), journal.reader()];
    journal.append(3);
    expect(await a.next(forever)).toEqual([3]);
    journal.append(4);
    expect(await a.next(forever)).toEqual([4]);
    expect(await b.next(forever)).toEqual([3, 4]);
  });

  test('a reader that waits is woken', async () => {
    const journal = new Journal<number>(3);
    const waiting = journal.reader().next(forever);
    journal.append(1);
    expect(await waiting).toEqual([1]);
  });

  test('a reader may be behind by as many as are kept, and by no more', async () => {
    const journal = new Journal<number>(3);
    const [near, far] = [journal.reader(), journal.reader()];
    for (let i = 1; i <= 3; i++) journal.append(i);
    expect(await near.next(forever)).toEqual([1, 2, 3]);
    journal.append(4);
    await expect(far.next(forever)).rejects.toMatchObject({
      code: 'resource-exhausted',
      message: 'read events: 4 came unread, 3 are kept',
    });
  });

  test('an aborted reader waits no longer, and may go on', async () => {
    const journal = new Journal<number>(3);
    const reader = journal.reader();
    const abort = new AbortController();
    const waiting = reader.next(abort.signal);
    abort.abort(new Error('enough'));
    await expect(waiting).rejects.toThrow('enough');
    journal.append(1);
    expect(await reader.next(forever)).toEqual([1]);
  });
});

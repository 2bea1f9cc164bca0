import { expect, test } from 'vitest';
import { append } from '../../../common/base/append.ts';

test('adds to the end, also what is far too much for arguments', () => {
  const more = Array.from({ length: 1_000_000 }, (_, index) => index);
  const list = [-1];
  append(list, more);
  expect(list).toHaveLength(more.length + 1);
  expect([list[0], list[1], list.at(-1)]).toEqual([-1, 0, 999_999]);
});

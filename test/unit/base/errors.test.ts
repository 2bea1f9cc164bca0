import { expect, test } from 'vitest';
import { describeError } from '../../../common/base/errors.ts';

test.each([
  [
    'the words of its causes follow',
    new Error('a', { cause: new Error('b', { cause: 'c' }) }),
    'a: b: c',
  ],
  ['the same words come once', new Error('a', { cause: new Error('a') }), 'a'],
  ['so do those of several', new Error('a: b', { cause: new Error('a', { cause: 'b' }) }), 'a: b'],
  ['another is no error', null, 'null'],
])('an error is told in words: %s', (_, err, words) => {
  expect(describeError(err)).toBe(words);
});

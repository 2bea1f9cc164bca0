import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { systemErrorWords } from '../../../common/base/system-errors.ts';

function failureOf(action: () => unknown): unknown {
  try {
    action();
  } catch (err) {
    return err;
  }
  throw new Error('nothing was thrown');
}

test.each<[string, unknown, string]>([
  [
    'a file that is not there',
    failureOf(() => readFileSync('/no/such/file')),
    'no such file or directory',
  ],
  ['a folder', failureOf(() => readFileSync('/')), 'illegal operation on a directory'],
  ['a code that the system has not', Object.assign(new Error('odd'), { code: 'ODD' }), 'ODD'],
  ['what has no code', new Error('odd', { cause: new Error('why') }), 'odd: why'],
])('%s in words', (_what, err, words) => {
  expect(systemErrorWords(err)).toBe(words);
});

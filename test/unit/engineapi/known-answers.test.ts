import { expect, test } from 'vitest';
import { KnownAnswers } from '../../../daemon/engineapi/known-answers.ts';

const textOf = (bytes: Buffer | null): string | undefined => bytes?.toString();

test('an answer is known for the revision of the state that it is of, by its question', () => {
  const answers = new KnownAnswers();
  const [state, other] = [{}, {}];
  expect(answers.get(state, 1, 'a')).toBeNull();
  expect(textOf(answers.keep(state, 1, 'a', '[1]'))).toBe('[1]\n');
  expect(textOf(answers.get(state, 1, 'a'))).toBe('[1]\n');
  expect(answers.get(state, 1, 'b')).toBeNull();
  expect(answers.get(state, 2, 'a')).toBeNull();
  expect(answers.get(other, 1, 'a')).toBeNull();
});

test('of an older revision it is sent, and not kept', () => {
  const answers = new KnownAnswers();
  const state = {};
  answers.keep(state, 2, 'a', '[2]');
  expect(textOf(answers.keep(state, 1, 'b', '[1]'))).toBe('[1]\n');
  expect(answers.get(state, 1, 'b')).toBeNull();
  expect(answers.get(state, 2, 'b')).toBeNull();
  expect(textOf(answers.get(state, 2, 'a'))).toBe('[2]\n');
});

test('so many are kept, none that is very large, and all go with the next revision', () => {
  const answers = new KnownAnswers();
  const state = {};
  answers.keep(state, 1, 'large', ' '.repeat(1 << 20));
  expect(answers.get(state, 1, 'large')).toBeNull();
  for (let i = 0; i < 100; i++) answers.keep(state, 1, String(i), '[]');
  const kept = Array.from({ length: 100 }, (_, i) => answers.get(state, 1, String(i)));
  expect(kept.filter((bytes) => bytes !== null)).toHaveLength(16);
  answers.keep(state, 2, 'x', '[]');
  expect(answers.get(state, 1, '0')).toBeNull();
});

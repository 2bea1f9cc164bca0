import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { KNOWN_DIFFERENCES } from '../../differential/differences.ts';
import { flatten, normalForm } from '../../differential/normal-form.ts';

const PAGE = join(import.meta.dirname, '../../../docs/differences.md');

describe('a known difference', () => {
  test.each(KNOWN_DIFFERENCES.map(({ why }) => why))('is on its page: %s', (why) => {
    const text = readFileSync(PAGE, 'utf8').replace(/\s+/g, ' ');
    expect(text).toContain(why);
  });
});

describe('the normal form of an answer', () => {
  const id = 'abcdefghijklmnopqrstuvwxy';

  test('has no ids, times and versions, and objects by their names', () => {
    const answer = {
      ID: id,
      Version: { Index: 7 },
      CreatedAt: '2026-01-01T00:00:00Z',
      Spec: { Networks: [{ Target: id }] },
      UpdateStatus: { StartedAt: 'x', Message: `early termination of task ${'z'.repeat(25)}` },
    };
    expect(normalForm(answer, new Map([[id, 'back']]))).toEqual({
      Spec: { Networks: [{ Target: 'back' }] },
      UpdateStatus: { Message: 'early termination of task <id>' },
    });
  });

  test('has no empty fields, but zero and false', () => {
    const answer = { A: '', B: null, C: [], D: {}, E: { F: null }, G: 0, H: false };
    expect(normalForm(answer, new Map())).toEqual({ G: 0, H: false });
  });

  test('has errors without the prefix of gRPC', () => {
    const answer = { message: 'rpc error: code = Unknown desc = update out of sequence' };
    expect(normalForm(answer, new Map())).toEqual({ message: 'update out of sequence' });
  });

  test('is compared path by path', () => {
    expect([...flatten({ a: { b: [1, { c: 'x' }] }, d: 0 })]).toEqual([
      ['a/b/0', 1],
      ['a/b/1/c', 'x'],
      ['d', 0],
    ]);
  });
});

import { describe, expect, test } from 'vitest';
import { matchingNames } from '../../../daemon/engineapi/name-expression.ts';

const NAMES = ['web', 'web-1', 'my_web', 'WEB', 'a(b', 'x1x1'];

describe('the filter name', () => {
  test.each([
    ['web', ['web', 'web-1', 'my_web']],
    ['^web$', ['web']],
    ['^web', ['web', 'web-1']],
    ['^(web|my_web)$', ['web', 'my_web']],
    ['web-[0-9]+', ['web-1']],
    ['web\\-1', ['web-1']],
    ['\\Aweb\\z', ['web']],
    ['(?i)^web$', ['web', 'WEB']],
    ['^[[:upper:]]+$', ['WEB']],
    ['(?P<n>my).web', ['my_web']],
    ['.*', NAMES],
    ['', NAMES],
  ])('%j shows %j', (text, expected) => {
    expect([...matchingNames([text], NAMES)]).toEqual(expected);
  });

  test.each([
    ['a(b', ['a(b']],
    ['a(', []],
    ['web(?=-)', []],
    ['(x1)\\1', []],
  ])('that is no expression of Go means its text: %j shows %j', (text, expected) => {
    expect([...matchingNames([text], NAMES)]).toEqual(expected);
  });

  test('shows what one of several means', () => {
    expect([...matchingNames(['^x', 'a(', '^my'], NAMES)].sort()).toEqual(['my_web', 'x1x1']);
  });

  test.each([
    ['repetitions', '^(a+)+$'],
    ['alternatives', `^${'(a|a)'.repeat(40)}$`],
  ])('is given up when it takes too long, by %s', (_, text) => {
    expect(() => matchingNames([text], [`${'a'.repeat(60)}!`])).toThrow(
      expect.objectContaining({ code: 'invalid-argument' }),
    );
  });

  test('is given up when all names of a list take too long together', () => {
    // Each of them takes milliseconds.
    const names = Array.from({ length: 10_000 }, (_, i) => `${'a'.repeat(18)}!${i}`);
    expect(() => matchingNames(['^(a+)+$'], names)).toThrow(
      expect.objectContaining({ code: 'invalid-argument' }),
    );
  });
});

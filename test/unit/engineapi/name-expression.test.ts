import { describe, expect, test } from 'vitest';
import { nameTest } from '../../../daemon/engineapi/name-expression.ts';

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
    expect(NAMES.filter(nameTest(text))).toEqual(expected);
  });

  test.each([
    ['a(b', ['a(b']],
    ['a(', []],
    ['web(?=-)', []],
    ['(x1)\\1', []],
  ])('that is no expression of Go means its text: %j shows %j', (text, expected) => {
    expect(NAMES.filter(nameTest(text))).toEqual(expected);
  });

  test('is given up when it takes too long', () => {
    expect(() => nameTest('^(a+)+$')(`${'a'.repeat(60)}!`)).toThrow(
      expect.objectContaining({ code: 'invalid-argument' }),
    );
  });
});

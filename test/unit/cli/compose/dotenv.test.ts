import { describe, expect, test } from 'vitest';
import { parseDotenv } from '../../../../cli/compose/dotenv.ts';

const parse = (text: string) =>
  Object.fromEntries(parseDotenv(text, '.env', { HOME: '/home/me', GIVEN: 'given' }));

describe('.env files', () => {
  test.each([
    ['A=1\nB=two words \n', { A: '1', B: 'two words' }],
    ['# c\n\n  A=1 # why\nB=a#b\n', { A: '1', B: 'a#b' }],
    ['export A=1\nA.B-c: 2\n', { A: '1', 'A.B-c': '2' }],
    ['A = 1\n', { A: '1' }],
    ['A=\nB=""\nC=\'\'\n', { A: '', B: '', C: '' }],
    ['A="a\\nb\\t\\"c\\" \\\\"\n', { A: 'a\nb\t"c" \\' }],
    ["A='$HOME \\n'\n", { A: '$HOME \\n' }],
    ['A="two\nlines"\nB=1\n', { A: 'two\nlines', B: '1' }],
    ['A="x" # why\nB=1\n', { A: 'x', B: '1' }],
    [
      'A=$HOME/x\nB="\u0024{A}/y"\nC=\u0024{NO:-d}\n',
      { A: '/home/me/x', B: '/home/me/x/y', C: 'd' },
    ],
    ['A="\\$HOME"\nB=$$HOME\n', { A: '$HOME', B: '$HOME' }],
    ['GIVEN=file\nB=$GIVEN\n', { GIVEN: 'file', B: 'given' }],
    ['GIVEN\nABSENT\n', { GIVEN: 'given' }],
    ['\uFEFFA=1\r\nB=2\r\n', { A: '1', B: '2' }],
    ['A=1\nA=2\n', { A: '2' }],
    ['A=http://x/?a=b\n', { A: 'http://x/?a=b' }],
  ])('%j', (text, expected) => expect(parse(text)).toEqual(expected));

  test.each([
    ['A=1\n=2\n', /^\.env:2: '=2' is no variable: expected KEY=VALUE$/],
    ['A B\n', /^\.env:1: variable 'A' is not followed by "="$/],
    ['A=1\n\nB="x\n', /^\.env:3: the value of 'B' has no closing "$/],
    ['A=\u0024{B:?give it}\n', /^\.env:1: required variable B is missing a value: give it$/],
  ])('%j is refused', (text, expected) => {
    expect(() => parse(text)).toThrow(expected);
  });
});

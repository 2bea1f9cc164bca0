import { describe, expect, test } from 'vitest';
import { parseDotenv } from '../../../../cli/compose/dotenv.ts';
import { lintStack } from '../../../../cli/compose/load-stack.ts';
import { stackRequestOf } from '../../../support/stack-files.ts';

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
    ['A=1\n  =2 \n', 2, 3, "'=2' is no variable: expected KEY=VALUE", '  =2 ', '  ^^'],
    ['A B\r\n', 1, 3, `variable 'A' is not followed by "="`, 'A B', '  ^'],
    ['A=1\n\nB="x\n', 3, 3, `the value of 'B' has no closing "`, 'B="x', '  ^^'],
    [
      'X=1\nA= \u0024{B:?give it} # c\n',
      ...[2, 4, 'required variable B is missing a value: give it'],
      ...['A= \u0024{B:?give it} # c', '   ^^^^^^^^^^^^^'],
    ],
  ] as [string, number, number, string, string, string][])(
    '%j is refused at its place',
    (text, line, column, rule, shown, caret) => {
      expect(() => parse(text)).toThrow(
        `.env:${line}:${column}: ${rule}\n  ${line} | ${shown}\n    | ${caret}`,
      );
    },
  );

  test('of a service is refused there, not in the stack file', () => {
    const text = 'services: {a: {image: a, env_file: [{path: a.env, format: dotenv}, b.env]}}\n';
    const files = { 'f.yml': text, 'a.env': 'A="x\n', 'b.env': 'A=1\nB C=2\n' };
    const { problems } = lintStack(stackRequestOf({ files }));
    expect(
      problems.map(({ source, line, column, message }) => [source.path, line, column, message]),
    ).toEqual([
      [expect.stringMatching(/a\.env$/), 1, 3, `the value of 'A' has no closing "`],
      [expect.stringMatching(/b\.env$/), 2, 1, "variable 'B C' has white space or no name"],
    ]);
  });
});

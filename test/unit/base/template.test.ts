import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { SkepError } from '../../../common/base/errors.ts';
import { parseTemplate, type TemplateLanguage } from '../../../common/base/template.ts';

const strict: TemplateLanguage = {
  functions: { shout: (text) => `${text}!` },
  missing: 'all',
};
const render = (text: string, value: unknown = {}, language = strict): string =>
  parseTemplate(text, language).render(value);

describe('templates', () => {
  const value = { A: { B: 'x' }, List: ['p', 'q'], N: 3, Empty: '' };

  test.each([
    ['{{.A.B}}{{$.A.B}}', 'xx'],
    ['{{shout .A.B | shout}}', 'x!!'],
    ['{{range .List}}{{.}},{{end}}', 'p,q,'],
    ['{{with .A}}{{.B}}{{end}}', 'x'],
    ['{{if .Empty}}a{{else if eq .N 3}}b{{else}}c{{end}}', 'b'],
    ['{{printf "%s-%d %q %%" .A.B .N "q"}}', 'x-3 "q" %'],
    ['{{if and (ge .N 3) (le .N 3) (lt "a" "b")}}in{{end}}', 'in'],
    ['{{if and (index .A "gone") .N}}a{{else}}b{{end}}', 'b'],
    ['{{if and .N (index .A "gone")}}a{{else}}b{{end}}', 'b'],
    [
      '{{and .N .A.B}} {{and .Empty .N}} {{or .Empty .N}} {{or .N .A.B}} {{or .Empty ""}}',
      'x  3 3 ',
    ],
    ['{{"}}"}}', '}}'],
    ['{{"a\\"}}b"}}', 'a"}}b'],
    ['{{`}}`}}', '}}'],
    ['a{{/* "}} */}}b', 'ab'],
    ['{{- /* trimmed */ -}} b', 'b'],
    ['\\t stays', '\\t stays'],
  ])('%s is %s', (text, expected) => expect(render(text, value)).toBe(expected));

  test.each([
    ['{{.A.C}}', "can't evaluate field C: there are B"],
    ['{{.Z}}', "can't evaluate field Z"],
    ['{{with .A}}{{.C}}{{end}}', "can't evaluate field C"],
    ['{{.A.B.C}}', "can't evaluate field C in x"],
    ['{{.constructor}}', "can't evaluate field constructor"],
    ['{{what .A}}', 'function "what" not defined'],
    ['{{hasOwnProperty .A}}', 'function "hasOwnProperty" not defined'],
    ['{{"a}}', 'unterminated quoted string'],
    ['{{`a}}', 'unterminated quoted string'],
    ['{{/* a}}', 'unclosed comment'],
    ['{{.A', 'unclosed action'],
    ['{{"\\x"}}', 'bad string'],
    ['{{printf "%s"}}', 'no value for %s'],
    ['{{printf "%T" 1}}', 'unknown verb %T'],
    ['{{}}', 'missing value for command'],
  ])('%s is an error', (text, message) => {
    expect(() => render(text, value)).toThrow(message);
    expect(() => render(text, value)).toThrow(SkepError);
  });

  test.each<[TemplateLanguage['missing'], string, string | null]>([
    ['none', '{{.Z}}', '<no value>'],
    ['root', '{{.Z}}', null],
    ['root', '{{.A.Z}}', '<no value>'],
    ['all', '{{.A.Z}}', null],
  ])('with missing = %s, %s is %s', (missing, text, expected) => {
    const run = () => render(text, value, { functions: {}, missing });
    if (expected === null) expect(run).toThrow("can't evaluate");
    else expect(run()).toBe(expected);
  });

  test('loops within loops have an end', () => {
    const list = { L: Array(100).fill('x') };
    const loop = (inner: string) => `{{range $.L}}${inner}{{end}}`;
    expect(() => render(loop(loop(loop(loop('x')))), list)).toThrow('more than 100000 steps');
  });

  test('output has an end', () => {
    const value = { L: Array(99).fill('x'), Text: 'x'.repeat(2 ** 20) };
    expect(() => render('{{range .L}}{{$.Text}}{{end}}', value)).toThrow('characters of output');
  });

  test.each([
    ['actions', '{{if 1}}'.repeat(1000)],
    ['parentheses', `{{${'('.repeat(10_000)}`],
    ['parentheses that close', `{{${'('.repeat(10_000)}1${')'.repeat(10_000)}}}`],
    ['quotes without an end', `{{ ${'"a" '.repeat(10_000)}`],
    ['openings', '{{'.repeat(50_000)],
  ])('many %s are refused, and soon', (_, text) => {
    expect(() => render(text)).toThrow(SkepError);
  });

  test('whatever is given, there is an answer or a typed error', () => {
    const piece = fc.constantFrom(
      ...['{{', '}}', '{{if ', '{{range ', '{{end}}', '{{else}}', '{{with ', '.A', '.B', '$', '"'],
      ...['`', '|', '(', ')', ' ', 'printf', 'index', 'len', 'eq', '-', '/*', '*/', '1', 'x', '\\'],
    );
    const text = fc.array(piece, { maxLength: 30 }).map((pieces) => pieces.join(''));
    fc.assert(
      fc.property(text, (given) => {
        try {
          expect(typeof render(given, { A: { B: 'x' }, B: ['y'] })).toBe('string');
        } catch (err) {
          if (!(err instanceof SkepError)) throw err;
        }
      }),
      { numRuns: 2000 },
    );
  });
});

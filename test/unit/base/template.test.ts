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
  const value = {
    ...{ A: { B: 'x' }, List: ['p', 'q'], N: 3, Empty: '' },
    ...{ Tree: { b: 2, a: 1 }, Empties: [] },
  };

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
    ['{{$x := .A.B}}{{$x}}{{with .N}}{{$x}}{{.}}{{end}}', 'xx3'],
    ['{{$x := 1}}{{if $x}}{{$x = 2}}{{$x := 5}}{{end}}{{$x}}', '2'],
    ['{{range $i, $e := .List}}{{$i}}{{$e}} {{end}}', '0p 1q '],
    ['{{range $e := .List}}{{if eq $e "q"}}{{break}}{{end}}{{$e}}{{end}}', 'p'],
    ['{{range .List}}{{if eq . "p"}}{{continue}}{{end}}{{.}}{{end}}', 'q'],
    ['{{range $k, $v := .Tree}}{{$k}}{{$v}} {{else}}none{{end}}', 'a1 b2 '],
    ['{{range .Empties}}x{{else}}none{{end}}{{range 3}}{{.}}{{end}}', 'none012'],
    ['{{with .Empty}}a{{else with .N}}{{.}}{{end}}', '3'],
    ['{{(index .List 1)}} {{(.A).B}} {{index .Tree "a"}}', 'q x 1'],
    ['{{and .Empty (index .List 7)}}{{or .N (index .List 7)}}', '3'],
    ['{{len "äb"}} {{len .List}} {{len .Tree}}', '3 2 2'],
    ['{{slice "abcd" 1 3}} {{slice .List 1}}', 'bc [q]'],
    ['{{print 1 2 "a" "b" 3}}', '1 2ab3'],
    [
      '{{html "<a & \'b\'>"}} {{js "it\'s"}} {{urlquery "a b&"}}',
      "&lt;a &amp; &#39;b&#39;&gt; it\\'s a+b%26",
    ],
    ['{{printf "[%5s|%-5s|%.2s]" "ab" "ab" "abc"}}', '[   ab|ab   |ab]'],
    ['{{printf "[%5d|%-5d|%05d|%+d]" 42 42 -42 42}}', '[   42|42   |-0042|+42]'],
    [
      '{{printf "%.2f %8.3f %e %g %g" 3.14159 2.5 12345.678 0.00001 100000}}',
      '3.14    2.500 1.234568e+04 1e-05 100000',
    ],
    [
      '{{printf "%x %X %#x %o %b %x %c %U %t" 255 255 255 8 5 "hi" 65 65 true}}',
      'ff FF 0xff 10 101 6869 A U+0041 true',
    ],
    ["{{0x10}} {{1e3}} {{-1.5}} {{'a'}}", '16 1000 -1.5 97'],
    ['{{"x" | printf "%s-%s" "y"}}', 'y-x'],
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
    ['{{$y}}', 'undefined variable "$y"'],
    ['{{if .N}}{{$y := 1}}{{end}}{{$y}}', 'undefined variable "$y"'],
    ['{{$y = 1}}', 'undefined variable "$y"'],
    ['{{$a, $b := .A}}', 'too many variables'],
    ['{{.A := 1}}', 'bad variables'],
    ['{{break}}', '{{break}} outside {{range}}'],
    ['{{define "a"}}{{end}}', '{{define}} is not supported'],
    ['{{index .List 2}}', 'index: 2 is out of range of 2'],
    ['{{slice "ab" 3}}', 'slice: 3 to 2 is no range'],
    ['{{printf "%d" "x"}}', 'printf: %d of x'],
    ['{{printf "%s" "x" "y"}}', 'printf: no verb for y'],
    ['{{printf "%9999s" "x"}}', 'printf: %9999s is wider than 1000'],
    ['{{len 3}}', 'len of type number'],
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

  test.each([
    ['numbers', '{{range 100}}{{range 99999}}{{end}}{{end}}'],
    ['as many numbers as there are', '{{range 9007199254740991}}{{end}}'],
    ['lists', '{{range $.L}}{{range $.L}}{{range $.L}}{{end}}{{end}}{{end}}'],
  ])('passes that do nothing are steps: %s', (_, text) => {
    expect(() => render(text, { L: Array(100).fill('x') })).toThrow('more than 100000 steps');
  });

  test('of a loop that is left early only the passes count', () => {
    expect(render('{{range 9007199254740991}}{{.}}{{break}}{{else}}none{{end}}')).toBe('0');
    expect(render('{{range 0}}{{.}}{{else}}none{{end}}')).toBe('none');
  });

  test.each([
    ['print', 'print $x $x'],
    ['printf', 'printf "%s%s" $x $x'],
    ['println', 'println $x $x'],
    ['html', 'html $x $x'],
    ['js', 'js $x'],
    ['urlquery', 'urlquery $x $x'],
    ['a function of the language', 'twice $x'],
  ])('a variable does not grow without end by %s', (_, call) => {
    const language = { ...strict, functions: { twice: (text: unknown) => `${text}${text}` } };
    const text = `{{$x := "<&%<&%<&%"}}{{range 99}}{{$x = ${call}}}{{end}}`;
    expect(() => render(text, {}, language)).toThrow('functions make more than');
    expect(() => render(text, {}, language)).toThrow(SkepError);
  });

  test('an error of the engine is one of the template', () => {
    const functions = { huge: () => 'x'.repeat(2 ** 30) };
    const run = () => render('{{huge}}', {}, { ...strict, functions });
    expect(run).toThrow('template parsing error: Invalid string length');
    expect(run).toThrow(SkepError);
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
      ...['$x', ':=', '=', ',', '{{break}}', '{{else with ', 'slice', '%5.1f', "'a'", '%', 'range'],
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

/**
 * Reads scenario scripts of the `datadriven` kind: directives with arguments and input, each
 * followed by `----` and the output that is expected. Knows nothing of what the directives mean.
 */
import { readFileSync } from 'node:fs';

export interface DirectiveArg {
  readonly key: string;
  /** `key=v` and `key=(v1,v2)`; empty for a bare `key` and for `key=()`. */
  readonly values: readonly string[];
}

export interface Directive {
  /** 1-based, of the directive itself. */
  readonly line: number;
  readonly command: string;
  readonly args: readonly DirectiveArg[];
  readonly input: string;
  /** Ends with a newline unless empty. */
  readonly expected: string;
}

export function readDirectives(path: string): Directive[] {
  const lines = readFileSync(path, 'utf8').split('\n');
  const directives: Directive[] = [];
  let at = 0;
  while (at < lines.length) {
    const head = lines[at]!.trim();
    if (head === '' || head.startsWith('#')) {
      at++;
      continue;
    }
    const line = at + 1;
    const inputStart = ++at;
    while (at < lines.length && lines[at] !== '----') at++;
    const input = lines.slice(inputStart, at).join('\n');
    at++;
    const { output, next } = readOutput(lines, at);
    at = next;
    const expected = output.length === 0 ? '' : `${output.join('\n')}\n`;
    directives.push({ line, ...parseHead(head), input, expected });
  }
  return directives;
}

/** Up to a blank line; or, after a doubled `----`, up to the next doubled one. */
function readOutput(
  lines: readonly string[],
  start: number,
): { output: readonly string[]; next: number } {
  let at = start;
  if (lines[at] === '----') {
    at++;
    while (at < lines.length && !(lines[at] === '----' && lines[at + 1] === '----')) at++;
    return { output: lines.slice(start + 1, at), next: at + 2 };
  }
  while (at < lines.length && lines[at]!.trim() !== '') at++;
  return { output: lines.slice(start, at), next: at };
}

function parseHead(head: string): { command: string; args: DirectiveArg[] } {
  const words = head.match(/[^\s=]+=\([^)]*\)|\S+/g) ?? [];
  const [command = '', ...rest] = words;
  return { command, args: rest.map(parseArg) };
}

function parseArg(word: string): DirectiveArg {
  const equals = word.indexOf('=');
  if (equals < 0) return { key: word, values: [] };
  const key = word.slice(0, equals);
  const value = word.slice(equals + 1);
  if (!value.startsWith('(')) return { key, values: [value] };
  const inner = value.slice(1, -1).trim();
  return { key, values: inner === '' ? [] : inner.split(',').map((one) => one.trim()) };
}

/** The values of `key`, or undefined when it is not given. */
export function valuesOf(directive: Directive, key: string): readonly string[] | undefined {
  return directive.args.find((arg) => arg.key === key)?.values;
}

export interface DirectiveResult {
  readonly line: number;
  readonly command: string;
  readonly output: string;
}

/** Runs a script; what was printed and what should have been, in the same shape for comparison. */
export function runScript(
  path: string,
  handle: (directive: Directive) => string,
): { actual: DirectiveResult[]; expected: DirectiveResult[] } {
  const actual: DirectiveResult[] = [];
  const expected: DirectiveResult[] = [];
  for (const directive of readDirectives(path)) {
    const { line, command } = directive;
    const output = handle(directive);
    const ended = output === '' || output.endsWith('\n') ? output : `${output}\n`;
    actual.push({ line, command, output: ended });
    expected.push({ line, command, output: directive.expected });
  }
  return { actual, expected };
}

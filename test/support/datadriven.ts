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
  /** Lines of the file that hold the output, fences included: `from <= line < to`, 0-based. */
  readonly outputLines: { readonly from: number; readonly to: number };
}

const FENCE = '----';

export function readDirectives(path: string): Directive[] {
  return parseDirectives(readFileSync(path, 'utf8'), path);
}

/** Throws on a directive without `----`; `path` is for the words. */
export function parseDirectives(text: string, path: string): Directive[] {
  const lines = text.split('\n');
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
    while (at < lines.length && lines[at] !== FENCE) at++;
    if (at === lines.length) throw new Error(`${path}:${line}: directive without ${FENCE}`);
    const input = lines.slice(inputStart, at).join('\n');
    const from = at;
    const { output, next } = readOutput(lines, at + 1);
    at = next;
    const expected = output.length === 0 ? '' : `${output.join('\n')}\n`;
    directives.push({ line, ...parseHead(head), input, expected, outputLines: { from, to: next } });
  }
  return directives;
}

/** Up to a blank line; or, after a doubled `----`, up to the next doubled one. */
function readOutput(
  lines: readonly string[],
  start: number,
): { output: readonly string[]; next: number } {
  let at = start;
  if (lines[at] === FENCE) {
    at++;
    while (at < lines.length && !(lines[at] === FENCE && lines[at + 1] === FENCE)) at++;
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
  readonly directive: Directive;
  /** Ends with a newline unless empty, like `Directive.expected`. */
  readonly output: string;
}

/** Runs a script from its first directive to its last. */
export function runScript(
  path: string,
  handle: (directive: Directive) => string,
): DirectiveResult[] {
  return readDirectives(path).map((directive) => {
    const output = handle(directive);
    const ended = output === '' || output.endsWith('\n') ? output : `${output}\n`;
    return { directive, output: ended };
  });
}

/** The script with the outputs of `results` in the place of those it expects. */
export function rewriteScript(text: string, results: readonly DirectiveResult[]): string {
  const lines = text.split('\n');
  const rewritten: string[] = [];
  let at = 0;
  for (const { directive, output } of results) {
    const { from, to } = directive.outputLines;
    rewritten.push(...lines.slice(at, from), FENCE);
    const body = output.replace(/\n$/, '').split('\n');
    if (body.some((line) => line.trim() === '')) {
      rewritten.push(FENCE, ...(output === '' ? [] : body), FENCE, FENCE);
    } else {
      rewritten.push(...body);
    }
    at = to;
  }
  return [...rewritten, ...lines.slice(at)].join('\n');
}

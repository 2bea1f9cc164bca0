/**
 * Go's text templates: fields, pipelines, functions, comparisons, `if`, `range`, `with`; no variables and
 * no definitions. Knows nothing of what the fields are, nor of the functions beside Go's own. Templates
 * come from users: time, depth and output have limits, and every refusal is a typed error.
 */
import { SkepError } from './errors.ts';
import { compareText } from './order.ts';

type Node =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'value'; readonly pipeline: Pipeline }
  | {
      readonly kind: 'if' | 'range' | 'with';
      readonly pipeline: Pipeline;
      readonly body: readonly Node[];
      readonly otherwise: readonly Node[];
    };

/** Calls from left to right; each gets the result of the one before as its last argument. */
type Pipeline = readonly (readonly Term[])[];

type Term =
  | { readonly kind: 'field'; readonly path: readonly string[]; readonly root: boolean }
  | { readonly kind: 'literal'; readonly value: unknown }
  | { readonly kind: 'function'; readonly name: string }
  | { readonly kind: 'nested'; readonly pipeline: Pipeline };

export type TemplateFunctions = Readonly<Record<string, (...args: unknown[]) => unknown>>;

export interface TemplateLanguage {
  /** beside Go's own (`GO_FUNCTIONS`), which they may replace */
  readonly functions: TemplateFunctions;
  /**
   * A field that is not there: shown as `<no value>` (`none`), an error in the outermost value (`root`),
   * or an error anywhere (`all`).
   */
  readonly missing: 'none' | 'root' | 'all';
}

interface Scope {
  readonly dot: unknown;
  readonly root: unknown;
  readonly language: TemplateLanguage;
  readonly budget: Budget;
}

export interface Template {
  /** Throws `invalid-argument` for a field that the value does not have, and beyond the limits. */
  render(value: unknown): string;
}

/** Actions within actions; parentheses within parentheses. */
const DEPTH_MAX = 100;
/** Pieces rendered: loops within loops multiply. */
const STEPS_MAX = 100_000;
const OUTPUT_CHARS_MAX = 2 ** 24;

/** Throws `invalid-argument` for what is no template. */
export function parseTemplate(text: string, language: TemplateLanguage): Template {
  const functions = { ...GO_FUNCTIONS, ...language.functions };
  const nodes = new Parser(text, functions).parse();
  return {
    render: (value) => {
      const scope = { dot: value, root: value, language: { ...language, functions } };
      return renderNodes(nodes, { ...scope, budget: new Budget() });
    },
  };
}

export function templateFailure(message: string): SkepError {
  return new SkepError('invalid-argument', `template parsing error: ${message}`);
}

function fail(message: string): never {
  throw templateFailure(message);
}

/** What one rendering may cost. */
class Budget {
  #steps = 0;
  #chars = 0;

  spend(text: string): string {
    this.#steps++;
    this.#chars += text.length;
    if (this.#steps > STEPS_MAX) fail(`more than ${STEPS_MAX} steps`);
    if (this.#chars > OUTPUT_CHARS_MAX) fail(`more than ${OUTPUT_CHARS_MAX} characters of output`);
    return text;
  }
}

/** Text and actions in turn: even pieces are text, odd ones are what stood between `{{` and `}}`. */
function splitActions(text: string): string[] {
  const pieces: string[] = [];
  let from = 0;
  for (;;) {
    const open = text.indexOf('{{', from);
    if (open < 0) return [...pieces, text.slice(from)];
    const close = endOfAction(text, open + 2);
    pieces.push(text.slice(from, open), text.slice(open + 2, close));
    from = close + 2;
  }
}

/** Where the `}}` stands that ends the action; those within strings and comments do not. */
function endOfAction(text: string, from: number): number {
  if (/^(?:-\s)?\s*\/\*/.test(text.slice(from, from + 16))) {
    const over = text.indexOf('*/', from);
    const end = over < 0 ? -1 : text.indexOf('}}', over);
    if (end < 0) fail('unclosed comment');
    return end;
  }
  for (let at = from; at < text.length; at++) {
    const char = text[at];
    if (char === '}' && text[at + 1] === '}') return at;
    if (char === '`') at = closing(text, '`', at);
    else if (char === '"') {
      do at = closing(text, '"', at);
      while (isEscaped(text, at));
    }
  }
  return fail('unclosed action');
}

function closing(text: string, quote: string, from: number): number {
  const at = text.indexOf(quote, from + 1);
  if (at < 0) fail('unterminated quoted string');
  return at;
}

function isEscaped(text: string, at: number): boolean {
  let slashes = 0;
  while (text[at - 1 - slashes] === '\\') slashes++;
  return slashes % 2 === 1;
}

class Parser {
  readonly #pieces: readonly string[];
  readonly #functions: TemplateFunctions;
  #at = 0;
  #depth = 0;

  constructor(text: string, functions: TemplateFunctions) {
    this.#functions = functions;
    // `{{-` and `-}}` trim the text beside them.
    const pieces = splitActions(text);
    this.#pieces = pieces.map((piece, index) => {
      if (index % 2 === 1) return piece.replace(/^-(?=\s)|(?<=\s)-$/g, '').trim();
      let out = piece;
      if (/^-\s/.test(pieces[index + 1] ?? '')) out = out.trimEnd();
      if (/\s-$/.test(pieces[index - 1] ?? '')) out = out.trimStart();
      return out;
    });
  }

  parse(): readonly Node[] {
    const { nodes, end } = this.#nodes();
    if (end !== null) fail(`unexpected {{${end}}}`);
    return nodes;
  }

  /** Up to `end` or `else` of an enclosing block, or the end of the text. */
  #nodes(): { nodes: Node[]; end: string | null } {
    const nodes: Node[] = [];
    for (; this.#at < this.#pieces.length; this.#at++) {
      const piece = this.#pieces[this.#at]!;
      if (this.#at % 2 === 0) {
        if (piece !== '') nodes.push({ kind: 'text', text: piece });
        continue;
      }
      if (piece.startsWith('/*')) continue;
      if (piece === 'end' || /^else\b/.test(piece)) return { nodes, end: piece };
      const block = /^(if|range|with)\s+([\s\S]+)$/.exec(piece);
      if (block) nodes.push(this.#block(block[1] as 'if' | 'range' | 'with', block[2]!));
      else nodes.push({ kind: 'value', pipeline: parsePipeline(piece, this.#functions) });
    }
    return { nodes, end: null };
  }

  #block(kind: 'if' | 'range' | 'with', condition: string): Node {
    if (++this.#depth > DEPTH_MAX) fail(`more than ${DEPTH_MAX} actions within actions`);
    const pipeline = parsePipeline(condition, this.#functions);
    this.#at++;
    const { nodes: body, end } = this.#nodes();
    if (end === null) fail(`{{${kind}}} without {{end}}`);
    let otherwise: readonly Node[] = [];
    const elseIf = /^else\s+if\s+([\s\S]+)$/.exec(end);
    if (elseIf) otherwise = [this.#block('if', elseIf[1]!)];
    else if (end === 'else') {
      this.#at++;
      const rest = this.#nodes();
      if (rest.end !== 'end') fail('{{else}} without {{end}}');
      otherwise = rest.nodes;
    }
    this.#depth--;
    return { kind, pipeline, body, otherwise };
  }
}

const TOKEN = /\s*(?:("(?:\\.|[^"\\])*")|(`[^`]*`)|([|()])|([^\s|()]+))/y;

function parsePipeline(text: string, functions: TemplateFunctions): Pipeline {
  TOKEN.lastIndex = 0;
  const tokens: string[] = [];
  while (TOKEN.lastIndex < text.trimEnd().length) {
    const match = TOKEN.exec(text);
    if (!match) fail(`bad character in {{${text}}}`);
    tokens.push(match[0].trim());
  }
  const { pipeline, at } = pipelineOf(tokens, 0, functions, 0);
  if (at !== tokens.length) fail(`unexpected ${tokens[at]} in {{${text}}}`);
  return pipeline;
}

function pipelineOf(
  tokens: readonly string[],
  from: number,
  functions: TemplateFunctions,
  depth: number,
): { pipeline: Pipeline; at: number } {
  if (depth > DEPTH_MAX) fail(`more than ${DEPTH_MAX} parentheses within parentheses`);
  const calls: Term[][] = [[]];
  let at = from;
  for (; at < tokens.length; at++) {
    const token = tokens[at]!;
    if (token === ')') break;
    if (token === '|') calls.push([]);
    else if (token === '(') {
      const inner = pipelineOf(tokens, at + 1, functions, depth + 1);
      if (tokens[inner.at] !== ')') fail('unclosed left paren');
      calls.at(-1)!.push({ kind: 'nested', pipeline: inner.pipeline });
      at = inner.at;
    } else calls.at(-1)!.push(termOf(token, functions));
  }
  if (calls.some((call) => call.length === 0)) fail('missing value for command');
  return { pipeline: calls, at };
}

function termOf(token: string, functions: TemplateFunctions): Term {
  if (token.startsWith('"')) return { kind: 'literal', value: stringOf(token) };
  if (token.startsWith('`')) return { kind: 'literal', value: token.slice(1, -1) };
  if (/^-?\d+(\.\d+)?$/.test(token)) return { kind: 'literal', value: Number(token) };
  if (token === 'true' || token === 'false') return { kind: 'literal', value: token === 'true' };
  if (token === 'nil') return { kind: 'literal', value: null };
  const root = token.startsWith('$');
  const path = root ? token.slice(1) : token;
  if (path === '' || path.startsWith('.')) {
    return { kind: 'field', path: path.split('.').filter((name) => name !== ''), root };
  }
  if (!Object.hasOwn(functions, token)) fail(`function "${token}" not defined`);
  return { kind: 'function', name: token };
}

/** Of Go's escapes those that JSON has, too. */
function stringOf(token: string): string {
  try {
    return JSON.parse(token) as string;
  } catch {
    return fail(`bad string ${token}`);
  }
}

/** A value as templates print it. */
export const printed = (value: unknown): string => print(value);

/** As `text/template` has them. */
const GO_FUNCTIONS: TemplateFunctions = {
  print: (...args) => args.map(print).join(''),
  println: (...args) => `${args.map(print).join(' ')}\n`,
  printf: (format, ...args) => formatted(print(format), args),
  len: (value) => {
    if (typeof value === 'string' || Array.isArray(value)) return value.length;
    return Object.keys((value ?? {}) as object).length;
  },
  index: (value, ...keys) => keys.reduce((inner, key) => lookUp(inner, print(key)), value),
  eq: (first, ...others) => others.some((other) => other === first),
  ne: (a, b) => a !== b,
  lt: (a, b) => compared(a, b) < 0,
  le: (a, b) => compared(a, b) <= 0,
  gt: (a, b) => compared(a, b) > 0,
  ge: (a, b) => compared(a, b) >= 0,
  not: (value) => !truth(value),
  // None found is -1, which is the last one, as it is to be.
  and: (...args) => args.at(args.findIndex((value) => !truth(value))),
  or: (...args) => args.at(args.findIndex(truth)),
};

function compared(a: unknown, b: unknown): number {
  if (typeof a === 'string' && typeof b === 'string') return compareText(a, b);
  return Number(a) - Number(b);
}

/** `%s`, `%v`, `%d`, `%q` and `%%`, without widths. */
function formatted(format: string, args: readonly unknown[]): string {
  let next = 0;
  return format.replace(/%(.)/gs, (verb, letter: string) => {
    if (letter === '%') return '%';
    if (!'svdq'.includes(letter)) return fail(`printf: unknown verb ${verb}`);
    if (next >= args.length) return fail(`printf: no value for ${verb}`);
    const text = print(args[next++]);
    return letter === 'q' ? JSON.stringify(text) : text;
  });
}

function renderNodes(nodes: readonly Node[], scope: Scope): string {
  return nodes.map((node) => renderNode(node, scope)).join('');
}

function renderNode(node: Node, scope: Scope): string {
  if (node.kind === 'text') return scope.budget.spend(node.text);
  const value = evaluate(node.pipeline, scope);
  if (node.kind === 'value') return scope.budget.spend(print(value));
  scope.budget.spend('');
  if (!truth(value)) return renderNodes(node.otherwise, scope);
  if (node.kind === 'if') return renderNodes(node.body, scope);
  const items =
    node.kind === 'with' ? [value] : Array.isArray(value) ? value : Object.values(value as object);
  return items.map((dot) => renderNodes(node.body, { ...scope, dot })).join('');
}

function evaluate(pipeline: Pipeline, scope: Scope): unknown {
  let piped: readonly unknown[] = [];
  for (const call of pipeline) piped = [evaluateCall(call, piped, scope)];
  return piped[0];
}

function evaluateCall(call: readonly Term[], piped: readonly unknown[], scope: Scope): unknown {
  const [head, ...rest] = call;
  if (head?.kind !== 'function') {
    const value = head ? evaluateTerm(head, scope) : undefined;
    const given = [...rest.map((term) => evaluateTerm(term, scope)), ...piped];
    // What a row has besides its texts: a method, as Go calls it.
    if (typeof value === 'function') return (value as (...args: unknown[]) => unknown)(...given);
    if (given.length > 0) fail('a value takes no arguments');
    return value;
  }
  const args = [...rest.map((term) => evaluateTerm(term, scope)), ...piped];
  return scope.language.functions[head.name]!(...args);
}

function evaluateTerm(term: Term, scope: Scope): unknown {
  switch (term.kind) {
    case 'literal':
      return term.value;
    case 'nested':
      return evaluate(term.pipeline, scope);
    case 'function':
      return scope.language.functions[term.name]!();
    case 'field': {
      const from = term.root ? scope.root : scope.dot;
      const { missing } = scope.language;
      if (missing === 'root' && from === scope.root) checkField(from, term.path[0]);
      return term.path.reduce<unknown>((value, name) => {
        if (missing === 'all') checkField(value, name);
        return fieldOf(value, name);
      }, from);
    }
  }
}

function fieldOf(value: unknown, name: string): unknown {
  if (value === null || value === undefined) return undefined;
  if (typeof value !== 'object') fail(`can't evaluate field ${name} in ${print(value)}`);
  return lookUp(value, name);
}

function checkField(value: unknown, name: string | undefined): void {
  if (name === undefined || value === null || typeof value !== 'object') return;
  if (Object.hasOwn(value, name)) return;
  fail(`can't evaluate field ${name}: there are ${Object.keys(value).join(', ')}`);
}

function lookUp(value: unknown, key: string): unknown {
  if (value === null || typeof value !== 'object') return undefined;
  return Object.hasOwn(value, key) ? (value as Record<string, unknown>)[key] : undefined;
}

function truth(value: unknown): boolean {
  if (Array.isArray(value)) return value.length > 0;
  if (value !== null && typeof value === 'object') return Object.keys(value).length > 0;
  return Boolean(value);
}

/** Go's `%v`: lists as `[a b]`, maps as `map[k:v]`. */
function print(value: unknown): string {
  if (value === null || value === undefined) return '<no value>';
  if (Array.isArray(value)) return `[${value.map(print).join(' ')}]`;
  if (typeof value === 'object') {
    const entries = Object.entries(value).map(([key, inner]) => `${key}:${print(inner)}`);
    return `map[${entries.sort().join(' ')}]`;
  }
  return String(value);
}

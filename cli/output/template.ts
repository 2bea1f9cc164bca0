/**
 * Go templates as Docker users write them in `--format`: fields, pipelines, `json`, `upper`, `lower`,
 * `title`, `join`, `split`, `truncate`, `println`, `len`, `index`, comparisons, `if`, `range`, `with`.
 * Knows nothing of what the fields are.
 */
import { SkepError } from '../../common/base/errors.ts';

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

interface Scope {
  readonly dot: unknown;
  readonly root: unknown;
  /** whether a name that the outermost value lacks is a mistake */
  readonly strict: boolean;
}

export interface Template {
  /** Throws `invalid-argument` for a field that the value does not have. */
  render(value: unknown): string;
}

/**
 * Throws `invalid-argument` for what is no template.
 * @param strict whether a field that the rendered value lacks is a mistake. API objects leave empty
 *   fields out, rows of a listing do not.
 */
export function parseTemplate(text: string, strict = true): Template {
  const nodes = new Parser(unescapeText(text)).parse();
  return { render: (value) => renderNodes(nodes, { dot: value, root: value, strict }) };
}

function fail(message: string): never {
  throw new SkepError('invalid-argument', `template parsing error: ${message}`);
}

/** Shells pass `\t` and `\n` as they are typed; Docker takes them for the characters. */
function unescapeText(text: string): string {
  return text.replace(/\\t/g, '\t').replace(/\\n/g, '\n');
}

class Parser {
  readonly #pieces: readonly string[];
  #at = 0;

  constructor(text: string) {
    // Even pieces are text, odd ones are actions; `{{-` and `-}}` trim the text beside them.
    const pieces = text.split(/\{\{((?:"(?:\\.|[^"\\])*"|`[^`]*`|(?!\}\})[\s\S])*)\}\}/);
    if (pieces.some((piece, index) => index % 2 === 0 && piece.includes('{{'))) {
      fail('unclosed action');
    }
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
      else nodes.push({ kind: 'value', pipeline: parsePipeline(piece) });
    }
    return { nodes, end: null };
  }

  #block(kind: 'if' | 'range' | 'with', condition: string): Node {
    const pipeline = parsePipeline(condition);
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
    return { kind, pipeline, body, otherwise };
  }
}

const TOKEN = /\s*(?:("(?:\\.|[^"\\])*")|(`[^`]*`)|([|()])|([^\s|()]+))/y;

function parsePipeline(text: string): Pipeline {
  TOKEN.lastIndex = 0;
  const tokens: string[] = [];
  while (TOKEN.lastIndex < text.trimEnd().length) {
    const match = TOKEN.exec(text);
    if (!match) fail(`bad character in {{${text}}}`);
    tokens.push(match[0].trim());
  }
  const { pipeline, at } = pipelineOf(tokens, 0);
  if (at !== tokens.length) fail(`unexpected ${tokens[at]} in {{${text}}}`);
  return pipeline;
}

function pipelineOf(tokens: readonly string[], from: number): { pipeline: Pipeline; at: number } {
  const calls: Term[][] = [[]];
  let at = from;
  for (; at < tokens.length; at++) {
    const token = tokens[at]!;
    if (token === ')') break;
    if (token === '|') calls.push([]);
    else if (token === '(') {
      const inner = pipelineOf(tokens, at + 1);
      if (tokens[inner.at] !== ')') fail('unclosed left paren');
      calls.at(-1)!.push({ kind: 'nested', pipeline: inner.pipeline });
      at = inner.at;
    } else calls.at(-1)!.push(termOf(token));
  }
  if (calls.some((call) => call.length === 0)) fail('missing value for command');
  return { pipeline: calls, at };
}

function termOf(token: string): Term {
  if (token.startsWith('"')) return { kind: 'literal', value: JSON.parse(token) };
  if (token.startsWith('`')) return { kind: 'literal', value: token.slice(1, -1) };
  if (/^-?\d+(\.\d+)?$/.test(token)) return { kind: 'literal', value: Number(token) };
  if (token === 'true' || token === 'false') return { kind: 'literal', value: token === 'true' };
  if (token === 'nil') return { kind: 'literal', value: null };
  const root = token.startsWith('$');
  const path = root ? token.slice(1) : token;
  if (path === '' || path.startsWith('.')) {
    return { kind: 'field', path: path.split('.').filter((name) => name !== ''), root };
  }
  if (!Object.hasOwn(FUNCTIONS, token)) fail(`function "${token}" not defined`);
  return { kind: 'function', name: token };
}

const str = (value: unknown): string => print(value);
const list = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : []);

const FUNCTIONS: Readonly<Record<string, (...args: unknown[]) => unknown>> = {
  json: (value) => JSON.stringify(value ?? null),
  upper: (value) => str(value).toUpperCase(),
  lower: (value) => str(value).toLowerCase(),
  title: (value) => str(value).replace(/(^|\s)\S/g, (letter) => letter.toUpperCase()),
  join: (items, by) => list(items).map(str).join(str(by)),
  split: (text, by) => str(text).split(str(by)),
  truncate: (text, length) => str(text).slice(0, Number(length)),
  println: (...args) => `${args.map(str).join(' ')}\n`,
  print: (...args) => args.map(str).join(''),
  len: (value) => {
    if (typeof value === 'string' || Array.isArray(value)) return value.length;
    return Object.keys((value ?? {}) as object).length;
  },
  index: (value, ...keys) => keys.reduce((inner, key) => lookUp(inner, str(key)), value),
  eq: (first, ...others) => others.some((other) => other === first),
  ne: (a, b) => a !== b,
  lt: (a, b) => Number(a) < Number(b),
  gt: (a, b) => Number(a) > Number(b),
  not: (value) => !truth(value),
  and: (...args) => args.find((value) => !truth(value)) ?? args.at(-1),
  or: (...args) => args.find(truth) ?? args.at(-1),
};

function renderNodes(nodes: readonly Node[], scope: Scope): string {
  return nodes.map((node) => renderNode(node, scope)).join('');
}

function renderNode(node: Node, scope: Scope): string {
  if (node.kind === 'text') return node.text;
  const value = evaluate(node.pipeline, scope);
  if (node.kind === 'value') return print(value);
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
    if (rest.length > 0 || piped.length > 0) fail('a value takes no arguments');
    return head ? evaluateTerm(head, scope) : undefined;
  }
  const args = [...rest.map((term) => evaluateTerm(term, scope)), ...piped];
  return FUNCTIONS[head.name]!(...args);
}

function evaluateTerm(term: Term, scope: Scope): unknown {
  switch (term.kind) {
    case 'literal':
      return term.value;
    case 'nested':
      return evaluate(term.pipeline, scope);
    case 'function':
      return FUNCTIONS[term.name]!();
    case 'field': {
      const from = term.root ? scope.root : scope.dot;
      if (scope.strict && from === scope.root) checkField(from, term.path[0]);
      return term.path.reduce<unknown>((value, name) => fieldOf(value, name), from);
    }
  }
}

function fieldOf(value: unknown, name: string): unknown {
  if (value === null || value === undefined) return undefined;
  if (typeof value !== 'object') fail(`can't evaluate field ${name} in ${print(value)}`);
  return lookUp(value, name);
}

function checkField(value: unknown, name: string | undefined): void {
  if (name === undefined || value === null || typeof value !== 'object' || name in value) return;
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

/** The text of a Go template, read: text and actions in turn, each action to its end. Knows no values. */
import { failTemplate, type TemplateFunctions } from './template-functions.ts';

export type TemplateNode =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'value'; readonly pipeline: Pipeline }
  | { readonly kind: 'break' | 'continue' }
  | BlockNode;

export interface BlockNode {
  readonly kind: 'if' | 'range' | 'with';
  readonly pipeline: Pipeline;
  readonly body: readonly TemplateNode[];
  readonly otherwise: readonly TemplateNode[];
}

export interface Pipeline {
  /** Calls from left to right; each gets the result of the one before as its last argument. */
  readonly calls: readonly (readonly Term[])[];
  /** names of variables that it gives a value; of `range` up to two */
  readonly variables: readonly string[];
  /** they are new, and not set anew */
  readonly declares: boolean;
}

export type Term =
  | { readonly kind: 'field'; readonly path: readonly string[] }
  | { readonly kind: 'variable'; readonly name: string; readonly path: readonly string[] }
  | { readonly kind: 'literal'; readonly value: unknown }
  | { readonly kind: 'function'; readonly name: string }
  | { readonly kind: 'nested'; readonly pipeline: Pipeline; readonly path: readonly string[] };

export interface ParsedTemplate {
  readonly nodes: readonly TemplateNode[];
  /** names that stand first after a dot: fields of the outermost value, or of what a block is about */
  readonly fields: ReadonlySet<string>;
}

/** Of the outermost value. */
export const ROOT_VARIABLE = '$';

/** Actions within actions; parentheses within parentheses. */
const DEPTH_MAX = 100;

/** Throws `invalid-argument` for what is no template. */
export function parseNodes(text: string, functions: TemplateFunctions): ParsedTemplate {
  return new Parser(text, functions).parse();
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
    if (end < 0) failTemplate('unclosed comment');
    return end;
  }
  for (let at = from; at < text.length; at++) {
    const char = text[at];
    if (char === '}' && text[at + 1] === '}') return at;
    if (char === '`') at = closing(text, '`', at);
    else if (char === '"' || char === "'") {
      do at = closing(text, char, at);
      while (isEscaped(text, at));
    }
  }
  return failTemplate('unclosed action');
}

function closing(text: string, quote: string, from: number): number {
  const at = text.indexOf(quote, from + 1);
  if (at < 0) failTemplate('unterminated quoted string');
  return at;
}

function isEscaped(text: string, at: number): boolean {
  let slashes = 0;
  while (text[at - 1 - slashes] === '\\') slashes++;
  return slashes % 2 === 1;
}

/** Words of Go's templates that are not done, and what else begins an action with a word of its own. */
const REFUSED = /^(define|template|block)\b/;

class Parser {
  readonly #pieces: readonly string[];
  readonly #functions: TemplateFunctions;
  readonly #fields = new Set<string>();
  /** those that are known here, the last one first in force */
  readonly #variables: string[] = [ROOT_VARIABLE];
  #at = 0;
  #depth = 0;
  #loops = 0;

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

  parse(): ParsedTemplate {
    const { nodes, end } = this.#nodes();
    if (end !== null) failTemplate(`unexpected {{${end}}}`);
    return { nodes, fields: this.#fields };
  }

  /** Up to `end` or `else` of an enclosing block, or the end of the text. */
  #nodes(): { nodes: TemplateNode[]; end: string | null } {
    const nodes: TemplateNode[] = [];
    for (; this.#at < this.#pieces.length; this.#at++) {
      const piece = this.#pieces[this.#at]!;
      if (this.#at % 2 === 0) {
        if (piece !== '') nodes.push({ kind: 'text', text: piece });
        continue;
      }
      if (piece.startsWith('/*')) continue;
      if (piece === 'end' || /^else\b/.test(piece)) return { nodes, end: piece };
      nodes.push(this.#action(piece));
    }
    return { nodes, end: null };
  }

  #action(piece: string): TemplateNode {
    const refused = REFUSED.exec(piece);
    if (refused) failTemplate(`{{${refused[1]}}} is not supported`);
    if (piece === 'break' || piece === 'continue') {
      if (this.#loops === 0) failTemplate(`{{${piece}}} outside {{range}}`);
      return { kind: piece };
    }
    const block = /^(if|range|with)\b\s*([\s\S]*)$/.exec(piece);
    if (block) return this.#block(block[1] as BlockNode['kind'], block[2]!);
    return { kind: 'value', pipeline: this.#pipeline(piece, 1) };
  }

  #block(kind: BlockNode['kind'], condition: string): TemplateNode {
    if (++this.#depth > DEPTH_MAX) failTemplate(`more than ${DEPTH_MAX} actions within actions`);
    const known = this.#variables.length;
    const pipeline = this.#pipeline(condition, kind === 'range' ? 2 : 1);
    this.#at++;
    if (kind === 'range') this.#loops++;
    const { nodes: body, end } = this.#scoped();
    if (kind === 'range') this.#loops--;
    if (end === null) failTemplate(`{{${kind}}} without {{end}}`);
    const otherwise = this.#otherwise(kind, end);
    this.#variables.length = known;
    this.#depth--;
    return { kind, pipeline, body, otherwise };
  }

  #otherwise(kind: BlockNode['kind'], end: string): readonly TemplateNode[] {
    if (end === 'end') return [];
    const [, next, condition] = /^else\s+(if|with)\s+([\s\S]+)$/.exec(end) ?? [];
    if (condition !== undefined && kind !== 'range') {
      return [this.#block(next as BlockNode['kind'], condition)];
    }
    if (end !== 'else') failTemplate(`unexpected {{${end}}}`);
    this.#at++;
    const rest = this.#scoped();
    if (rest.end !== 'end') failTemplate('{{else}} without {{end}}');
    return rest.nodes;
  }

  /** Variables that are declared within are not known behind it. */
  #scoped(): { nodes: TemplateNode[]; end: string | null } {
    const known = this.#variables.length;
    const found = this.#nodes();
    this.#variables.length = known;
    return found;
  }

  /** @param variablesMax that may stand before `:=` */
  #pipeline(text: string, variablesMax: number): Pipeline {
    const tokens = tokensOf(text);
    const operator = tokens.findIndex(({ text }) => text === ':=' || text === '=');
    if (operator < 0) return this.#whole(text, tokens, [], false);
    const declares = tokens[operator]!.text === ':=';
    const names = tokens.slice(0, operator).filter((_, at) => at % 2 === 0);
    const commas = tokens.slice(0, operator).filter((_, at) => at % 2 === 1);
    const variables = names.map((token) => token.text);
    const isList =
      variables.length > commas.length &&
      variables.every((name) => /^\$\w+$/.test(name)) &&
      commas.every((token) => token.text === ',');
    if (!isList) failTemplate(`bad variables in {{${text}}}`);
    if (variables.length > variablesMax) failTemplate(`too many variables in {{${text}}}`);
    if (!declares) for (const name of variables) this.#requireVariable(name);
    const pipeline = this.#whole(text, tokens.slice(operator + 1), variables, declares);
    if (declares) this.#variables.push(...variables);
    return pipeline;
  }

  #whole(
    text: string,
    tokens: readonly Token[],
    variables: readonly string[],
    declares: boolean,
  ): Pipeline {
    const { calls, at } = this.#calls(tokens, 0, 0);
    if (at !== tokens.length) failTemplate(`unexpected ${tokens[at]!.text} in {{${text}}}`);
    return { calls, variables, declares };
  }

  #requireVariable(name: string): void {
    if (!this.#variables.includes(name)) failTemplate(`undefined variable "${name}"`);
  }

  #calls(tokens: readonly Token[], from: number, depth: number): { calls: Term[][]; at: number } {
    if (depth > DEPTH_MAX) failTemplate(`more than ${DEPTH_MAX} parentheses within parentheses`);
    const calls: Term[][] = [[]];
    let at = from;
    for (; at < tokens.length; at++) {
      const { text } = tokens[at]!;
      if (text === ')') break;
      if (text === '|') calls.push([]);
      else if (text === '(') {
        const inner = this.#calls(tokens, at + 1, depth + 1);
        if (tokens[inner.at]?.text !== ')') failTemplate('unclosed left paren');
        at = inner.at;
        const after = tokens[at + 1];
        const isField = after?.isGlued === true && after.text.startsWith('.');
        if (isField) at++;
        const path = isField ? pathOf(after.text) : [];
        const pipeline = { calls: inner.calls, variables: [], declares: false };
        calls.at(-1)!.push({ kind: 'nested', pipeline, path });
      } else calls.at(-1)!.push(this.#term(text));
    }
    if (calls.some((call) => call.length === 0)) failTemplate('missing value for command');
    return { calls, at };
  }

  #term(token: string): Term {
    if (token.startsWith('"')) return { kind: 'literal', value: stringOf(token) };
    if (token.startsWith('`')) return { kind: 'literal', value: token.slice(1, -1) };
    if (token.startsWith("'")) return { kind: 'literal', value: characterOf(token) };
    if (NUMBER.test(token)) return { kind: 'literal', value: Number(token) };
    if (token === 'true' || token === 'false') return { kind: 'literal', value: token === 'true' };
    if (token === 'nil') return { kind: 'literal', value: null };
    if (token.startsWith('.')) {
      const path = pathOf(token);
      if (path[0] !== undefined) this.#fields.add(path[0]);
      return { kind: 'field', path };
    }
    if (token.startsWith('$')) {
      const dot = token.indexOf('.');
      const name = dot < 0 ? token : token.slice(0, dot);
      this.#requireVariable(name);
      const path = dot < 0 ? [] : pathOf(token.slice(dot));
      if (name === ROOT_VARIABLE && path[0] !== undefined) this.#fields.add(path[0]);
      return { kind: 'variable', name, path };
    }
    if (!Object.hasOwn(this.#functions, token) && token !== 'and' && token !== 'or') {
      failTemplate(`function "${token}" not defined`);
    }
    return { kind: 'function', name: token };
  }
}

const NUMBER = /^[-+]?(\d+(\.\d*)?(e[-+]?\d+)?|0x[0-9a-f]+|0o?[0-7]+|0b[01]+)$/i;

const pathOf = (text: string): readonly string[] => text.split('.').filter((name) => name !== '');

interface Token {
  readonly text: string;
  /** nothing stands between it and the token before */
  readonly isGlued: boolean;
}

const TOKEN =
  /(\s*)("(?:\\.|[^"\\])*"|`[^`]*`|'(?:\\.|[^'\\])*'|:=|[|(),=]|[^\s|(),=:"`']+|[^\s])/y;

function tokensOf(text: string): Token[] {
  TOKEN.lastIndex = 0;
  const tokens: Token[] = [];
  while (TOKEN.lastIndex < text.trimEnd().length) {
    const match = TOKEN.exec(text);
    if (!match) return failTemplate(`bad character in {{${text}}}`);
    tokens.push({ text: match[2]!, isGlued: match[1] === '' && tokens.length > 0 });
  }
  return tokens;
}

/** Of Go's escapes those that JSON has, too. */
function stringOf(token: string): string {
  try {
    return JSON.parse(token) as string;
  } catch {
    return failTemplate(`bad string ${token}`);
  }
}

/** A character is its number. */
function characterOf(token: string): number {
  const inner = token.slice(1, -1);
  const text = inner === "\\'" ? "'" : stringOf(`"${inner.replaceAll('"', '\\"')}"`);
  const [character, ...others] = Array.from(text);
  if (character === undefined || others.length > 0) return failTemplate(`bad character ${token}`);
  return character.codePointAt(0)!;
}

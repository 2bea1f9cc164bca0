/**
 * Go's text templates: fields, variables, pipelines, functions, comparisons, `if`, `range`, `with`; no
 * definitions. Knows nothing of what the fields are, nor of the functions beside Go's own. Templates
 * come from users: time, depth and output have limits, and every refusal is a typed error.
 */
import { describeError, SkepError } from './errors.ts';
import { compareText } from './order.ts';
import {
  failTemplate,
  GO_FUNCTIONS,
  isTrue,
  lookUp,
  printed,
  type TemplateFunctions,
  templateFailure,
  textRoom,
} from './template-functions.ts';
import {
  type BlockNode,
  type Pipeline,
  parseNodes,
  ROOT_VARIABLE,
  type TemplateNode,
  type Term,
} from './template-parse.ts';

export interface TemplateLanguage {
  /** beside Go's own (`GO_FUNCTIONS`), which they may replace */
  readonly functions: TemplateFunctions;
  /**
   * A field that is not there: shown as `<no value>` (`none`), an error in the outermost value (`root`),
   * or an error anywhere (`all`).
   */
  readonly missing: 'none' | 'root' | 'all';
  /** absent = `WIDE_LIMITS` */
  readonly limits?: TemplateLimits;
}

export interface TemplateLimits {
  /** pieces rendered: loops within loops multiply */
  readonly steps: number;
  /** characters */
  readonly output: number;
  /** characters of all texts that functions make: a variable can be put into itself again and again */
  readonly made: number;
}

export interface Template {
  /** Throws `invalid-argument`, and nothing else: for a field that the value does not have, and beyond the limits. */
  render(value: unknown): string;
  /** names that may be fields of the value */
  readonly fields: ReadonlySet<string>;
}

const WIDE_LIMITS: TemplateLimits = { steps: 100_000, output: 2 ** 24, made: 2 ** 24 };

/** Throws `invalid-argument` for what is no template. */
export function parseTemplate(text: string, language: TemplateLanguage): Template {
  const functions = { ...GO_FUNCTIONS, ...language.functions };
  const { nodes, fields } = parseNodes(text, functions);
  return {
    fields,
    render: (value) => {
      const rendering = new Rendering(value, { ...language, functions });
      try {
        rendering.nodes(nodes, value);
        return rendering.text;
      } catch (err) {
        // The engine's own limits, of texts or of the stack: whoever renders must hear of one kind of error.
        throw err instanceof SkepError ? err : templateFailure(describeError(err));
      }
    },
  };
}

/** What follows a piece: the next one, or a loop that goes on or ends. */
type Next = 'next' | 'continue' | 'break';

interface Variable {
  readonly name: string;
  value: unknown;
}

/** A template over one value: what is written so far, and the variables that are in force. */
class Rendering {
  readonly #root: unknown;
  readonly #language: TemplateLanguage;
  readonly #variables: Variable[];
  readonly #limits: TemplateLimits;
  readonly #pieces: string[] = [];
  #steps = 0;
  #chars = 0;
  #madeChars = 0;

  constructor(root: unknown, language: TemplateLanguage) {
    this.#root = root;
    this.#language = language;
    this.#limits = language.limits ?? WIDE_LIMITS;
    this.#variables = [{ name: ROOT_VARIABLE, value: root }];
  }

  get text(): string {
    return this.#pieces.join('');
  }

  nodes(nodes: readonly TemplateNode[], dot: unknown): Next {
    for (const node of nodes) {
      const next = this.#node(node, dot);
      if (next !== 'next') return next;
    }
    return 'next';
  }

  #node(node: TemplateNode, dot: unknown): Next {
    switch (node.kind) {
      case 'text':
        this.#write(node.text);
        return 'next';
      case 'break':
      case 'continue':
        this.#write('');
        return node.kind;
      case 'value': {
        const value = this.#pipeline(node.pipeline, dot);
        // What only sets a variable says nothing.
        this.#write(node.pipeline.variables.length > 0 ? '' : printed(value));
        return 'next';
      }
      default:
        return this.#block(node, dot);
    }
  }

  #block(node: BlockNode, dot: unknown): Next {
    this.#write('');
    const known = this.#variables.length;
    const next = node.kind === 'range' ? this.#range(node, dot) : this.#branch(node, dot);
    this.#variables.length = known;
    return next;
  }

  #branch({ kind, pipeline, body, otherwise }: BlockNode, dot: unknown): Next {
    const value = this.#pipeline(pipeline, dot);
    const isMet = isTrue(value);
    return this.nodes(isMet ? body : otherwise, isMet && kind === 'with' ? value : dot);
  }

  #range({ pipeline, body, otherwise }: BlockNode, dot: unknown): Next {
    const known = this.#variables.length;
    let isEmpty = true;
    for (const [key, item] of itemsOf(this.#calls(pipeline.calls, dot))) {
      this.#write(''); // a pass is a step, also one that does nothing
      isEmpty = false;
      const given = pipeline.variables.length === 1 ? [item] : [key, item];
      for (const [at, name] of pipeline.variables.entries()) {
        this.#set(name, given[at], pipeline.declares);
      }
      const next = this.nodes(body, item);
      this.#variables.length = known;
      if (next === 'break') break;
    }
    return isEmpty ? this.nodes(otherwise, dot) : 'next';
  }

  #write(text: string): void {
    this.#steps++;
    this.#chars += text.length;
    const { steps, output } = this.#limits;
    if (this.#steps > steps) failTemplate(`more than ${steps} steps`);
    if (this.#chars > output) failTemplate(`more than ${output} characters of output`);
    this.#pieces.push(text);
  }

  /** What a function made counts, shown or not. */
  #made(value: unknown): unknown {
    if (typeof value === 'string') this.#madeChars += value.length;
    this.#checkMade(0);
    return value;
  }

  #checkMade(next: number): void {
    const { made } = this.#limits;
    if (this.#madeChars + next > made) failTemplate(`functions make more than ${made} characters`);
  }

  #set(name: string, value: unknown, isNew: boolean): void {
    if (isNew) this.#variables.push({ name, value });
    else this.#variable(name).value = value;
  }

  #variable(name: string): Variable {
    const found = this.#variables.findLast((variable) => variable.name === name);
    return found ?? failTemplate(`undefined variable "${name}"`);
  }

  #pipeline({ calls, variables, declares }: Pipeline, dot: unknown): unknown {
    const value = this.#calls(calls, dot);
    for (const name of variables) this.#set(name, value, declares);
    return value;
  }

  #calls(calls: Pipeline['calls'], dot: unknown): unknown {
    let piped: readonly unknown[] = [];
    for (const call of calls) piped = [this.#call(call, piped, dot)];
    return piped[0];
  }

  #call([head, ...rest]: readonly Term[], piped: readonly unknown[], dot: unknown): unknown {
    if (head?.kind !== 'function') {
      const value = head && this.#term(head, dot);
      const given = [...rest.map((term) => this.#term(term, dot)), ...piped];
      // What a row has besides its texts: a method, as Go calls it.
      if (typeof value === 'function') {
        return this.#made((value as (...args: unknown[]) => unknown)(...given));
      }
      if (given.length > 0) failTemplate('a value takes no arguments');
      return value;
    }
    if (head.name === 'and' || head.name === 'or') {
      return this.#firstThat(head.name === 'or', rest, piped, dot);
    }
    const args = [...rest.map((term) => this.#term(term, dot)), ...piped];
    this.#checkMade(textRoom(head.name, args));
    return this.#made(this.#language.functions[head.name]!(...args));
  }

  /** The first that is true, or the last one; nothing behind it is looked at. */
  #firstThat(
    isTrueWanted: boolean,
    terms: readonly Term[],
    piped: readonly unknown[],
    dot: unknown,
  ): unknown {
    let value: unknown;
    for (const term of terms) {
      value = this.#term(term, dot);
      if (isTrue(value) === isTrueWanted) return value;
    }
    return piped.length > 0 ? piped[0] : value;
  }

  #term(term: Term, dot: unknown): unknown {
    switch (term.kind) {
      case 'literal':
        return term.value;
      case 'nested':
        return this.#fields(this.#calls(term.pipeline.calls, dot), term.path);
      case 'function':
        return this.#made(this.#language.functions[term.name]?.());
      case 'field':
        return this.#fields(dot, term.path);
      case 'variable':
        return this.#fields(this.#variable(term.name).value, term.path);
    }
  }

  #fields(from: unknown, path: readonly string[]): unknown {
    const { missing } = this.#language;
    if (missing === 'root' && from === this.#root) checkField(from, path[0]);
    return path.reduce<unknown>((value, name) => {
      if (missing === 'all') checkField(value, name);
      return fieldOf(value, name);
    }, from);
  }
}

/** What a loop goes over, with indexes or keys; maps by the order of their keys. */
function itemsOf(value: unknown): Iterable<readonly [unknown, unknown]> {
  if (Array.isArray(value)) return value.entries();
  if (value === null || value === undefined) return [];
  if (typeof value === 'number') return numbersTo(value);
  if (typeof value !== 'object') return failTemplate(`range can't iterate over ${printed(value)}`);
  return Object.entries(value).sort(([a], [b]) => compareText(a, b));
}

function* numbersTo(count: number): Iterable<readonly [number, number]> {
  for (let at = 0; at < Math.trunc(count); at++) yield [at, at];
}

function fieldOf(value: unknown, name: string): unknown {
  if (value === null || value === undefined) return undefined;
  if (typeof value !== 'object') failTemplate(`can't evaluate field ${name} in ${printed(value)}`);
  return lookUp(value, name);
}

function checkField(value: unknown, name: string | undefined): void {
  if (name === undefined || value === null || typeof value !== 'object') return;
  if (Object.hasOwn(value, name)) return;
  failTemplate(`can't evaluate field ${name}: there are ${Object.keys(value).join(', ')}`);
}

/**
 * A value in a stack file, with its place: typed reads that note every mistake at its position and
 * go on, so that all are told at once. Knows YAML nodes; not what the keys of a stack mean.
 */
import {
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  type Node,
  type Pair,
  type Scalar,
} from 'yaml';
import { describeError, SkepError } from '../../common/base/errors.ts';
import type { Environment } from './files.ts';
import { interpolate } from './interpolate.ts';
import { nearestWord, type Problem, type SourceText } from './problems.ts';

/** What one load collects. */
export interface LoadState {
  readonly source: SourceText;
  readonly document: Document;
  readonly env: Environment;
  readonly problems: Problem[];
  /** known keys that have no effect yet, as dotted paths */
  readonly undone: string[];
}

/** Keys of a section: those that are read, those known but without effect yet. */
export interface KeyRules {
  readonly known: readonly string[];
  readonly undone?: readonly string[];
}

const TRUE_WORDS = ['true', 'yes', 'y', 'on'];
const FALSE_WORDS = ['false', 'no', 'n', 'off'];
const INTEGER = /^[-+]?\d+$/;
/** Aliases may nest; a file whose aliases form a ring is refused by the YAML parser. */
const MERGE_KEY = '<<';

interface Entry {
  readonly key: Scalar;
  readonly name: string;
  readonly value: Node | null;
}

export class Item {
  readonly path: string;
  readonly #state: LoadState;
  /** the value, aliases followed */
  readonly #node: Node | null;
  /** what stands at the place where the value belongs: the key, when the value is empty */
  readonly #place: Node | null;

  constructor(state: LoadState, node: Node | null, place: Node | null, path: string) {
    this.#state = state;
    this.#node = resolveAlias(state.document, node);
    const [start = 0, end = 0] = node?.range ?? [];
    this.#place = end > start ? node : place;
    this.path = path;
  }

  /** True for a value left empty, or given as null. */
  get isNull(): boolean {
    return this.#node === null || (isScalar(this.#node) && this.#node.value === null);
  }

  get isMap(): boolean {
    return isMap(this.#node);
  }

  get isList(): boolean {
    return isSeq(this.#node);
  }

  /** Notes a mistake at this value. */
  problem(message: string): void {
    this.#problemAt(this.#place, message);
  }

  /** Notes that this known thing has no effect yet. */
  undone(): void {
    this.#state.undone.push(this.path);
  }

  /** A scalar as text, variables filled in; undefined (and a problem) for anything else. */
  text(): string | undefined {
    if (!isScalar(this.#node) || this.#node.value === null) {
      this.problem(`${this.path} must be a string`);
      return undefined;
    }
    const { value, source } = this.#node;
    if (typeof value !== 'string') return source ?? String(value);
    try {
      return interpolate(value, this.#state.env);
    } catch (err) {
      this.problem(`${this.path}: ${describeError(err)}`);
      return undefined;
    }
  }

  /** A whole number, also as a string. */
  integer(least = Number.MIN_SAFE_INTEGER): number | undefined {
    const text = this.text();
    if (text === undefined) return undefined;
    if (!INTEGER.test(text.trim()) || !Number.isSafeInteger(Number(text))) {
      this.problem(`${this.path} must be an integer: got ${JSON.stringify(text)}`);
      return undefined;
    }
    if (Number(text) >= least) return Number(text);
    this.problem(`${this.path} must be ${least} or more: got ${text}`);
    return undefined;
  }

  number(): number | undefined {
    const text = this.text();
    if (text === undefined) return undefined;
    if (text.trim() !== '' && Number.isFinite(Number(text))) return Number(text);
    this.problem(`${this.path} must be a number: got ${JSON.stringify(text)}`);
    return undefined;
  }

  /** File modes: `0440`, `0o440` and `288` are the same. */
  fileMode(): number | undefined {
    const text = this.text();
    if (text === undefined) return undefined;
    const octal = /^0o?([0-7]{1,4})$/.exec(text);
    if (octal) return Number.parseInt(octal[1]!, 8);
    if (/^\d+$/.test(text)) return Number(text);
    this.problem(`${this.path} must be a file mode such as 0440: got ${JSON.stringify(text)}`);
    return undefined;
  }

  boolean(): boolean | undefined {
    const text = this.text()?.toLowerCase();
    if (text === undefined) return undefined;
    if (TRUE_WORDS.includes(text)) return true;
    if (FALSE_WORDS.includes(text)) return false;
    this.problem(`${this.path} must be a boolean: got ${JSON.stringify(text)}`);
    return undefined;
  }

  oneOf<T extends string>(words: readonly T[]): T | undefined {
    const text = this.text();
    if (text === undefined) return undefined;
    const found = words.find((word) => word === text.toLowerCase());
    if (found !== undefined) return found;
    const near = nearestWord(text, words);
    const hint = near === null ? '' : `; did you mean ${near}?`;
    this.problem(`${this.path} must be one of ${words.join(', ')}: got "${text}"${hint}`);
    return undefined;
  }

  /** The text through `parse`; its refusal is a problem here. */
  parsed<T>(parse: (text: string) => T): T | undefined {
    const text = this.text();
    if (text === undefined) return undefined;
    return this.attempt(() => parse(text));
  }

  /** What `work` returns; its refusal is a problem here. */
  attempt<T>(work: () => T): T | undefined {
    try {
      return work();
    } catch (err) {
      if (!(err instanceof SkepError)) throw err;
      this.problem(`${this.path}: ${describeError(err)}`);
      return undefined;
    }
  }

  /** The values of a list. */
  items(): Item[] {
    if (!isSeq(this.#node)) {
      if (!this.isNull) this.problem(`${this.path} must be a list`);
      return [];
    }
    return this.#node.items.map(
      (node, index) => new Item(this.#state, node as Node, this.#place, `${this.path}.${index}`),
    );
  }

  /** A list of texts; one text alone counts as a list of one when `single` is set. */
  texts(single = false): string[] {
    if (single && isScalar(this.#node) && !this.isNull) return [this.text()].filter(isText);
    return this.items()
      .map((item) => item.text())
      .filter(isText);
  }

  /** Everything in a map whose keys the user chooses; `x-` keys are left out. */
  entries(): [string, Item][] {
    return this.#entries(true).map(({ name, key, value }) => [name, this.#child(name, key, value)]);
  }

  /** A map with known keys. An unknown one is a problem at its place. */
  fields(rules: KeyRules): ReadonlyMap<string, Item> {
    const fields = new Map<string, Item>();
    for (const { name, key, value } of this.#entries(true)) {
      const child = this.#child(name, key, value);
      if (rules.known.includes(name)) fields.set(name, child);
      else if (rules.undone?.includes(name)) child.undone();
      else this.#unknownKey(key, name, rules);
    }
    return fields;
  }

  /** `KEY: value` or a list of `KEY=value`; null = no value was given. */
  pairs(): [string, string | null, Item][] {
    if (this.isList) {
      return this.items().flatMap((item): [string, string | null, Item][] => {
        const text = item.text();
        if (text === undefined) return [];
        const at = text.indexOf('=');
        if (at < 0) return [[text, null, item]];
        return [[text.slice(0, at), text.slice(at + 1), item]];
      });
    }
    return this.#entries(false).flatMap(({ name, key, value }): [string, string | null, Item][] => {
      const item = this.#child(name, key, value);
      if (item.isNull) return [[name, null, item]];
      const text = item.text();
      return text === undefined ? [] : [[name, text, item]];
    });
  }

  /** Labels, options and the like: a missing value is empty. */
  stringMap(): Record<string, string> {
    return Object.fromEntries(this.pairs().map(([key, value]) => [key, value ?? '']));
  }

  #child(name: string, key: Scalar, value: Node | null): Item {
    return new Item(this.#state, value, key, this.path === '' ? name : `${this.path}.${name}`);
  }

  #entries(skipExtensions: boolean): Entry[] {
    if (!isMap(this.#node)) {
      const what = this.path === '' ? 'a stack file' : this.path;
      if (!this.isNull) this.problem(`${what} must be a mapping`);
      return [];
    }
    const own: Entry[] = [];
    const merged: Entry[] = [];
    for (const pair of this.#node.items as Pair<Node, Node | null>[]) {
      const name = this.#keyName(pair);
      if (name === null) continue;
      if (name === MERGE_KEY) merged.push(...this.#mergedEntries(pair.value));
      else own.push({ key: pair.key as Scalar, name, value: pair.value });
    }
    const names = new Set(own.map(({ name }) => name));
    for (const entry of merged) {
      if (names.has(entry.name)) continue;
      names.add(entry.name);
      own.push(entry);
    }
    return skipExtensions ? own.filter(({ name }) => !name.startsWith('x-')) : own;
  }

  /** What `<<` brings: a map, or several of which the earlier win. */
  #mergedEntries(value: Node | null): Entry[] {
    const target = resolveAlias(this.#state.document, value);
    const maps = isSeq(target) ? (target.items as Node[]) : [target];
    return maps.flatMap((node) => {
      const item = new Item(this.#state, node, value, this.path);
      if (item.isMap) return item.#entries(false);
      this.#problemAt(value, `${this.path}: << must name a mapping`);
      return [];
    });
  }

  #keyName(pair: Pair<Node, Node | null>): string | null {
    if (isScalar(pair.key)) return pair.key.source ?? String(pair.key.value);
    this.#problemAt(pair.key, `${this.path}: a key must be a plain word`);
    return null;
  }

  #unknownKey(key: Scalar, name: string, { known, undone = [] }: KeyRules): void {
    const where = this.path === '' ? 'at the top level' : `in ${this.path}`;
    const near = nearestWord(name, [...known, ...undone]);
    const hint = near === null ? '' : `; did you mean ${near}?`;
    this.#problemAt(key, `unknown key '${name}' ${where}${hint}`);
  }

  #problemAt(node: Node | null, message: string): void {
    const [start = 0, end = 0] = node?.range ?? [];
    const { line, column } = this.#state.source.position(start);
    const lineEnd = this.#state.source.line(line).length + 1;
    const length = Math.max(1, Math.min(end - start, lineEnd - column));
    this.#state.problems.push({ line, column, length, message });
  }
}

const isText = (text: string | undefined): text is string => text !== undefined;

function resolveAlias(document: Document, node: Node | null): Node | null {
  return isAlias(node) ? (node.resolve(document) ?? null) : node;
}

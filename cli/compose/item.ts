/**
 * A value of a checked model, with its path: typed reads that note every mistake at its place and go
 * on, so that all are told at once. Shapes are checked before; what is read here is what the words
 * mean. Knows no keys.
 */
import { describeError, SkepError } from '../../common/base/errors.ts';
import { nearestWord, type Place, StackFileError } from './problems.ts';
import {
  childPath,
  type Findings,
  isNull,
  type MapEntry,
  type ScalarValue,
  type Value,
} from './tree.ts';

/** What the conversion of one model shares. */
export interface ConversionState {
  readonly findings: Findings;
  /** places of keys that are to be read as if they were not there */
  readonly skipped: ReadonlySet<Place>;
  /** told of what is read and has no effect although its key has one */
  readonly ignored: (item: Item, why: string) => void;
}

const TRUE_WORDS = ['true', 'yes', 'y', 'on'];
const FALSE_WORDS = ['false', 'no', 'n', 'off'];
const INTEGER = /^[-+]?\d+$/;

export type Fields = ReadonlyMap<string, Item>;

export class Item {
  readonly path: string;
  readonly value: Value;
  readonly #state: ConversionState;

  constructor(state: ConversionState, value: Value, path: string) {
    this.#state = state;
    this.value = value;
    this.path = path;
  }

  get place(): Place {
    return this.value.place;
  }

  /** True for a value left empty, or given as null. */
  get isNull(): boolean {
    return isNull(this.value);
  }

  get isMap(): boolean {
    return this.value.kind === 'map';
  }

  get isList(): boolean {
    return this.value.kind === 'list';
  }

  /** True for what stands in the place of a value whose problem is told. */
  get isBroken(): boolean {
    return this.value.kind === 'broken';
  }

  /** Notes a mistake at this value. */
  problem(message: string): void {
    this.#state.findings.problem(this.place, message);
  }

  /** Notes that this value, unlike others of its key, has no effect. */
  ignored(why: string): void {
    this.#state.ignored(this, why);
  }

  /** undefined for what was refused already. */
  text(): string | undefined {
    return this.#scalar()?.text;
  }

  #scalar(): ScalarValue | undefined {
    const { value } = this;
    return value.kind === 'scalar' && value.value !== null ? value : undefined;
  }

  /** A whole number, also as a string. */
  integer(least = Number.MIN_SAFE_INTEGER): number | undefined {
    const text = this.text();
    if (text === undefined) return undefined;
    const number = INTEGER.test(text.trim()) ? Number(text) : (this.#scalar()?.value ?? '');
    if (typeof number !== 'number' || !Number.isSafeInteger(number)) {
      this.problem(`${this.path} must be an integer: got ${JSON.stringify(text)}`);
      return undefined;
    }
    if (number >= least) return number;
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

  /** What `work` returns; its refusal is a problem here, that of a file which it reads is one there. */
  attempt<T>(work: () => T): T | undefined {
    try {
      return work();
    } catch (err) {
      if (err instanceof StackFileError) {
        this.#state.findings.problems.push(...err.problems);
        return undefined;
      }
      if (!(err instanceof SkepError)) throw err;
      this.problem(`${this.path}: ${describeError(err)}`);
      return undefined;
    }
  }

  /** The values of a list. */
  items(): Item[] {
    if (this.value.kind !== 'list') return [];
    return this.value.items.map(
      (item, index) => new Item(this.#state, item, childPath(this.path, index)),
    );
  }

  /** A list of texts; one text alone counts as a list of one. */
  texts(): string[] {
    if (!this.isList) return [this.text()].filter(isText);
    return this.items()
      .map((item) => item.text())
      .filter(isText);
  }

  /** Everything in a map whose keys the user chooses. */
  entries(): [string, Item][] {
    return this.#entries().map(([name, { value }]) => [name, this.#child(name, value)]);
  }

  /** A map with known keys. */
  fields(): Fields {
    const fields = new Map<string, Item>();
    for (const [name, { keyPlace, value }] of this.#entries()) {
      if (!this.#state.skipped.has(keyPlace)) fields.set(name, this.#child(name, value));
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
    return this.entries().flatMap(([name, item]): [string, string | null, Item][] => {
      if (item.isNull) return [[name, null, item]];
      const text = item.text();
      return text === undefined ? [] : [[name, text, item]];
    });
  }

  /** Labels, options and the like: a missing value is empty. */
  stringMap(): Record<string, string> {
    return Object.fromEntries(this.pairs().map(([key, value]) => [key, value ?? '']));
  }

  #child(name: string, value: Value): Item {
    return new Item(this.#state, value, childPath(this.path, name));
  }

  #entries(): readonly (readonly [string, MapEntry])[] {
    return this.value.kind === 'map' ? [...this.value.entries] : [];
  }
}

const isText = (text: string | undefined): text is string => text !== undefined;

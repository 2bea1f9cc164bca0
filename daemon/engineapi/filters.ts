/** The `filters` query parameter in both of its encodings, checked against what a list call knows. */
import { SkepError } from '../../common/base/errors.ts';
import { matchingNames } from './name-expression.ts';

/** Filter name -> its values. Names AND; values of a name OR, except labels, which AND. */
export class Filters {
  readonly #values: ReadonlyMap<string, readonly string[]>;

  private constructor(values: ReadonlyMap<string, readonly string[]>) {
    this.#values = values;
  }

  /**
   * Parses `{"name":{"web":true}}` (Go clients) or `{"name":["web"]}` (Python, JavaScript). Throws
   * `invalid-argument` for a filter that is not in `known`.
   */
  static parse(text: string | null, known: readonly string[]): Filters {
    const values = new Map<string, readonly string[]>();
    for (const [name, given] of Object.entries(parseObject(text))) {
      if (!known.includes(name))
        throw new SkepError('invalid-argument', `invalid filter '${name}'`);
      values.set(name, valuesOf(name, given));
    }
    return new Filters(values);
  }

  /** As the query parameter, with what `changes` says in place of its own; an empty list is left out. */
  encoded(changes: Readonly<Record<string, readonly string[]>>): string {
    const all = { ...Object.fromEntries(this.#values), ...changes };
    return JSON.stringify(
      Object.fromEntries(Object.entries(all).filter(([, values]) => values.length > 0)),
    );
  }

  /** The values of a filter; empty when it was not given. */
  get(name: string): readonly string[] {
    return this.#values.get(name) ?? [];
  }

  has(name: string): boolean {
    return this.get(name).length > 0;
  }

  /** True when the filter was not given or `test` holds for one of its values. */
  any(name: string, test: (value: string) => boolean): boolean {
    const values = this.get(name);
    return values.length === 0 || values.some(test);
  }

  /** Its values, each of which is one of `known`. Throws `invalid-argument` for any other. */
  words(name: string, known: readonly string[]): readonly string[] {
    return this.get(name).map((text) => {
      if (known.includes(text)) return text;
      throw new SkepError('invalid-argument', `invalid filter: '${name}'='${text}'`);
    });
  }

  /** Undefined when it was not given. Throws `invalid-argument` for a word that is neither yes nor no. */
  boolean(name: string): boolean | undefined {
    const [value] = this.get(name).map((text) => {
      const word = text.toLowerCase();
      if (['true', '1'].includes(word)) return true;
      if (['false', '0'].includes(word)) return false;
      throw new SkepError('invalid-argument', `invalid filter: '${name}'='${text}'`);
    });
    return value;
  }

  /**
   * Those of which one name is meant by the filter `name`: regular expressions, one of which must match. Throws
   * `invalid-argument` for those that take too long.
   */
  named<T>(items: readonly T[], namesOf: (item: T) => readonly string[]): readonly T[] {
    const texts = this.get('name');
    if (texts.length === 0) return items;
    const matching = matchingNames(texts, [...new Set(items.flatMap(namesOf))]);
    return items.filter((item) => namesOf(item).some((name) => matching.has(name)));
  }

  /** `key` or `key=value`, all of which `labels` must have. */
  labels(name: string, labels: Readonly<Record<string, string>>): boolean {
    return this.get(name).every((filter) => {
      const at = filter.indexOf('=');
      if (at < 0) return Object.hasOwn(labels, filter);
      return labels[filter.slice(0, at)] === filter.slice(at + 1);
    });
  }
}

function parseObject(text: string | null): Record<string, unknown> {
  if (text === null || text === '') return {};
  try {
    const parsed: unknown = JSON.parse(text);
    if (parsed !== null && typeof parsed === 'object' && !Array.isArray(parsed)) {
      return parsed as Record<string, unknown>;
    }
  } catch (err) {
    throw new SkepError('invalid-argument', `invalid filters: '${text}' is not JSON`, {
      cause: err,
    });
  }
  throw new SkepError('invalid-argument', `invalid filters: '${text}' is not an object`);
}

function valuesOf(name: string, given: unknown): readonly string[] {
  if (Array.isArray(given)) return given.map(String);
  if (given !== null && typeof given === 'object') {
    return Object.entries(given)
      .filter(([, on]) => on !== false)
      .map(([value]) => value);
  }
  throw new SkepError('invalid-argument', `invalid filter '${name}': neither a list nor a map`);
}

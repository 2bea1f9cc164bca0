/**
 * Typed reads of a request body: every wrong type is an `invalid-argument` that names the field's
 * path. Absent and null are the same, as in Go's decoder; names match case-insensitively likewise.
 */
import { SkepError } from '../../../common/base/errors.ts';

export class JsonReader {
  readonly path: string;
  readonly #fields: ReadonlyMap<string, { readonly name: string; readonly value: unknown }>;

  /** @param value the body, or a part of it; absent counts as an empty object */
  constructor(value: unknown, path = '') {
    this.path = path;
    if (
      value !== undefined &&
      value !== null &&
      (typeof value !== 'object' || Array.isArray(value))
    ) {
      throw new SkepError('invalid-argument', `${path || 'request body'} must be an object`);
    }
    this.#fields = new Map(
      Object.entries((value ?? {}) as Record<string, unknown>)
        .filter(([, field]) => field !== null && field !== undefined)
        .map(([name, field]) => [name.toLowerCase(), { name, value: field }]),
    );
  }

  /** The fields as they were sent, without those that are null. */
  get value(): Readonly<Record<string, unknown>> {
    return Object.fromEntries(
      Array.from(this.#fields.values(), ({ name, value }) => [name, value]),
    );
  }

  /** Of the fields, as they were sent. */
  get names(): readonly string[] {
    return Array.from(this.#fields.values(), ({ name }) => name);
  }

  has(name: string): boolean {
    return this.#fields.has(name.toLowerCase());
  }

  raw(name: string): unknown {
    return this.#fields.get(name.toLowerCase())?.value;
  }

  at(name: string): string {
    return this.path === '' ? name : `${this.path}.${name}`;
  }

  string(name: string, absent = ''): string {
    const value = this.raw(name);
    if (value === undefined) return absent;
    if (typeof value !== 'string') return this.#wrong(name, 'a string', value);
    return value;
  }

  number(name: string, absent = 0): number {
    const value = this.raw(name);
    if (value === undefined) return absent;
    if (typeof value !== 'number' || !Number.isFinite(value)) {
      return this.#wrong(name, 'a number', value);
    }
    return value;
  }

  /** A whole number that a double holds exactly. */
  integer(name: string, absent = 0): number {
    const value = this.number(name, absent);
    if (!Number.isSafeInteger(value)) return this.#wrong(name, 'a whole number', value);
    return value;
  }

  /** A duration that may last for years: see `nanos64`. */
  nanos(name: string, absent = 0): number {
    const value = this.number(name, absent);
    const isDuration = Number.isInteger(value) && Math.abs(value) < 2 ** 63;
    return isDuration ? value : this.#wrong(name, 'a duration in nanoseconds', value);
  }

  boolean(name: string, absent = false): boolean {
    const value = this.raw(name);
    if (value === undefined) return absent;
    if (typeof value !== 'boolean') return this.#wrong(name, 'true or false', value);
    return value;
  }

  object(name: string): JsonReader {
    return new JsonReader(this.raw(name), this.at(name));
  }

  list(name: string): readonly unknown[] {
    const value = this.raw(name);
    if (value === undefined) return [];
    if (!Array.isArray(value)) return this.#wrong(name, 'a list', value);
    return value;
  }

  objects(name: string): readonly JsonReader[] {
    return this.list(name).map((item, index) => new JsonReader(item, `${this.at(name)}[${index}]`));
  }

  strings(name: string): readonly string[] {
    return this.list(name).map((item, index) => {
      if (typeof item === 'string') return item;
      return this.#wrong(`${name}[${index}]`, 'a string', item);
    });
  }

  /** A list of lists of texts. */
  lists(name: string): readonly (readonly string[])[] {
    return this.list(name).map((item, index) => {
      const isTexts = Array.isArray(item) && item.every((text) => typeof text === 'string');
      return isTexts
        ? (item as string[])
        : this.#wrong(`${name}[${index}]`, 'a list of strings', item);
    });
  }

  integers(name: string): readonly number[] {
    return this.list(name).map((item, index) => {
      if (Number.isSafeInteger(item)) return item as number;
      return this.#wrong(`${name}[${index}]`, 'a whole number', item);
    });
  }

  stringMap(name: string): Readonly<Record<string, string>> {
    const given = this.raw(name);
    const at = new JsonReader(given, this.at(name)); // refuses what is no object
    // Keys are the user's, so here the case counts; fromEntries because `__proto__` is a key too.
    return Object.fromEntries(
      Object.entries(given ?? {})
        .filter(([, value]) => value !== null)
        .map(([key, value]) => {
          return [key, typeof value === 'string' ? value : at.#wrong(key, 'a string', value)];
        }),
    );
  }

  /** One of `allowed` (compared without case); absent or empty gives `absent`. */
  oneOf<T extends string>(name: string, allowed: readonly T[], absent: T): T {
    const value = this.string(name).toLowerCase();
    if (value === '') return absent;
    const found = allowed.find((word) => word === value);
    return found ?? this.#wrong(name, `one of ${allowed.join(', ')}`, value);
  }

  /** Standard base 64; absent is empty. */
  base64(name: string): Uint8Array {
    const text = this.string(name).replace(/[\r\n]/g, '');
    if (text.length % 4 !== 0 || !/^[A-Za-z0-9+/]*={0,2}$/.test(text)) {
      // Its content may be a secret: it is not repeated.
      throw new SkepError('invalid-argument', `${this.at(name)} must be base 64`);
    }
    return Buffer.from(text, 'base64');
  }

  /** Refuses a field that is not done, by name, when it was given with a meaning. */
  refuse(name: string, why: string): void {
    if (isEmpty(this.raw(name))) return;
    throw new SkepError('unimplemented', `${this.at(name)} is not supported: ${why}`);
  }

  #wrong(name: string, expected: string, value: unknown): never {
    throw new SkepError(
      'invalid-argument',
      `${this.at(name)} must be ${expected}: got ${JSON.stringify(value)}`,
    );
  }
}

/** What clients send for "nothing said": null, false, 0, "", [], {}, or objects of those. */
function isEmpty(value: unknown): boolean {
  if (value === undefined || value === null || value === false || value === 0 || value === '') {
    return true;
  }
  if (Array.isArray(value)) return value.length === 0;
  return typeof value === 'object' && Object.values(value).every(isEmpty);
}

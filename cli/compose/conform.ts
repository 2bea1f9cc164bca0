/**
 * Holds the values of one file against the shapes of the key tables. What fits comes back in one
 * form: words put in by variables are of the type that is needed, relative paths are absolute. What
 * does not is told at its place, and a broken value stands for it, so that all mistakes are found.
 */
import { isAbsolute, join, normalize } from 'node:path';
import type { DictShape, KeyTable, ListShape, MapShape, ScalarShape, Shape } from './keys/key.ts';
import { nearestWord } from './problems.ts';
import {
  childPath,
  type Findings,
  isNull,
  type ListValue,
  listValue,
  type MapEntry,
  type MapValue,
  mapValue,
  type ScalarValue,
  scalarValue,
  type Value,
} from './tree.ts';

/** Where relative paths start, and what `~` is. */
export interface PathBase {
  /** absolute */
  readonly dir: string;
  readonly home: string;
}

/** Absolute, from the directory of the stack file; `~` is HOME. */
export function absolutePath({ dir, home }: PathBase, path: string): string {
  if (path === '~') return home;
  if (path.startsWith('~/')) return join(home, path.slice(2));
  return isAbsolute(path) ? normalize(path) : join(dir, path);
}

export function conform(value: Value, shape: Shape, base: PathBase, findings: Findings): Value {
  return new Conformer(base, findings).value(value, shape, '');
}

/** Problems for which a near word is looked for; more are not printed. */
const HINTS_MAX = 100;

const WORD_FLAGS: Readonly<Record<string, boolean>> = {
  true: true,
  yes: true,
  y: true,
  on: true,
  false: false,
  no: false,
  n: false,
  off: false,
};

class Conformer {
  readonly #base: PathBase;
  readonly #findings: Findings;

  constructor(base: PathBase, findings: Findings) {
    this.#base = base;
    this.#findings = findings;
  }

  value(value: Value, shape: Shape, path: string): Value {
    // What is taken away has no shape.
    if (shape.any || value.kind === 'broken' || value.mark === 'reset') return value;
    if (isNull(value)) return shape.nullable ? value : this.#empty(value, shape, path);
    switch (value.kind) {
      case 'scalar':
        if (!shape.scalar) return this.#unfit(value, shape, path);
        return this.#scalar(value, shape.scalar, shape, path);
      case 'list':
        if (!shape.list) return this.#unfit(value, shape, path);
        return this.#list(value, shape.list, path);
      case 'map':
        if (shape.map) return this.#map(value, shape.map, path);
        if (shape.dict) return this.#dict(value, shape.dict, path);
        return this.#unfit(value, shape, path);
    }
  }

  #unfit(value: Value, shape: Shape, path: string): Value {
    return this.#findings.broken(value.place, `${nameOf(path)} must be ${formsOf(shape)}`);
  }

  #empty(value: Value, shape: Shape, path: string): Value {
    return this.#findings.broken(
      value.place,
      `${nameOf(path)} must be ${formsOf(shape)}: it is empty`,
    );
  }

  #scalar(value: ScalarValue, shape: ScalarShape, whole: Shape, path: string): Value {
    const typed = typedScalar(value, shape);
    if (!typed) {
      const got = `got ${JSON.stringify(value.text)}`;
      const hint =
        typeof value.value === 'string'
          ? ''
          : `; in quotes it is a text: ${JSON.stringify(value.text)}`;
      const words = `${path} must be ${formsOf(whole)}: ${got}${shape.types.includes('string') ? hint : ''}`;
      return this.#findings.broken(value.place, words);
    }
    const wrong = ruleBroken(typed, shape);
    if (wrong !== null) return this.#findings.broken(value.place, `${path} ${wrong}`);
    return shape.path === undefined ? typed : this.#located(typed, shape.path);
  }

  /** Only paths on this machine are moved: names of volumes and URLs are none. */
  #located(value: ScalarValue, kind: NonNullable<ScalarShape['path']>): ScalarValue {
    const text = value.text;
    const [source = '', ...rest] = kind === 'mount' ? text.split(':') : [text];
    const isPath = kind === 'file' || /^[./~]/.test(source);
    if (!isPath || text === '' || (kind === 'mount' && rest.length === 0)) return value;
    const moved = [absolutePath(this.#base, source), ...rest].join(':');
    return moved === text ? value : scalarValue(value.place, moved, moved, value.mark);
  }

  #list(value: ListValue, { of, unique }: ListShape, path: string): Value {
    const items = value.items.map((item, index) => this.value(item, of, childPath(path, index)));
    if (unique) this.#uniqueItems(value.items, path);
    return listValue(value.place, items, value.mark);
  }

  #uniqueItems(items: readonly Value[], path: string): void {
    const seen = new Map<string, number>();
    for (const [index, item] of items.entries()) {
      const text = JSON.stringify(plain(item));
      const first = seen.get(text);
      if (first === undefined) seen.set(text, index);
      else this.#findings.problem(item.place, `${path}.${index} is the same as ${path}.${first}`);
    }
  }

  #map(value: MapValue, shape: MapShape, path: string): Value {
    const entries = new Map<string, MapEntry>();
    for (const [name, entry] of value.entries) {
      const key = Object.hasOwn(shape.keys, name) ? shape.keys[name] : undefined;
      const isExtension = shape.extensions !== false && name.startsWith('x-');
      if (key) {
        const inner = this.value(entry.value, key.shape, childPath(path, name));
        entries.set(name, { keyPlace: entry.keyPlace, value: inner });
      } else if (isExtension || shape.open) entries.set(name, entry);
      else this.#unknownKey(entry, name, shape.keys, path);
    }
    for (const name of shape.required ?? []) {
      if (value.entries.has(name)) continue;
      this.#findings.problem(value.place, `${nameOf(path)}: ${name} is required`);
    }
    return mapValue(value.place, entries, value.mark);
  }

  #dict(value: MapValue, { of, names }: DictShape, path: string): Value {
    const entries = new Map<string, MapEntry>();
    for (const [name, entry] of value.entries) {
      if (names && !names.test(name)) {
        const words = `${nameOf(path)}: '${name}' cannot be a name here: names match ${names.source}`;
        entries.set(name, {
          keyPlace: entry.keyPlace,
          value: this.#findings.broken(entry.keyPlace, words),
        });
        continue;
      }
      const inner = this.value(entry.value, of, childPath(path, name));
      entries.set(name, { keyPlace: entry.keyPlace, value: inner });
    }
    return mapValue(value.place, entries, value.mark);
  }

  #unknownKey({ keyPlace }: MapEntry, name: string, keys: KeyTable, path: string): void {
    const where = path === '' ? 'at the top level' : `in ${path}`;
    const count = this.#findings.problems.length;
    const near = count < HINTS_MAX ? nearestWord(name, Object.keys(keys)) : null;
    const hint = near === null ? '' : `; did you mean ${near}?`;
    this.#findings.problem(keyPlace, `unknown key '${name}' ${where}${hint}`);
  }
}

const nameOf = (path: string): string => (path === '' ? 'a stack file' : path);

/** `a string or a list`; kinds in the order in which people write them. */
function formsOf({ scalar, list, map, dict }: Shape): string {
  const article: Readonly<Record<string, string>> = { integer: 'an integer' };
  const types = scalar?.types ?? [];
  const scalars = types.map((type) => article[type] ?? `a ${type}`);
  return [...scalars, ...(list ? ['a list'] : []), ...(map || dict ? ['a mapping'] : [])].join(
    ' or ',
  );
}

/** The value as one of the types; texts made of variables may become what is needed. */
function typedScalar(value: ScalarValue, { types }: ScalarShape): ScalarValue | null {
  const { value: raw } = value;
  switch (typeof raw) {
    case 'boolean':
      return types.includes('boolean') ? value : null;
    case 'number': {
      const fits = types.includes('number') || (types.includes('integer') && Number.isInteger(raw));
      return fits && Number.isFinite(raw) ? value : null;
    }
    case 'string':
      return types.includes('string') ? value : castText(value, raw, types);
    default:
      return null;
  }
}

function castText(
  value: ScalarValue,
  raw: string,
  types: ScalarShape['types'],
): ScalarValue | null {
  if (!value.interpolated) return null;
  const flag = WORD_FLAGS[raw.toLowerCase()];
  if (types.includes('boolean') && flag !== undefined) return scalarValue(value.place, flag);
  const number = raw.trim() === '' ? Number.NaN : Number(raw);
  const fits = types.includes('number') || (types.includes('integer') && Number.isInteger(number));
  return fits && Number.isFinite(number) ? scalarValue(value.place, number) : null;
}

/** What a scalar of the right type is not; null when it is all that it must be. */
function ruleBroken({ value, text }: ScalarValue, shape: ScalarShape): string | null {
  const { words, pattern, least, most } = shape;
  if (words && !words.includes(text)) {
    const near = nearestWord(text, words);
    const hint = near === null ? '' : `; did you mean ${near}?`;
    return `must be one of ${words.join(', ')}: got "${text}"${hint}`;
  }
  if (pattern && !pattern.test(text)) return `must match ${pattern.source}: got "${text}"`;
  if (typeof value !== 'number') return null;
  if (least !== undefined && value < least) return `must be ${least} or more: got ${text}`;
  if (most !== undefined && value > most) return `must be ${most} or less: got ${text}`;
  return null;
}

/** As JSON has it; order of keys counts for nothing. */
export function plain(value: Value): unknown {
  switch (value.kind) {
    case 'scalar':
      return value.value;
    case 'list':
      return value.items.map(plain);
    case 'map':
      return Object.fromEntries(
        [...value.entries]
          .sort(([a], [b]) => (a < b ? -1 : 1))
          .map(([name, entry]) => [name, plain(entry.value)]),
      );
    case 'broken':
      return { broken: value.place.start };
  }
}

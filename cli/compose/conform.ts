/**
 * Holds the values of one file against the shapes of the key tables. What fits comes back in one
 * form: words put in by variables are of the type that is needed, relative paths are absolute. What
 * does not is told at its place, and a broken value stands for it, so that all mistakes are found.
 */
import { isAbsolute, join, normalize } from 'node:path';
import type { DictShape, KeyTable, ListShape, MapShape, ScalarShape, Shape } from './keys/key.ts';
import { nearestWord, type Place } from './problems.ts';
import { parseSecurityOption } from './security-options.ts';
import {
  type Findings,
  isNull,
  type ListValue,
  type MapValue,
  member,
  plain,
  type ScalarValue,
  scalarValue,
  type Value,
  WalkPath,
  withItems,
  withValues,
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
  return new Conformer(base, findings).value(value, shape);
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
  readonly #path = new WalkPath();

  constructor(base: PathBase, findings: Findings) {
    this.#base = base;
    this.#findings = findings;
  }

  /** The path of the value, or what stands for it at the top. */
  get #name(): string {
    return `${this.#path}` || 'a stack file';
  }

  value(value: Value, shape: Shape): Value {
    // What is taken away has no shape.
    if (shape.any || value.kind === 'broken' || value.mark === 'reset') return value;
    if (isNull(value)) return shape.nullable ? value : this.#unfit(value, shape, ': it is empty');
    switch (value.kind) {
      case 'scalar':
        return shape.scalar ? this.#scalar(value, shape.scalar, shape) : this.#unfit(value, shape);
      case 'list':
        return shape.list ? this.#list(value, shape.list) : this.#unfit(value, shape);
      case 'map':
        if (shape.map) return this.#map(value, shape.map);
        return shape.dict ? this.#dict(value, shape.dict) : this.#unfit(value, shape);
    }
  }

  #within(step: string | number, value: Value, shape: Shape): Value {
    return this.#path.within(step, () => this.value(value, shape));
  }

  #unfit(value: Value, shape: Shape, why = ''): Value {
    return this.#findings.broken(value.place, `${this.#name} must be ${formsOf(shape)}${why}`);
  }

  #scalar(value: ScalarValue, shape: ScalarShape, whole: Shape): Value {
    const typed = typedScalar(value, shape);
    if (!typed) {
      const quoted = JSON.stringify(value.text);
      const isText = typeof value.value === 'string' || !shape.types.includes('string');
      const { unit } = shape;
      const meant =
        unit === undefined
          ? `in quotes it is a text: ${quoted}`
          : `with its unit: ${value.text}${unit}`;
      const hint = isText ? '' : `; ${meant}`;
      return this.#unfit(value, whole, `: got ${quoted}${hint}`);
    }
    const wrong = ruleBroken(typed, shape);
    if (wrong !== null) return this.#findings.broken(value.place, `${this.#name} ${wrong}`);
    return shape.path === undefined ? typed : this.#located(typed, shape.path);
  }

  /** Only paths on this machine are moved: names of volumes and URLs are none. */
  #located(value: ScalarValue, kind: NonNullable<ScalarShape['path']>): ScalarValue {
    const text = value.text;
    if (kind === 'security') return this.#securityFile(value);
    const [source = '', ...rest] = kind === 'mount' ? text.split(':') : [text];
    const isPath = kind === 'file' || /^[./~]/.test(source);
    if (!isPath || text === '' || (kind === 'mount' && rest.length === 0)) return value;
    const moved = [absolutePath(this.#base, source), ...rest].join(':');
    return moved === text ? value : scalarValue(value.place, moved, moved, value.mark);
  }

  /** `seccomp:FILE`; other options, and words in the place of a file, stay. */
  #securityFile(value: ScalarValue): ScalarValue {
    const option = parseSecurityOption(value.text)?.seccomp;
    if (typeof option !== 'object') return value;
    const moved = `seccomp:${absolutePath(this.#base, option.file)}`;
    return scalarValue(value.place, moved, moved, value.mark);
  }

  #list(value: ListValue, { of, unique }: ListShape): Value {
    if (unique && value.items.length > 1) this.#uniqueItems(value.items);
    return withItems(value, (item, index) => this.#within(index, item, of));
  }

  #uniqueItems(items: readonly Value[]): void {
    const seen = new Map<string, number>();
    for (const [index, item] of items.entries()) {
      const text = item.kind === 'scalar' ? scalarKey(item) : JSON.stringify(plain(item));
      const first = seen.get(text);
      if (first === undefined) seen.set(text, index);
      else {
        const words = `${this.#path}.${index} is the same as ${this.#path}.${first}`;
        this.#findings.problem(item.place, words);
      }
    }
  }

  #map(value: MapValue, shape: MapShape): Value {
    for (const name of shape.required ?? []) {
      if (value.entries.has(name)) continue;
      this.#findings.problem(value.place, `${this.#name}: ${name} is required`);
    }
    return withValues(value, (inner, name, { keyPlace }) => {
      const key = Object.hasOwn(shape.keys, name) ? shape.keys[name] : undefined;
      if (key) return this.#within(name, inner, key.shape);
      const isExtension = shape.extensions !== false && name.startsWith('x-');
      if (isExtension || shape.open) return inner;
      this.#unknownKey(keyPlace, name, shape.keys, inner);
      return null;
    });
  }

  #dict(value: MapValue, { of, names }: DictShape): Value {
    return withValues(value, (inner, name, { keyPlace }) => {
      if (!names || names.test(name)) return this.#within(name, inner, of);
      const words = `'${name}' cannot be a name here: names match ${names.source}`;
      return this.#findings.broken(keyPlace, `${this.#name}: ${words}`);
    });
  }

  #unknownKey(keyPlace: Place, name: string, keys: KeyTable, value: Value): void {
    const isTop = `${this.#path}` === '';
    const where = isTop ? 'at the top level' : `in ${this.#path}`;
    if (isTop && (member(value, 'image') ?? member(value, 'build'))) {
      const words = `unknown key '${name}' ${where}: services stand under the key services`;
      this.#findings.problem(keyPlace, words);
      return;
    }
    const count = this.#findings.problems.length;
    const near = count < HINTS_MAX ? nearestWord(name, Object.keys(keys)) : null;
    const hint = near === null ? '' : `; did you mean ${near}?`;
    this.#findings.problem(keyPlace, `unknown key '${name}' ${where}${hint}`);
  }
}

/** Equal for equal scalars of one type. */
function scalarKey({ value }: ScalarValue): string {
  return JSON.stringify(value);
}

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

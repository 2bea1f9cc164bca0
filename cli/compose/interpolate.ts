/** `${VAR}` and its forms in the values of a stack file. */
import { describeError, SkepError } from '../../common/base/errors.ts';
import type { Environment } from './files.ts';
import {
  type Findings,
  type MapValue,
  type ScalarValue,
  type Value,
  WalkPath,
  withItems,
  withValues,
} from './tree.ts';

/** Variables within the defaults of variables. */
const DEPTH_MAX = 100;
const NAME = /[_a-zA-Z][_a-zA-Z0-9]*/y;

/**
 * `$VAR`, `${VAR}`, `${VAR:-default}` (unset or empty), `${VAR-default}` (unset), `${VAR:?message}`,
 * `${VAR?message}`, `${VAR:+other}`, `${VAR+other}`, `$$`; defaults may hold variables again. An
 * unset variable is empty. Throws `invalid-argument`.
 */
export function interpolate(
  text: string,
  env: Environment,
  unset: (name: string) => void = () => {},
): string {
  if (!text.includes('$')) return text;
  return new Interpolation(text, env, unset).run();
}

class Interpolation {
  readonly #text: string;
  readonly #env: Environment;
  readonly #unset: (name: string) => void;
  #at = 0;
  #depth = 0;

  constructor(text: string, env: Environment, unset: (name: string) => void) {
    this.#text = text;
    this.#env = env;
    this.#unset = unset;
  }

  run(): string {
    return this.#until(null);
  }

  /** Up to `end` of an enclosing `${`, or the end of the text. */
  #until(end: '}' | null): string {
    let out = '';
    while (this.#at < this.#text.length) {
      const char = this.#text[this.#at]!;
      if (char === end) return out;
      if (char !== '$') {
        out += char;
        this.#at++;
        continue;
      }
      out += this.#dollar();
    }
    if (end !== null) this.#bad('a "{" is not closed');
    return out;
  }

  #dollar(): string {
    const next = this.#text[this.#at + 1];
    if (next === '$') {
      this.#at += 2;
      return '$';
    }
    if (next === '{') {
      this.#at += 2;
      const value = this.#braces();
      this.#at++; // the closing brace
      return value;
    }
    this.#at++;
    return this.#plain(this.#name());
  }

  #plain(name: string): string {
    const value = this.#env[name];
    if (value === undefined) this.#unset(name);
    return value ?? '';
  }

  #braces(): string {
    const name = this.#name();
    const match = /:?[-?+]/y;
    match.lastIndex = this.#at;
    const operator = match.exec(this.#text)?.[0] ?? '';
    if (operator === '') {
      if (this.#text[this.#at] !== '}') this.#bad(`after the name ${name}`);
      return this.#plain(name);
    }
    this.#at += operator.length;
    if (++this.#depth > DEPTH_MAX) this.#bad(`variables are nested more than ${DEPTH_MAX} deep`);
    const word = this.#until('}');
    this.#depth--;
    const value = this.#env[name];
    const given = value !== undefined && (value !== '' || !operator.startsWith(':'));
    if (operator.endsWith('-')) return given ? value : word;
    if (operator.endsWith('+')) return given ? word : '';
    if (given) return value;
    throw new SkepError(
      'invalid-argument',
      `required variable ${name} is missing a value${word === '' ? '' : `: ${word}`}`,
    );
  }

  #name(): string {
    NAME.lastIndex = this.#at;
    const name = NAME.exec(this.#text)?.[0];
    if (name === undefined) return this.#bad('no name of a variable follows "$"');
    this.#at += name.length;
    return name;
  }

  #bad(why: string): never {
    throw new SkepError(
      'invalid-argument',
      `invalid interpolation format: "${this.#text}": ${why}; you may need to escape any $ with another $`,
    );
  }
}

/** Told of a plain `$NAME` that stands for nothing. */
export type UnsetListener = (value: ScalarValue, name: string) => void;

/**
 * The texts of a file with their variables filled in; keys stay as they are, and so does what
 * belongs to nobody (`x-` at the top level), unless an alias brings it elsewhere.
 */
export function interpolateFile(
  root: Value,
  env: Environment,
  findings: Findings,
  unset: UnsetListener,
): Value {
  const pass = new InterpolationPass(env, findings, unset);
  if (root.kind !== 'map') return pass.value(root);
  return pass.map(root, (name) => !name.startsWith('x-'));
}

class InterpolationPass {
  readonly #env: Environment;
  readonly #findings: Findings;
  readonly #unset: UnsetListener;
  readonly #path = new WalkPath();
  /** what aliases share is done once */
  readonly #done = new Map<Value, Value>();

  constructor(env: Environment, findings: Findings, unset: UnsetListener) {
    this.#env = env;
    this.#findings = findings;
    this.#unset = unset;
  }

  value(value: Value): Value {
    if (value.kind === 'broken') return value;
    if (value.kind === 'scalar') return this.#scalar(value);
    const done = this.#done.get(value);
    if (done) return done;
    const made =
      value.kind === 'map'
        ? this.map(value, () => true)
        : withItems(value, (item, index) => this.#path.within(index, () => this.value(item)));
    this.#done.set(value, made);
    return made;
  }

  map(map: MapValue, wanted: (name: string) => boolean): MapValue {
    return withValues(map, (value, name) =>
      wanted(name) ? this.#path.within(name, () => this.value(value)) : value,
    );
  }

  #scalar(value: ScalarValue): Value {
    if (typeof value.value !== 'string' || !value.text.includes('$')) return value;
    try {
      const text = interpolate(value.text, this.#env, (name) => this.#unset(value, name));
      return { ...value, value: text, text, interpolated: true };
    } catch (err) {
      return this.#findings.broken(value.place, `${this.#path}: ${describeError(err)}`);
    }
  }
}

/** `${VAR}` and its forms in the values of a stack file. */
import { SkepError } from '../../common/base/errors.ts';
import type { Environment } from './files.ts';

const NAME = /[_a-zA-Z][_a-zA-Z0-9]*/y;

/**
 * `$VAR`, `${VAR}`, `${VAR:-default}` (unset or empty), `${VAR-default}` (unset), `${VAR:?message}`,
 * `${VAR?message}`, `${VAR:+other}`, `${VAR+other}`, `$$`; defaults may hold variables again. An
 * unset variable is empty. Throws `invalid-argument`.
 */
export function interpolate(text: string, env: Environment): string {
  if (!text.includes('$')) return text;
  return new Interpolation(text, env).run();
}

class Interpolation {
  readonly #text: string;
  readonly #env: Environment;
  #at = 0;

  constructor(text: string, env: Environment) {
    this.#text = text;
    this.#env = env;
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
    return this.#env[this.#name()] ?? '';
  }

  #braces(): string {
    const name = this.#name();
    const match = /:?[-?+]/y;
    match.lastIndex = this.#at;
    const operator = match.exec(this.#text)?.[0] ?? '';
    if (operator === '') {
      if (this.#text[this.#at] !== '}') this.#bad(`after the name ${name}`);
      return this.#env[name] ?? '';
    }
    this.#at += operator.length;
    const word = this.#until('}');
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

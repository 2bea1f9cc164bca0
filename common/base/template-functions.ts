/** The functions that Go's text templates have by themselves, and how they print a value. */
import { SkepError } from './errors.ts';
import { compareText } from './order.ts';

export type TemplateFunctions = Readonly<Record<string, (...args: unknown[]) => unknown>>;

export function templateFailure(message: string): SkepError {
  return new SkepError('invalid-argument', `template parsing error: ${message}`);
}

export function failTemplate(message: string): never {
  throw templateFailure(message);
}

/** `and` and `or` are the renderer's own: they do not look at what does not count. */
export const GO_FUNCTIONS: TemplateFunctions = {
  print: (...args) => joined(args),
  println: (...args) => `${args.map(printed).join(' ')}\n`,
  printf: (format, ...args) => formatted(printed(format), args),
  html: (...args) => joined(args).replace(/[<>&'"\0]/g, (char) => HTML_ENTITIES[char]!),
  js: (...args) =>
    joined(args).replace(/[\\'"<>&=\p{Cc}]/gu, (char) => JS_ESCAPES[char] ?? unicodeEscape(char)),
  urlquery: (...args) => new URLSearchParams({ '': joined(args) }).toString().slice(1),
  len: (value) => {
    if (typeof value === 'string') return Buffer.byteLength(value);
    if (Array.isArray(value)) return value.length;
    if (typeof value === 'number' || typeof value === 'boolean') {
      failTemplate(`len of type ${typeof value}`);
    }
    return Object.keys((value ?? {}) as object).length;
  },
  index: (value, ...keys) => keys.reduce(itemOf, value),
  slice: (value, from = 0, to) => sliced(value, Number(from), to),
  eq: (first, ...others) => {
    if (others.length === 0) failTemplate('eq: missing argument for comparison');
    return others.some((other) => other === first);
  },
  ne: (a, b) => a !== b,
  lt: (a, b) => compared(a, b) < 0,
  le: (a, b) => compared(a, b) <= 0,
  gt: (a, b) => compared(a, b) > 0,
  ge: (a, b) => compared(a, b) >= 0,
  not: (value) => !isTrue(value),
};

/** Characters at most that one becomes. */
const GROWTH: Readonly<Record<string, number>> = { html: 5, js: 6, urlquery: 9 };

/** Characters that the text which a function makes of its arguments may have: each stands in it as often as there are some. */
export function textRoom(name: string, args: readonly unknown[]): number {
  const longest = args.reduce<number>(
    (most, arg) => (typeof arg === 'string' ? Math.max(most, arg.length) : most),
    0,
  );
  return longest * args.length * (GROWTH[name] ?? 1);
}

const HTML_ENTITIES: Readonly<Record<string, string>> = {
  ...{ '<': '&lt;', '>': '&gt;', '&': '&amp;', "'": '&#39;', '"': '&#34;', '\0': '\uFFFD' },
};
const JS_ESCAPES: Readonly<Record<string, string>> = { '\\': '\\\\', "'": "\\'", '"': '\\"' };

function unicodeEscape(char: string): string {
  return `\\u${char.codePointAt(0)!.toString(16).toUpperCase().padStart(4, '0')}`;
}

function itemOf(value: unknown, key: unknown): unknown {
  if (Array.isArray(value) || typeof value === 'string') {
    const at = Number(key);
    const length = value.length;
    if (!Number.isInteger(at) || at < 0 || at >= length) {
      failTemplate(`index: ${printed(key)} is out of range of ${length}`);
    }
    return typeof value === 'string' ? value.charCodeAt(at) : value[at];
  }
  const found = lookUp(value, printed(key));
  // Of a map of texts, as labels are, a key that is not there is the empty text.
  return found === undefined && isMapOfTexts(value) ? '' : found;
}

function isMapOfTexts(value: unknown): boolean {
  if (value === null || typeof value !== 'object') return false;
  const values = Object.values(value);
  return values.length > 0 && values.every((one) => typeof one === 'string');
}

function sliced(value: unknown, from: number, to: unknown): unknown {
  if (typeof value !== 'string' && !Array.isArray(value)) failTemplate('slice of what is no list');
  const end = to === undefined ? value.length : Number(to);
  if (!(Number.isInteger(from) && Number.isInteger(end) && 0 <= from && from <= end)) {
    failTemplate(`slice: ${from} to ${end} is no range`);
  }
  if (end > value.length) failTemplate(`slice: ${end} is out of range of ${value.length}`);
  return value.slice(from, end);
}

/** Own properties alone. */
export function lookUp(value: unknown, key: string): unknown {
  if (value === null || typeof value !== 'object') return undefined;
  return Object.hasOwn(value, key) ? (value as Record<string, unknown>)[key] : undefined;
}

function compared(a: unknown, b: unknown): number {
  if (typeof a === 'string' && typeof b === 'string') return compareText(a, b);
  return Number(a) - Number(b);
}

export function isTrue(value: unknown): boolean {
  if (Array.isArray(value)) return value.length > 0;
  if (value !== null && typeof value === 'object') return Object.keys(value).length > 0;
  return Boolean(value);
}

// ---- text ----------------------------------------------------------------------------------------

/** Go's `%v`: lists as `[a b]`, maps as `map[k:v]`. */
export function printed(value: unknown): string {
  if (value === null || value === undefined) return '<no value>';
  if (Array.isArray(value)) return `[${value.map(printed).join(' ')}]`;
  if (typeof value === 'object') {
    const entries = Object.entries(value).map(([key, inner]) => `${key}:${printed(inner)}`);
    return `map[${entries.sort(compareText).join(' ')}]`;
  }
  return String(value);
}

/** Blanks stand between neighbours of which neither is a text. */
function joined(values: readonly unknown[]): string {
  return values
    .map((value, at) => {
      const isApart = at > 0 && typeof value !== 'string' && typeof values[at - 1] !== 'string';
      return isApart ? ` ${printed(value)}` : printed(value);
    })
    .join('');
}

/** Of widths and precisions; more is a mistake. */
const FORMAT_NUMBER_MAX = 1000;

/** Go's verbs with flags, widths and precisions, without `*`, `[n]`, `%T`, `%p` and `%b` of floats. */
function formatted(format: string, args: readonly unknown[]): string {
  let next = 0;
  const verb = /%([-+# 0]*)(\d*)(?:(\.)(\d*))?(.)/gsu;
  const text = format.replace(verb, (whole, flags, width, point, digits, letter) => {
    if (letter === '%') return '%';
    if (!VERBS.includes(letter)) return failTemplate(`printf: unknown verb ${whole}`);
    if (next >= args.length) return failTemplate(`printf: no value for ${whole}`);
    const precision = point === undefined ? null : Number(digits);
    if (Math.max(Number(width), precision ?? 0) > FORMAT_NUMBER_MAX) {
      return failTemplate(`printf: ${whole} is wider than ${FORMAT_NUMBER_MAX}`);
    }
    const words = verbText(letter, args[next++], { flags, precision });
    return padded(words, flags, Number(width), !'svqct'.includes(letter));
  });
  if (next < args.length) failTemplate(`printf: no verb for ${printed(args[next])}`);
  return text;
}

const VERBS = 'svdqtcxXobeEfFgGU';

interface Style {
  readonly flags: string;
  readonly precision: number | null;
}

function verbText(letter: string, value: unknown, { flags, precision }: Style): string {
  const cut = (text: string): string =>
    precision === null ? text : Array.from(text).slice(0, precision).join('');
  if ('sv'.includes(letter)) return cut(printed(value));
  if (letter === 'q') return JSON.stringify(cut(printed(value)));
  if (letter === 't') {
    if (typeof value === 'boolean') return String(value);
    return failTemplate(`printf: %t of ${printed(value)}`);
  }
  if ('xX'.includes(letter) && typeof value === 'string') {
    const hex = Buffer.from(cut(value)).toString('hex');
    return letter === 'X' ? hex.toUpperCase() : hex;
  }
  if (typeof value !== 'number') return failTemplate(`printf: %${letter} of ${printed(value)}`);
  const size = Math.abs(value);
  const sign = value < 0 ? '-' : flags.includes('+') ? '+' : flags.includes(' ') ? ' ' : '';
  return `${sign}${numberText(letter, size, precision, flags.includes('#'))}`;
}

/** @param size not below 0 */
function numberText(
  letter: string,
  size: number,
  precision: number | null,
  isMarked: boolean,
): string {
  const float = 'eEfFgG'.includes(letter);
  if (!float && !Number.isSafeInteger(size)) return failTemplate(`printf: %${letter} of ${size}`);
  const whole = (base: number, mark: string): string =>
    `${isMarked ? mark : ''}${size.toString(base).padStart(precision ?? 0, '0')}`;
  switch (letter) {
    case 'd':
      return whole(10, '');
    case 'x':
      return whole(16, '0x');
    case 'X':
      return whole(16, '0x').toUpperCase();
    case 'o':
      return whole(8, '0');
    case 'b':
      return whole(2, '0b');
    case 'c':
      return size > 0x10ffff ? '\uFFFD' : String.fromCodePoint(size);
    case 'U':
      return `U+${size.toString(16).toUpperCase().padStart(4, '0')}`;
    case 'f':
    case 'F':
      return size.toFixed(Math.min(precision ?? 6, 100));
    case 'e':
    case 'E': {
      const text = size.toExponential(Math.min(precision ?? 6, 100)).replace(EXPONENT, twoDigits);
      return letter === 'E' ? text.toUpperCase() : text;
    }
    default: {
      const exact =
        precision === null ? size : Number(size.toPrecision(Math.min(precision || 1, 100)));
      const exponent = exact === 0 ? 0 : Math.floor(Math.log10(exact));
      const most = precision === null ? 21 : precision || 1;
      const isShort = exponent >= -4 && exponent < most;
      const text = isShort ? String(exact) : exact.toExponential().replace(EXPONENT, twoDigits);
      return letter === 'G' ? text.toUpperCase() : text;
    }
  }
}

const EXPONENT = /e([-+])(\d)$/;
const twoDigits = (_: string, sign: string, digit: string): string => `e${sign}0${digit}`;

function padded(text: string, flags: string, width: number, isNumber: boolean): string {
  const missing = width - Array.from(text).length;
  if (missing <= 0) return text;
  if (flags.includes('-')) return `${text}${' '.repeat(missing)}`;
  if (!flags.includes('0') || !isNumber) return `${' '.repeat(missing)}${text}`;
  const sign = /^[-+ ]/.exec(text)?.[0] ?? '';
  return `${sign}${'0'.repeat(missing)}${text.slice(sign.length)}`;
}

/**
 * What a table of keys says of each key: the shape of its value, what becomes of it, and how two
 * values of it are merged. The tables are the only list of the keys that we know.
 */
import type { Value } from '../tree.ts';

/**
 * What becomes of a key. `section`: only the keys within it count. `honoured`: done under the same
 * meaning. `mapped`: done by other means. `ignored`: a deployment goes on without it. `refused`: a
 * deployment without it would be another one than the file describes.
 */
export type Verdict =
  | { readonly kind: 'section' }
  | { readonly kind: 'honoured'; readonly to: string }
  | { readonly kind: 'mapped'; readonly to: string }
  | { readonly kind: 'ignored'; readonly why: string }
  | { readonly kind: 'refused'; readonly why: string };

/**
 * How the values of two files become one where both have the key, if not `deep` (mappings key by
 * key, lists one after the other, anything else by the later). `replace`: the later alone. `pairs`:
 * both forms of `KEY=value` as a mapping; `hosts`: both forms of hosts as a list. `driver`: deep when
 * both are of one driver. `names`: a list of names as a mapping, each with what a name alone stands
 * for. Identities: lists whose items are the same thing when their identities are equal.
 */
export type Merge =
  | 'deep'
  | 'replace'
  | 'pairs'
  | 'hosts'
  | 'driver'
  | { readonly names: Readonly<Record<string, string>> | null }
  | Identities;

/** When an item of one file's list is the same thing as an item of another's. */
export interface Identities {
  /** null: it is like no other */
  readonly identity: (item: Value) => string | null;
  /** an item that stands for several, one by one */
  readonly expand?: (item: Value) => readonly Value[];
}

export interface Key {
  readonly shape: Shape;
  readonly verdict: Verdict;
  /** the verdict for values that ask for something else than `verdict` says; null = no other */
  readonly judge?: (value: Value) => Verdict | null;
  readonly merge?: Merge;
}

export type KeyTable = Readonly<Record<string, Key>>;

type ScalarType = 'string' | 'integer' | 'number' | 'boolean';

export interface ScalarShape {
  readonly types: readonly ScalarType[];
  /** the only texts */
  readonly words?: readonly string[];
  readonly pattern?: RegExp;
  /** of numbers; texts are judged when they are converted */
  readonly least?: number;
  readonly most?: number;
  /** relative to the directory of its file: a path, the source of a short volume, a security option's file */
  readonly path?: 'file' | 'mount' | 'bind' | 'security';
  /** of texts that are a number with one: what a bare number is told to have */
  readonly unit?: string;
}

export interface ListShape {
  readonly of: Shape;
  readonly unique: boolean;
}

export interface MapShape {
  readonly keys: KeyTable;
  readonly required?: readonly string[];
  /** `x-` keys are let through unless this is false */
  readonly extensions?: false;
  /** keys that the format leaves open */
  readonly open?: true;
}

/** Keys that the user chooses. */
export interface DictShape {
  readonly of: Shape;
  readonly names?: RegExp;
  /** of two values under one name */
  readonly merge?: Merge;
}

/** One form for each kind of value; a kind without a form is a mistake. */
export interface Shape {
  readonly scalar?: ScalarShape;
  readonly list?: ListShape;
  readonly map?: MapShape;
  readonly dict?: DictShape;
  readonly nullable?: true;
  /** whatever it is */
  readonly any?: true;
}

// ---- verdicts ------------------------------------------------------------------------------------

export function section(shape: Shape, merge?: Merge): Key {
  return { shape, verdict: { kind: 'section' }, ...(merge && { merge }) };
}

/** @param to the field of the service's spec (or of what else it makes) */
export function honoured(to: string, shape: Shape, merge?: Merge): Key {
  return { shape, verdict: { kind: 'honoured', to }, ...(merge && { merge }) };
}

export function mapped(to: string, shape: Shape, merge?: Merge): Key {
  return { shape, verdict: { kind: 'mapped', to }, ...(merge && { merge }) };
}

export function ignored(why: string, shape: Shape, merge?: Merge): Key {
  return { shape, verdict: { kind: 'ignored', why }, ...(merge && { merge }) };
}

export function refused(why: string, shape: Shape, merge?: Merge): Key {
  return { shape, verdict: { kind: 'refused', why }, ...(merge && { merge }) };
}

/** Refused unless the value asks for what is so anyway. */
export function refusedUnless(words: readonly string[], why: string, shape: Shape): Key {
  const verdict: Verdict = { kind: 'refused', why };
  const same: Verdict = { kind: 'honoured', to: 'so it is without the key' };
  return { shape, verdict, judge: (value) => (isOneOf(value, words) ? same : null) };
}

/** Honoured for these values, refused for others. */
export function honouredFor(known: readonly string[], to: string, why: string, shape: Shape): Key {
  const verdict: Verdict = { kind: 'refused', why };
  const asked: Verdict = { kind: 'honoured', to };
  return { shape, verdict, judge: (value) => (isOneOf(value, known) ? asked : null) };
}

export function isOneOf(value: Value, words: readonly string[]): boolean {
  return value.kind === 'scalar' && words.includes(value.text.toLowerCase());
}

export const OFF = ['false', 'no', 'n', 'off'];
export const ON = ['true', 'yes', 'y', 'on'];

// ---- shapes --------------------------------------------------------------------------------------

const scalar = (...types: ScalarType[]): Shape => ({ scalar: { types } });

export const ANYTHING: Shape = { any: true };
export const TEXT = scalar('string');
/** A length of time; its words are judged when they are converted. */
export const DURATION: Shape = { scalar: { types: ['string'], unit: 's' } };
export const FLAG = scalar('boolean', 'string');
export const COUNT = scalar('integer', 'string');
export const NUMBER = scalar('number', 'string');
export const INTEGER = scalar('integer');
export const ONLY_NUMBER = scalar('number');
export const ONLY_FLAG = scalar('boolean');
export const FILE: Shape = { scalar: { types: ['string'], path: 'file' } };

export const words = (...known: string[]): Shape => ({
  scalar: { types: ['string'], words: known },
});
export const matching = (pattern: RegExp): Shape => ({ scalar: { types: ['string'], pattern } });
export const counted = (least: number, most: number): Shape => ({
  scalar: { types: ['integer', 'string'], least, most },
});

export const list = (of: Shape): Shape => ({ list: { of, unique: false } });
export const set = (of: Shape): Shape => ({ list: { of, unique: true } });
export const map = (keys: KeyTable, extra: Omit<MapShape, 'keys'> = {}): Shape => ({
  map: { keys, ...extra },
});
export const dict = (of: Shape, extra: Omit<DictShape, 'of'> = {}): Shape => ({
  dict: { of, ...extra },
});
export const nullable = (shape: Shape): Shape => ({ ...shape, nullable: true });
/** @param shapes of different kinds of values */
export const either = (...shapes: Shape[]): Shape => Object.assign({}, ...shapes) as Shape;

export const NAMES = /^[a-zA-Z0-9._-]+$/;
export const TEXT_SET = set(TEXT);
export const TEXT_LIST = list(TEXT);
export const TEXT_OR_SET = either(TEXT, TEXT_SET);
/** `KEY: value` or `KEY=value` */
export const PAIRS = either(
  dict({ scalar: { types: ['string', 'number', 'boolean'] }, nullable: true }),
  TEXT_SET,
);
export const OPTIONS = dict(NUMBER);
export const COMMAND = nullable(either(TEXT, TEXT_LIST));
export const HOSTS = either(dict(either(TEXT, TEXT_LIST)), TEXT_SET);
export const ULIMITS = dict(
  either(
    COUNT,
    map(
      { soft: honoured('Soft', COUNT), hard: honoured('Hard', COUNT) },
      {
        required: ['soft', 'hard'],
      },
    ),
  ),
  { names: /^[a-z]+$/, merge: 'replace' },
);

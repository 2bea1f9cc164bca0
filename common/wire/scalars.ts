/**
 * Checked scalars, lists, maps and enums between model and protobuf: the one place that meets Long,
 * absent values and malformed text. Knows no object of the model.
 */
import { SkepError } from '../base/errors.ts';
import type { StringMap } from '../model/objects.ts';

/** A 64-bit value as protobufjs gives it. */
export type WireInt =
  | number
  | { readonly low: number; readonly high: number; readonly unsigned: boolean }
  | null
  | undefined;

const NO_ITEMS: readonly never[] = Object.freeze([]);
const NO_ENTRIES: StringMap = Object.freeze({});
const UINT32_MAX = 2 ** 32 - 1;
const TWO_POW_32 = 2 ** 32;
const TWO_POW_63 = 2 ** 63;

interface UnicodeString {
  isWellFormed(): boolean; // ES2024; Node has it from 20.0
}

/** `value`, which is to be sent. Throws `invalid-argument` for text that has no UTF-8 form. */
export function text(value: string): string {
  // A lone surrogate would be written as bytes that every reader refuses: a log entry that nobody
  // could apply.
  if (!(value as unknown as UnicodeString).isWellFormed()) {
    throw new SkepError(
      'invalid-argument',
      `encode text: ${JSON.stringify(value)} is not valid Unicode`,
    );
  }
  return value;
}

/** As `text`; null stays absent. */
export function optionalText(value: string | null): string | null {
  return value === null ? null : text(value);
}

/** Every item as `text`. The array itself is passed on. */
export function textList(values: readonly string[]): string[] {
  for (const value of values) text(value);
  return values as string[];
}

/** Every key and value as `text`. The map itself is passed on. */
export function textMap(map: StringMap): Record<string, string> {
  for (const key in map) {
    text(key);
    text(map[key]!);
  }
  return map as Record<string, string>;
}

/** An integer to be sent as 64 bits. Throws `invalid-argument` unless it is a safe integer. */
export function int64(value: number, field: string): number {
  if (!Number.isSafeInteger(value)) {
    throw new SkepError('invalid-argument', `encode ${field}: ${value} is not a safe integer`);
  }
  return value;
}

/**
 * A duration in ns that may last for years: beyond 2^53-1 (104 days) doubles hold it to some ns, which nobody minds. Throws
 * `invalid-argument` for what is no integer, or has no room in 63 bits.
 */
export function nanos64(value: number, field: string): number {
  if (!Number.isInteger(value) || Math.abs(value) >= TWO_POW_63) {
    throw new SkepError('invalid-argument', `encode ${field}: ${value} is no duration in ns`);
  }
  return value;
}

/** As `int64`; null stays absent. */
export function optionalInt64(value: number | null, field: string): number | null {
  return value === null ? null : int64(value, field);
}

/** An integer to be sent as 32 bits without sign. Throws `invalid-argument` outside 0..2^32-1. */
export function uint32(value: number, field: string): number {
  if (!Number.isInteger(value) || value < 0 || value > UINT32_MAX) {
    throw new SkepError(
      'invalid-argument',
      `encode ${field}: ${value} is not an integer of 0..${UINT32_MAX}`,
    );
  }
  return value;
}

/** A received integer; absent = 0. Throws `data-loss` beyond 2^53-1. */
export function intFromProto(value: WireInt, field: string): number {
  if (value === null || value === undefined) return 0;
  const number = numberOf(value);
  if (!Number.isSafeInteger(number)) {
    throw new SkepError('data-loss', `decode ${field}: the value is beyond 2^53-1`);
  }
  return number;
}

/** As `nanos64` sent it; absent = 0. */
export function nanosFromProto(value: WireInt): number {
  return value === null || value === undefined ? 0 : numberOf(value);
}

function numberOf(value: NonNullable<WireInt>): number {
  if (typeof value === 'number') return value;
  return (value.unsigned ? value.high >>> 0 : value.high) * TWO_POW_32 + (value.low >>> 0);
}

/** As `intFromProto`; absent = null. */
export function optionalIntFromProto(value: WireInt, field: string): number | null {
  return value === null || value === undefined ? null : intFromProto(value, field);
}

/** A received list of strings, frozen. Takes the array over. */
export function textListFromProto(values: string[] | null | undefined): readonly string[] {
  return values && values.length > 0 ? Object.freeze(values) : NO_ITEMS;
}

/** A received string map, frozen. Takes the map over. */
export function textMapFromProto(map: { [key: string]: string } | null | undefined): StringMap {
  if (!map) return NO_ENTRIES;
  for (const _ in map) return Object.freeze(map);
  return NO_ENTRIES;
}

/** A received list, converted and frozen. */
export function listFromProto<M, T>(
  items: readonly M[] | null | undefined,
  convert: (item: M) => T,
): readonly T[] {
  if (!items || items.length === 0) return NO_ITEMS;
  const out = new Array<T>(items.length);
  for (let i = 0; i < items.length; i++) out[i] = convert(items[i]!);
  return Object.freeze(out);
}

/** `convert(value)`, null for null and undefined: the nullable messages of both directions. */
export function nullable<A, B>(value: A | null | undefined, convert: (value: A) => B): B | null {
  return value === null || value === undefined ? null : convert(value);
}

/** Received bytes as a plain view of the same memory; absent = empty. */
export function bytesFromProto(value: Uint8Array | null | undefined): Uint8Array {
  if (!value) return new Uint8Array(0);
  return new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
}

/** A message that must be there. Throws `data-loss`. */
export function requiredMessage<M>(value: M | null | undefined, field: string): M {
  if (value === null || value === undefined) {
    throw new SkepError('data-loss', `decode ${field}: it is missing`);
  }
  return value;
}

/** A string union and its protobuf enum. */
export interface EnumTable<Name extends string, Value extends number> {
  toProto(name: Name): Value;
  /** Throws `data-loss` for 0, absent and unknown values. */
  fromProto(value: number | null | undefined): Name;
}

/** Builds the table from `name -> value`; complete by type. */
export function enumTable<Name extends string, Value extends number>(
  what: string,
  values: Readonly<Record<Name, Value>>,
): EnumTable<Name, Value> {
  const names: (Name | undefined)[] = [];
  for (const [name, value] of Object.entries(values) as [Name, Value][]) names[value] = name;
  return {
    toProto(name) {
      const value = values[name];
      if (value === undefined) {
        throw new SkepError('invalid-argument', `encode ${what}: '${name}' is unknown`);
      }
      return value;
    },
    fromProto(value) {
      const name = names[value ?? 0];
      if (name === undefined) {
        throw new SkepError('data-loss', `decode ${what}: ${value ?? 0} is unknown`);
      }
      return name;
    },
  };
}

/**
 * The values of a stack file as plain data, each with its place: what is left of YAML once anchors,
 * merge keys and tags are followed. Values are never changed: a pass over them makes new ones.
 */
import { type Place, type Problem, problemAt } from './problems.ts';

/** `!reset` takes away what earlier files say, `!override` stands for all of it. */
export type Mark = 'reset' | 'override';

interface ValueHead {
  readonly place: Place;
  readonly mark: Mark | null;
  /** how many values this one holds, itself included; what is shared counts each time */
  readonly size: number;
}

export interface ScalarValue extends ValueHead {
  readonly kind: 'scalar';
  readonly value: string | number | boolean | null;
  /** the value as text: numbers and words as they are written */
  readonly text: string;
  /** true when variables had a part in the text: it may stand for a number or a boolean */
  readonly interpolated: boolean;
}

export interface ListValue extends ValueHead {
  readonly kind: 'list';
  readonly items: readonly Value[];
}

export interface MapEntry {
  readonly keyPlace: Place;
  readonly value: Value;
}

export interface MapValue extends ValueHead {
  readonly kind: 'map';
  /** in file order */
  readonly entries: ReadonlyMap<string, MapEntry>;
}

/** Stands where a value was refused: its problem is told, and nothing more is to be said of it. */
export interface BrokenValue extends ValueHead {
  readonly kind: 'broken';
}

export type Value = ScalarValue | ListValue | MapValue | BrokenValue;

export function scalarValue(
  place: Place,
  value: ScalarValue['value'],
  text: string = String(value),
  mark: Mark | null = null,
): ScalarValue {
  return { kind: 'scalar', place, mark, size: 1, value, text, interpolated: false };
}

export function listValue(
  place: Place,
  items: readonly Value[],
  mark: Mark | null = null,
): ListValue {
  return { kind: 'list', place, mark, size: items.reduce((sum, { size }) => sum + size, 1), items };
}

export function mapValue(
  place: Place,
  entries: ReadonlyMap<string, MapEntry>,
  mark: Mark | null = null,
): MapValue {
  let size = 1;
  for (const { value } of entries.values()) size += value.size;
  return { kind: 'map', place, mark, size, entries };
}

export function brokenValue(place: Place): BrokenValue {
  return { kind: 'broken', place, mark: null, size: 1 };
}

export function isNull(value: Value): boolean {
  return value.kind === 'scalar' && value.value === null;
}

export function member(value: Value | undefined, key: string): Value | undefined {
  return value?.kind === 'map' ? value.entries.get(key)?.value : undefined;
}

/** The text of a scalar other than null. */
export function textOf(value: Value | undefined): string | undefined {
  return value?.kind === 'scalar' && value.value !== null ? value.text : undefined;
}

export function withEntries(map: MapValue, changes: ReadonlyMap<string, MapEntry>): MapValue {
  return mapValue(map.place, new Map([...map.entries, ...changes]), map.mark);
}

/** `path.key`; the top level has no path. */
export function childPath(path: string, key: string | number): string {
  return path === '' ? String(key) : `${path}.${key}`;
}

/** What the passes over one or more files collect. */
export class Findings {
  readonly problems: Problem[] = [];

  problem(place: Place, message: string): void {
    this.problems.push(problemAt(place, message));
  }

  /** Notes a problem, and gives the value that stands for the refused one. */
  broken(place: Place, message: string): BrokenValue {
    this.problem(place, message);
    return brokenValue(place);
  }
}

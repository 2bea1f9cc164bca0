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
  /** true when it or a value within it has a mark */
  readonly isMarked: boolean;
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
  return {
    kind: 'scalar',
    place,
    mark,
    isMarked: mark !== null,
    size: 1,
    value,
    text,
    interpolated: false,
  };
}

export function listValue(
  place: Place,
  items: readonly Value[],
  mark: Mark | null = null,
): ListValue {
  let size = 1;
  let isMarked = mark !== null;
  for (const item of items) {
    size += item.size;
    isMarked ||= item.isMarked;
  }
  return { kind: 'list', place, mark, isMarked, size, items };
}

export function mapValue(
  place: Place,
  entries: ReadonlyMap<string, MapEntry>,
  mark: Mark | null = null,
): MapValue {
  let size = 1;
  let isMarked = mark !== null;
  for (const { value } of entries.values()) {
    size += value.size;
    isMarked ||= value.isMarked;
  }
  return { kind: 'map', place, mark, isMarked, size, entries };
}

/** The list, or one with other items: the same one when each item is the same. */
export function withItems(
  list: ListValue,
  change: (item: Value, index: number) => Value,
): ListValue {
  let isSame = true;
  const items = list.items.map((item, index) => {
    const changed = change(item, index);
    isSame &&= changed === item;
    return changed;
  });
  return isSame ? list : listValue(list.place, items, list.mark);
}

/**
 * The map, or one with other values: the same one when each value is the same.
 * @param change null takes the entry out
 */
export function withValues(
  map: MapValue,
  change: (value: Value, name: string, entry: MapEntry) => Value | null,
): MapValue {
  let entries: Map<string, MapEntry> | null = null;
  for (const [name, entry] of map.entries) {
    const value = change(entry.value, name, entry);
    if (value === entry.value) continue;
    entries ??= new Map(map.entries);
    if (value === null) entries.delete(name);
    else entries.set(name, { keyPlace: entry.keyPlace, value });
  }
  return entries ? mapValue(map.place, entries, map.mark) : map;
}

export function brokenValue(place: Place): BrokenValue {
  return { kind: 'broken', place, mark: null, isMarked: false, size: 1 };
}

/** Where a walk stands: names and indexes from the top. Its text is made when it is asked for. */
export class WalkPath {
  readonly #steps: (string | number)[] = [];

  /** What `work` returns, done one step further down. */
  within<T>(step: string | number, work: () => T): T {
    this.#steps.push(step);
    const result = work();
    this.#steps.pop();
    return result;
  }

  /** dotted; empty at the top */
  toString(): string {
    return this.#steps.join('.');
  }
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

/**
 * Two files, or a service and the one that it extends, become one: the rules of the Compose
 * specification ("Merge"), key by key as the tables say. The later file wins; `!reset` takes a value
 * away, `!override` puts one in the place of all that was there.
 */
import type { Identities, Merge, Shape } from './keys/key.ts';
import type { Place } from './problems.ts';
import {
  childPath,
  isNull,
  type ListValue,
  listValue,
  type MapEntry,
  type MapValue,
  mapValue,
  member,
  scalarValue,
  textOf,
  type Value,
  withValues,
} from './tree.ts';

/** A value that a later file has put another one in the place of, or added something to. */
export interface Replaced {
  readonly path: string;
  readonly place: Place;
  readonly by: Place;
  readonly kind: 'replaced' | 'merged';
}

/** @param replaced told of each value of `base` that is not in the result */
export function mergeValues(
  base: Value,
  over: Value,
  shape: Shape,
  replaced: (fact: Replaced) => void,
  path = '',
): Value {
  return new Merger(replaced).value(base, over, shape, 'deep', path);
}

/** Without what `!reset` takes away, and without marks. */
export function settle(value: Value): Value {
  if (!value.isMarked) return value;
  switch (value.kind) {
    case 'scalar':
      return { ...value, mark: null, isMarked: false };
    case 'list':
      return listValue(value.place, value.items.filter(({ mark }) => mark !== 'reset').map(settle));
    case 'map': {
      const { place, entries } = withValues(value, (inner) =>
        inner.mark === 'reset' ? null : settle(inner),
      );
      return mapValue(place, entries);
    }
    case 'broken':
      return value;
  }
}

class Merger {
  readonly #replaced: (fact: Replaced) => void;

  /** results that are a later value alone */
  readonly #alone = new WeakSet<Value>();

  constructor(replaced: (fact: Replaced) => void) {
    this.#replaced = replaced;
  }

  value(base: Value, over: Value, shape: Shape, merge: Merge, path: string): Value {
    if (base.kind === 'broken' || over.kind === 'broken') return over;
    if (over.mark === 'override') return this.#replace(over);
    if (typeof merge === 'object' && 'identity' in merge) {
      return this.#unique(base, over, merge, path);
    }
    switch (merge) {
      case 'deep':
        return this.#deep(base, over, shape, path);
      case 'replace':
        return this.#replace(over);
      case 'pairs':
        return this.#deep(asPairs(base), asPairs(over), shape, path);
      case 'hosts':
        return this.#deep(asHosts(base), asHosts(over), shape, path);
      case 'driver': {
        const [from, to] = [textOf(member(base, 'driver')), textOf(member(over, 'driver'))];
        const same = to === undefined || from === to;
        return same ? this.#deep(base, over, shape, path) : this.#replace(over);
      }
      default:
        return this.#deep(asNamed(base, merge.names), asNamed(over, merge.names), shape, path);
    }
  }

  #replace(over: Value): Value {
    const value = settle(over);
    this.#alone.add(value);
    return value;
  }

  #note(kind: Replaced['kind'], path: string, place: Place, by: Place): void {
    this.#replaced({ kind, path, place, by });
  }

  #deep(base: Value, over: Value, shape: Shape, path: string): Value {
    // An empty section changes nothing of what stands there.
    if (isNull(over) && base.kind === 'map') return base;
    if (base.kind === 'map' && over.kind === 'map') return this.#maps(base, over, shape, path);
    const lists = [asList(base), asList(over)] as const;
    const one = base.kind === 'list' || over.kind === 'list';
    if (one && lists[0] && lists[1]) return appended(lists[0], lists[1]);
    return this.#replace(over);
  }

  #maps(base: MapValue, over: MapValue, shape: Shape, path: string): MapValue {
    const entries = new Map(base.entries);
    for (const [name, entry] of over.entries) {
      const before = entries.get(name);
      const inner = childPath(path, name);
      if (entry.value.mark === 'reset') {
        if (before) this.#note('replaced', inner, before.keyPlace, entry.keyPlace);
        entries.delete(name);
        continue;
      }
      if (!before) {
        entries.set(name, { keyPlace: entry.keyPlace, value: settle(entry.value) });
        continue;
      }
      const key = shape.map?.keys[name];
      const innerShape = key?.shape ?? shape.dict?.of ?? {};
      const rule = key?.merge ?? shape.dict?.merge ?? 'deep';
      const value = this.value(before.value, entry.value, innerShape, rule, inner);
      if (this.#alone.has(value)) {
        this.#note('replaced', inner, before.keyPlace, entry.keyPlace);
      } else if (key && key.verdict.kind !== 'section') {
        this.#note('merged', inner, before.keyPlace, entry.keyPlace);
      }
      entries.set(name, { keyPlace: entry.keyPlace, value });
    }
    return mapValue(over.place, entries);
  }

  #unique(
    base: Value,
    over: Value,
    { identity, expand = (item) => [item] }: Identities,
    path: string,
  ): Value {
    if (base.kind !== 'list' || over.kind !== 'list') return this.#replace(over);
    const items = base.items.flatMap(expand);
    for (const item of over.items.flatMap(expand)) {
      const key = identity(item);
      const at = key === null ? -1 : items.findIndex((other) => identity(other) === key);
      if (at < 0) {
        items.push(settle(item));
        continue;
      }
      const inner = childPath(path, at);
      const before = items[at]!;
      items[at] = this.#deep(before, item, {}, inner);
      if (this.#alone.has(items[at]!)) this.#note('replaced', inner, before.place, item.place);
    }
    return listValue(over.place, items);
  }
}

/** One after the other; a scalar that stands there already is not put there again. */
function appended(base: ListValue, over: ListValue): ListValue {
  const known = new Set(base.items.map(textOf).filter((text) => text !== undefined));
  const added = over.items.filter((item) => {
    const text = textOf(item);
    return text === undefined || !known.has(text);
  });
  return listValue(over.place, [...base.items, ...added.map(settle)]);
}

/** One text alone counts as a list of one. */
function asList(value: Value): ListValue | null {
  if (value.kind === 'list') return value;
  return value.kind === 'scalar' && !isNull(value) ? listValue(value.place, [value]) : null;
}

/** `KEY=value` as `KEY: value`; a key alone has no value. */
function asPairs(value: Value): Value {
  if (value.kind !== 'list') return value;
  const entries = new Map<string, MapEntry>();
  for (const item of value.items) {
    const text = textOf(item);
    if (text === undefined) continue;
    const at = text.indexOf('=');
    const name = at < 0 ? text : text.slice(0, at);
    const inner =
      at < 0 ? scalarValue(item.place, null, '') : scalarValue(item.place, text.slice(at + 1));
    entries.set(name, {
      keyPlace: item.place,
      value: { ...inner, mark: item.mark, isMarked: item.isMarked },
    });
  }
  return mapValue(value.place, entries, value.mark);
}

/** `NAME: address` as `NAME=address`. */
function asHosts(value: Value): Value {
  if (value.kind !== 'map') return value;
  const items = [...value.entries].flatMap(([name, { value: inner }]) =>
    (asList(inner)?.items ?? []).map((address) =>
      scalarValue(address.place, `${name}=${textOf(address) ?? ''}`),
    ),
  );
  return listValue(value.place, items, value.mark);
}

function asNamed(value: Value, fields: Readonly<Record<string, string>> | null): Value {
  if (value.kind !== 'list') return value;
  const entries = new Map<string, MapEntry>();
  for (const item of value.items) {
    const name = textOf(item);
    if (name === undefined) continue;
    const inner =
      fields === null ? scalarValue(item.place, null, '') : fieldsAt(item.place, fields);
    entries.set(name, { keyPlace: item.place, value: inner });
  }
  return mapValue(value.place, entries, value.mark);
}

function fieldsAt(place: Place, fields: Readonly<Record<string, string>>): MapValue {
  const entries = Object.entries(fields).map(
    ([name, text]) => [name, { keyPlace: place, value: scalarValue(place, text) }] as const,
  );
  return mapValue(place, new Map(entries));
}

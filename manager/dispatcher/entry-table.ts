/** Items that nodes are told of, each with a version, and the sum of them. Knows nothing of what they are. */
import { deepEqual } from '../../common/base/equal.ts';
import type { AssignmentChange, AssignmentKind } from '../../common/model/assignment.ts';
import { AssignmentChecksum } from '../../common/model/assignment-checksum.ts';

interface Named<Item> {
  readonly kind: AssignmentKind;
  readonly key: string;
  readonly item: Item;
}

export interface Entry<Item> extends Named<Item> {
  readonly version: number;
}

/** INVARIANT: `sum` is that of the entries. */
export class EntryTable<Id extends string, Item extends object> {
  readonly sum = new AssignmentChecksum();
  readonly #entries = new Map<Id, Entry<Item>>();
  readonly #nextVersion: () => number;

  constructor(nextVersion: () => number) {
    this.#nextVersion = nextVersion;
  }

  get size(): number {
    return this.#entries.size;
  }

  get(id: Id): Entry<Item> | undefined {
    return this.#entries.get(id);
  }

  values(): IterableIterator<Entry<Item>> {
    return this.#entries.values();
  }

  /** The change that this makes; null for none. An item of null is none. */
  replace(id: Id, { kind, key, item }: Named<Item | null>): AssignmentChange | null {
    const known = this.#entries.get(id);
    if (item === null) {
      if (!known) return null;
      this.#entries.delete(id);
      this.sum.subtract(kind, key, known.version);
      return removeChange(known);
    }
    if (known && deepEqual(known.item, item)) return null;
    const entry: Entry<Item> = { kind, key, item, version: this.#nextVersion() };
    this.#entries.set(id, entry);
    if (known) this.sum.subtract(kind, key, known.version);
    this.sum.add(kind, key, entry.version);
    return setChange(entry);
  }
}

export function setChange({ kind, key, item, version }: Entry<object>): AssignmentChange {
  return { action: 'set', kind, key, item, version } as AssignmentChange;
}

export function removeChange({ kind, key }: Entry<object>): AssignmentChange {
  return { action: 'remove', kind, key };
}

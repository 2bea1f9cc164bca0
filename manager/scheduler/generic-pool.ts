/**
 * A node's generic resources: discrete kinds are counted, named ones handed out value by value. A value can be taken twice
 * while one task waits for the other to end: it is free when both have given it back.
 */
import type { GenericResource } from '../../common/model/service.ts';

/** What is free is what is advertised and not taken, also when the node advertises something else later. */
export class GenericPool {
  #discrete = new Map<string, number>();
  #named = new Map<string, Set<string>>();
  readonly #takenCounts = new Map<string, number>();
  readonly #takenValues = new Map<string, Map<string, number>>();

  constructor(advertised: readonly GenericResource[]) {
    this.advertise(advertised);
  }

  /** The node's present word, instead of the last one. */
  advertise(advertised: readonly GenericResource[]): void {
    this.#discrete = new Map();
    this.#named = new Map();
    for (const { kind, value } of advertised) {
      if (typeof value === 'number') addTo(this.#discrete, kind, value);
      else valuesOf(this.#named, kind).add(value);
    }
  }

  free(kind: string): number {
    const values = this.#named.get(kind);
    if (!values) return (this.#discrete.get(kind) ?? 0) - (this.#takenCounts.get(kind) ?? 0);
    const taken = this.#takenValues.get(kind);
    if (!taken) return values.size;
    let free = 0;
    for (const value of values) if (!taken.has(value)) free++;
    return free;
  }

  /** What the node advertises. */
  total(kind: string): number {
    return this.#named.get(kind)?.size ?? this.#discrete.get(kind) ?? 0;
  }

  /** What a reservation of `count` of `kind` would get. The caller has checked `free`. */
  pick(kind: string, count: number): GenericResource[] {
    const values = this.#named.get(kind);
    if (!values) return [{ kind, value: count }];
    const taken = this.#takenValues.get(kind);
    const free = [...values].filter((value) => !taken?.has(value));
    return free.slice(0, count).map((value) => ({ kind, value }));
  }

  take(assigned: readonly GenericResource[]): void {
    for (const { kind, value } of assigned) {
      if (typeof value === 'number') addTo(this.#takenCounts, kind, value);
      else this.#hold(kind, value, 1);
    }
  }

  release(assigned: readonly GenericResource[]): void {
    for (const { kind, value } of assigned) {
      if (typeof value === 'number') addTo(this.#takenCounts, kind, -value);
      else this.#hold(kind, value, -1);
    }
  }

  #hold(kind: string, value: string, sign: 1 | -1): void {
    const taken = this.#takenValues.get(kind) ?? new Map<string, number>();
    this.#takenValues.set(kind, taken);
    const holders = (taken.get(value) ?? 0) + sign;
    if (holders > 0) taken.set(value, holders);
    else taken.delete(value);
  }
}

function addTo(counts: Map<string, number>, kind: string, amount: number): void {
  counts.set(kind, (counts.get(kind) ?? 0) + amount);
}

function valuesOf(sets: Map<string, Set<string>>, kind: string): Set<string> {
  const known = sets.get(kind);
  if (known) return known;
  const values = new Set<string>();
  sets.set(kind, values);
  return values;
}

/** Count asked for by kind; a named reservation, which the API refuses, counts as one. */
export function genericDemand(asked: readonly GenericResource[]): ReadonlyMap<string, number> {
  if (asked.length === 0) return NO_DEMAND;
  const demand = new Map<string, number>();
  for (const { kind, value } of asked) addTo(demand, kind, typeof value === 'number' ? value : 1);
  return demand;
}

const NO_DEMAND: ReadonlyMap<string, number> = new Map();

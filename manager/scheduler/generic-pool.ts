/** A node's generic resources: discrete kinds are counted, named ones handed out value by value. */
import type { GenericResource } from '../../common/model/service.ts';

export class GenericPool {
  readonly #discrete = new Map<string, number>();
  readonly #named = new Map<string, Set<string>>();

  constructor(advertised: readonly GenericResource[]) {
    for (const resource of advertised) this.#give(resource, 1);
  }

  free(kind: string): number {
    return this.#named.get(kind)?.size ?? this.#discrete.get(kind) ?? 0;
  }

  /** What a reservation of `count` of `kind` would get. The caller has checked `free`. */
  pick(kind: string, count: number): GenericResource[] {
    const values = this.#named.get(kind);
    if (!values) return [{ kind, value: count }];
    return [...values].slice(0, count).map((value) => ({ kind, value }));
  }

  take(assigned: readonly GenericResource[]): void {
    for (const resource of assigned) this.#give(resource, -1);
  }

  release(assigned: readonly GenericResource[]): void {
    for (const resource of assigned) this.#give(resource, 1);
  }

  #give({ kind, value }: GenericResource, sign: 1 | -1): void {
    if (typeof value === 'number') {
      this.#discrete.set(kind, (this.#discrete.get(kind) ?? 0) + sign * value);
      return;
    }
    const values = this.#named.get(kind) ?? new Set();
    if (sign > 0) values.add(value);
    else values.delete(value);
    this.#named.set(kind, values);
  }
}

/** Count asked for by kind; a named reservation, which the API refuses, counts as one. */
export function genericDemand(asked: readonly GenericResource[]): Map<string, number> {
  const demand = new Map<string, number>();
  for (const { kind, value } of asked) {
    demand.set(kind, (demand.get(kind) ?? 0) + (typeof value === 'number' ? value : 1));
  }
  return demand;
}

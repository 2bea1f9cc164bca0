/**
 * Which of the nodes that pass gets the next task: fewest recent failures, then fewest tasks of the
 * service, then fewest tasks. A heap, since one placement moves one node only.
 */
import { keepShape } from '../../common/base/kept-shapes.ts';
import { asId, type ServiceId } from '../../common/model/ids.ts';
import { NodeTable } from './node-table.ts';

/** Gives out nodes one by one. */
export interface NodeSource {
  /** Index of the best node, after `book` changed it; -1 when none is left. */
  placeOn(book: (index: number) => void): number;
}

/** What decides between nodes, for tasks that are alike. */
export interface SpreadRule {
  readonly table: NodeTable;
  readonly serviceId: ServiceId;
  /** active tasks of the service that will have left, by node index */
  readonly leaving: ReadonlyMap<number, number>;
  /** whether the node has room for one more task */
  readonly hasRoom: (index: number) => boolean;
  /** of nodes where they are too many to be tolerated, at most FAILURES_KEPT_MAX each */
  readonly failures: ReadonlyMap<number, number>;
}

/** Parts of a key: failures * 2^42 + tasks of the service * 2^21 + tasks; 2^48 at most. */
const SERVICE_TASK = 2 ** 21;
const FAILURE = 2 ** 42;

/** INVARIANT: every node is at least as good as its children in the heap, by the keys kept. */
export class SpreadHeap implements NodeSource {
  readonly #rule: SpreadRule;
  readonly #keys: Float64Array;
  readonly #indexes: Int32Array;
  #size = 0;

  /** @param candidates ascending; those without room are left out */
  constructor(candidates: ArrayLike<number>, rule: SpreadRule) {
    this.#rule = rule;
    this.#keys = new Float64Array(candidates.length);
    this.#indexes = new Int32Array(candidates.length);
    const counts = rule.table.activeOf(rule.serviceId);
    for (let at = 0; at < candidates.length; at++) {
      const index = candidates[at]!;
      if (!rule.hasRoom(index)) continue;
      this.#keys[this.#size] = this.#key(index, counts);
      this.#indexes[this.#size] = index;
      this.#size++;
    }
    for (let at = (this.#size >>> 1) - 1; at >= 0; at--) this.#sink(at);
  }

  placeOn(book: (index: number) => void): number {
    if (this.#size === 0) return -1;
    const index = this.#indexes[0]!;
    book(index);
    const { table, serviceId, hasRoom } = this.#rule;
    if (hasRoom(index)) {
      this.#keys[0] = this.#key(index, table.activeOf(serviceId));
    } else {
      this.#size--;
      this.#keys[0] = this.#keys[this.#size]!;
      this.#indexes[0] = this.#indexes[this.#size]!;
    }
    this.#sink(0);
    return index;
  }

  #key(index: number, counts: ReadonlyMap<number, number>): number {
    const { table, failures, leaving } = this.#rule;
    const left = leaving.size > 0 ? (leaving.get(index) ?? 0) : 0;
    const ofService = counts.size > 0 ? (counts.get(index) ?? 0) : 0;
    const failed = failures.size > 0 ? (failures.get(index) ?? 0) : 0;
    const tasks = table.activeTasks[index]! - left;
    return failed * FAILURE + (ofService - left) * SERVICE_TASK + tasks;
  }

  #sink(start: number): void {
    const [keys, indexes, size] = [this.#keys, this.#indexes, this.#size];
    const key = keys[start]!;
    const index = indexes[start]!;
    let at = start;
    for (let child = 2 * at + 1; child < size; child = 2 * at + 1) {
      const right = child + 1;
      if (right < size && isBetter(keys[right]!, indexes[right]!, keys[child]!, indexes[child]!)) {
        child = right;
      }
      if (!isBetter(keys[child]!, indexes[child]!, key, index)) break;
      keys[at] = keys[child]!;
      indexes[at] = indexes[child]!;
      at = child;
    }
    keys[at] = key;
    indexes[at] = index;
  }
}

function isBetter(key: number, index: number, otherKey: number, otherIndex: number): boolean {
  return key < otherKey || (key === otherKey && index < otherIndex);
}

keepShape(
  new SpreadHeap([], {
    table: new NodeTable(),
    serviceId: asId<ServiceId>(''),
    leaving: new Map(),
    hasRoom: () => false,
    failures: new Map(),
  }),
);

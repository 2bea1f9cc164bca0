/**
 * Which nodes pass the filters that look at the node alone: kept for each set of such filters, and
 * brought up to date node by node.
 */
import type { NodeCheck } from './filter.ts';

/** Sets kept; then all are forgotten and made again as they are asked for. */
const SETS_MAX = 1_000;

/** Nodes that `prepare` judges: a few tenths of a millisecond. */
const JUDGED_AT_ONCE = 500;

/** A node check with its place in the order of filters, counted from 1. */
export interface NumberedCheck {
  readonly number: number;
  readonly check: NodeCheck;
}

/** Index has no node. */
const NOBODY = 255;

export class NodeSets {
  readonly #exists: (index: number) => boolean;
  readonly #sets = new Map<string, NodeSet>();
  /** nodes that changed, in order; a set remembers how far it has read */
  #changes: number[] = [];
  #epoch = 0;
  #slots = 0;

  /** @param exists whether an index has a node */
  constructor(exists: (index: number) => boolean) {
    this.#exists = exists;
  }

  noteChange(index: number, slots: number): void {
    this.#slots = slots;
    this.#changes.push(index);
    if (this.#changes.length <= 2 * slots + 1_024) return;
    this.#changes = [];
    this.#epoch++;
  }

  /** The set of these checks, up to date. */
  get(checks: readonly NumberedCheck[]): NodeSet {
    const set = this.#get(checks);
    this.refresh(set);
    return set;
  }

  /**
   * A part of the work that `get` would have with the set, some hundred nodes of it: thousands of them take
   * milliseconds. False when it is up to date.
   */
  prepare(checks: readonly NumberedCheck[]): boolean {
    return !this.#get(checks).catchUp(this.#epoch, this.#changes, this.#slots, JUDGED_AT_ONCE);
  }

  #get(checks: readonly NumberedCheck[]): NodeSet {
    const key = JSON.stringify(checks.map(({ number, check }) => [number, check.key]));
    if (this.#sets.size >= SETS_MAX && !this.#sets.has(key)) this.#sets.clear();
    const set = this.#sets.get(key) ?? new NodeSet(checks, this.#exists);
    this.#sets.set(key, set);
    return set;
  }

  /** Brings `set`, which came from here, up to date. */
  refresh(set: NodeSet): void {
    set.catchUp(this.#epoch, this.#changes, this.#slots, Number.POSITIVE_INFINITY);
  }
}

export class NodeSet {
  readonly #checks: readonly NumberedCheck[];
  readonly #exists: (index: number) => boolean;
  #verdicts = new Uint8Array(0);
  #members: Int32Array | null = null;
  #epoch = -1;
  #read = 0;
  /** indexes below this were judged since the epoch began; the others are not known */
  #judged = 0;

  constructor(checks: readonly NumberedCheck[], exists: (index: number) => boolean) {
    this.#checks = checks;
    this.#exists = exists;
  }

  /** Number of the first check that refuses the node; 0 = all pass. Only for an index that has a node. */
  verdict(index: number): number {
    return this.#verdicts[index]!;
  }

  passes(index: number): boolean {
    return this.#verdicts[index] === 0;
  }

  /** Indexes of the nodes that pass, ascending. Valid until the next change. */
  members(): Int32Array {
    this.#members ??= this.#collect();
    return this.#members;
  }

  /** @param limit nodes judged at most; false = there are more to be judged */
  catchUp(epoch: number, changes: readonly number[], slots: number, limit: number): boolean {
    if (this.#verdicts.length < slots) {
      const grown = new Uint8Array(Math.max(slots, 2 * this.#verdicts.length)).fill(NOBODY);
      grown.set(this.#verdicts);
      this.#verdicts = grown;
    }
    if (epoch !== this.#epoch) {
      this.#epoch = epoch;
      this.#judged = 0;
      this.#read = changes.length;
    }
    const end = Math.min(changes.length, this.#read + limit);
    const room = limit - (end - this.#read);
    for (; this.#read < end; this.#read++) this.#judge(changes[this.#read]!);
    const judgedEnd = Math.min(slots, this.#judged + room);
    for (; this.#judged < judgedEnd; this.#judged++) this.#judge(this.#judged);
    return this.#read === changes.length && this.#judged === slots;
  }

  #judge(index: number): void {
    const verdict = this.#exists(index) ? this.#firstRefusal(index) : NOBODY;
    if (verdict === this.#verdicts[index]) return;
    if (verdict === 0 || this.#verdicts[index] === 0) this.#members = null;
    this.#verdicts[index] = verdict;
  }

  #firstRefusal(index: number): number {
    for (const { number, check } of this.#checks) if (!check.passes(index)) return number;
    return 0;
  }

  #collect(): Int32Array {
    const members = new Int32Array(this.#verdicts.length);
    let count = 0;
    for (let i = 0; i < this.#verdicts.length; i++) {
      if (this.#verdicts[i] === 0) members[count++] = i;
    }
    return members.subarray(0, count);
  }
}

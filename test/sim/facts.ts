/**
 * What is known of the whole cluster, independent of what any node believes: every entry that was
 * seen anywhere, what is committed, what was applied, and the members that follow from it.
 */
import { decodeConfChange } from '../../manager/raft/conf-change.ts';
import type { ConfChangeSingle, Entry, EntryType } from '../../manager/raft/types.ts';
import { broken } from './checker.ts';
import { placeKey } from './durable-log.ts';
import type { Machine } from './machine.ts';

export interface SeenEntry {
  readonly type: EntryType;
  readonly data: Uint8Array;
  previousTerm: number | null;
}

export interface AppliedWrite {
  readonly index: number;
  readonly id: number;
  readonly payload: Uint8Array;
  readonly chain: number;
}

/** The members from `index` on, by the words of the log alone. */
export interface KnownConfig {
  readonly index: number;
  readonly voters: readonly number[];
  readonly learners: readonly number[];
}

/** A cluster begins with a snapshot at index 1 of this term. */
const FOUNDING_TERM = 1;

export class Facts {
  readonly machines: ReadonlyMap<number, Machine>;
  readonly #seen = new Map<number, SeenEntry>();
  /** Terms by index; 0 = not known. */
  #committed: number[] = [0, FOUNDING_TERM];
  readonly #committedIn: number[] = [];
  /** Ascending by index. */
  applied: AppliedWrite[] = [];
  readonly indexOfId = new Map<number, number>();
  configs: KnownConfig[] = [{ index: 1, voters: [1], learners: [] }];
  /** Terms in which somebody stood for election. */
  readonly terms = new Set<number>([0, 1]);
  /** Highest index that a client was told of. */
  acknowledged = 0;
  /** Values of each register, ascending by index. */
  readonly #values = new Map<string, { readonly index: number; readonly value: number }[]>();

  constructor(machines: ReadonlyMap<number, Machine>) {
    this.machines = machines;
  }

  /** Takes note of an entry; ends the run when another was at its place, or after another. */
  see(entry: Entry, previousTerm: number | null, where: string): void {
    const { index, term, type, data } = entry;
    const key = placeKey(index, term);
    const seen = this.#seen.get(key);
    if (seen === undefined) {
      this.#seen.set(key, { type, data, previousTerm });
      return;
    }
    if (seen.data !== data && (seen.type !== type || Buffer.compare(seen.data, data) !== 0)) {
      broken(`two entries at ${index} of term ${term}, one ${where}`);
    }
    if (previousTerm === null) return;
    seen.previousTerm ??= previousTerm;
    if (seen.previousTerm !== previousTerm) {
      broken(
        `before entry ${index} of term ${term} is one of term ${previousTerm} ${where}, elsewhere one of ${seen.previousTerm}`,
      );
    }
  }

  seen(index: number, term: number): SeenEntry | undefined {
    return this.#seen.get(placeKey(index, term));
  }

  get lastCommitted(): number {
    return this.#committed.length - 1;
  }

  /** 0 = not known. */
  committedTerm(index: number): number {
    return this.#committed[index] ?? 0;
  }

  /** The term of the leader that committed it; 0 = not known. */
  committedIn(index: number): number {
    return this.#committedIn[index] ?? 0;
  }

  /** @param by term of the leader that counted */
  commit(index: number, term: number, by: number): void {
    while (this.#committed.length < index) this.#committed.push(0);
    this.#committedIn[index] ??= by;
    const isNew = this.committedTerm(index) === 0;
    this.#committed[index] = term;
    const entry = this.seen(index, term);
    if (isNew && entry !== undefined && entry.type !== 'normal') this.#change(index, entry);
  }

  /** Members at `index`. */
  configAt(index: number): KnownConfig {
    return this.configs.findLast((config) => config.index <= index) ?? this.configs[0]!;
  }

  /** Members at `index` and all that came after. */
  configsSince(index: number): readonly KnownConfig[] {
    const first = this.configAt(index);
    return this.configs.filter((config) => config.index >= first.index);
  }

  /** Checksum of the state up to `index`. */
  chainAt(index: number): number {
    const at = upTo(this.applied, index);
    return at < 0 ? 0 : this.applied[at]!.chain;
  }

  writeAt(index: number): AppliedWrite | undefined {
    const at = upTo(this.applied, index);
    const write = this.applied[at];
    return write?.index === index ? write : undefined;
  }

  setValue(key: string, index: number, value: number): void {
    const values = this.#values.get(key);
    if (values === undefined) this.#values.set(key, [{ index, value }]);
    else values.push({ index, value });
  }

  valueAt(key: string, index: number): number {
    const values = this.#values.get(key) ?? [];
    return values[upTo(values, index)]?.value ?? 0;
  }

  /** Most of the cluster is lost: what lies behind `index` was never so. */
  forget(index: number): void {
    this.#committed.length = Math.min(this.#committed.length, index + 1);
    this.#committedIn.length = Math.min(this.#committedIn.length, index + 1);
    for (const write of this.applied) if (write.index > index) this.indexOfId.delete(write.id);
    this.applied = this.applied.filter((write) => write.index <= index);
    this.configs = this.configs.filter((config) => config.index <= index);
    for (const [key, values] of this.#values) {
      this.#values.set(
        key,
        values.filter((value) => value.index <= index),
      );
    }
    this.acknowledged = Math.min(this.acknowledged, index);
  }

  forgetSeen(index: number): void {
    for (const key of this.#seen.keys()) if (key >= placeKey(index + 1, 0)) this.#seen.delete(key);
  }

  #change(index: number, entry: SeenEntry): void {
    const change = decodeConfChange(entry);
    const last = this.configs.at(-1)!;
    const voters = new Set(last.voters);
    const learners = new Set(last.learners);
    for (const one of change.kind === 'v1' ? [change] : change.changes) {
      changeMembers(voters, learners, one);
    }
    this.configs.push({ index, voters: sorted(voters), learners: sorted(learners) });
  }
}

function changeMembers(voters: Set<number>, learners: Set<number>, one: ConfChangeSingle): void {
  const { type, nodeId } = one;
  if (nodeId === 0 || type === 'update') return;
  voters.delete(nodeId);
  learners.delete(nodeId);
  if (type === 'add-voter') voters.add(nodeId);
  if (type === 'add-learner') learners.add(nodeId);
}

export function sorted(ids: Iterable<number>): number[] {
  return [...ids].sort((a, b) => a - b);
}

/** Place of the last item with an index up to `index`, or -1. */
function upTo(items: readonly { readonly index: number }[], index: number): number {
  let low = -1;
  let high = items.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (items[middle]!.index <= index) low = middle;
    else high = middle - 1;
  }
  return low;
}

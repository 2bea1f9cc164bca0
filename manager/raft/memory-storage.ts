/**
 * The log image in memory: what the core reads, what the driver keeps equal to the disk. Writes come
 * from the driver after (or while) it persists them. Knows nothing of files.
 */
import { assert } from '../../common/base/assert.ts';
import { limitEntries } from './entry-slices.ts';
import {
  type ConfState,
  EMPTY_HARD_STATE,
  EMPTY_SNAPSHOT,
  type Entry,
  type HardState,
  type LogGap,
  type Snapshot,
  type Storage,
} from './types.ts';

export class MemoryStorage implements Storage {
  #hardState: HardState = EMPTY_HARD_STATE;
  #snapshot: Snapshot = EMPTY_SNAPSHOT;
  /** The entry before `#entries[0]`, gone but for its index and term. */
  #compactedIndex = 0;
  #compactedTerm = 0;
  /** `#entries[i].index === #compactedIndex + 1 + i`. Never changed in place once handed out. */
  #entries: Entry[] = [];

  initialState(): { hardState: HardState; confState: ConfState } {
    return { hardState: this.#hardState, confState: this.#snapshot.metadata.confState };
  }

  firstIndex(): number {
    return this.#compactedIndex + 1;
  }

  lastIndex(): number {
    return this.#compactedIndex + this.#entries.length;
  }

  term(index: number): number | LogGap {
    if (index < this.#compactedIndex) return 'compacted';
    if (index === this.#compactedIndex) return this.#compactedTerm;
    return this.#entries[index - this.#compactedIndex - 1]?.term ?? 'unavailable';
  }

  entries(lo: number, hi: number, maxSizeBytes: number): readonly Entry[] | LogGap {
    if (lo <= this.#compactedIndex) return 'compacted';
    assert(
      hi <= this.lastIndex() + 1,
      `read log entries: ${hi} is past the last ${this.lastIndex()}`,
    );
    if (this.#entries.length === 0) return 'unavailable';
    const base = this.#compactedIndex + 1;
    return limitEntries(this.#entries, lo - base, hi - base, maxSizeBytes);
  }

  snapshot(): Snapshot {
    return this.#snapshot;
  }

  setHardState(hardState: HardState): void {
    this.#hardState = hardState;
  }

  /**
   * Puts consecutive entries at their indexes; what the log holds from the first of them on is
   * dropped. Entries already compacted are skipped. A gap is a programmer's mistake.
   */
  append(entries: readonly Entry[]): void {
    const first = entries[0];
    if (first === undefined) return;
    const skip = Math.max(0, this.firstIndex() - first.index);
    if (skip >= entries.length) return;
    const at = first.index + skip - this.firstIndex();
    assert(
      at <= this.#entries.length,
      `append to log: index ${first.index} leaves a gap after ${this.lastIndex()}`,
    );
    if (at < this.#entries.length) this.#entries = this.#entries.slice(0, at);
    for (let i = skip; i < entries.length; i++) this.#entries.push(entries[i]!);
  }

  /**
   * Replaces the whole log by `snapshot`. Returns false, changing nothing, when it is older than
   * the one that is there.
   */
  applySnapshot(snapshot: Snapshot): boolean {
    const { index, term } = snapshot.metadata;
    // Index 0 is a mere list of founding members.
    const own = this.#snapshot.metadata.index;
    if (own !== 0 && own >= index) return false;
    this.#snapshot = snapshot;
    this.#compactedIndex = index;
    this.#compactedTerm = term;
    this.#entries = [];
    return true;
  }

  /**
   * Records that the state up to `index` is kept as `data`, with the members of that moment. The
   * log stays; see `compact`. Returns null when a snapshot at or after `index` exists.
   */
  createSnapshot(index: number, confState: ConfState, data: Uint8Array): Snapshot | null {
    if (index <= this.#snapshot.metadata.index) return null;
    const term = this.term(index);
    assert(typeof term === 'number', `create snapshot: index ${index} is ${term}`);
    this.#snapshot = { data, metadata: { confState, index, term } };
    return this.#snapshot;
  }

  /** Drops entries up to and including `index`, which must have been applied. False: was gone. */
  compact(index: number): boolean {
    if (index <= this.#compactedIndex) return false;
    assert(index <= this.lastIndex(), `compact log: ${index} is past the last ${this.lastIndex()}`);
    const term = this.term(index);
    assert(typeof term === 'number', `compact log: index ${index} is ${term}`);
    this.#entries = this.#entries.slice(index - this.#compactedIndex);
    this.#compactedIndex = index;
    this.#compactedTerm = term;
    return true;
  }
}

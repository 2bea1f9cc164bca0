/**
 * The log of one node: storage and the unstable tail as one sequence, with the cursors commit,
 * applying and applied. Knows nothing of terms' leaders or of peers.
 *
 * Invariant: `applied <= applying <= committed <= lastIndex`; committed never falls, and committed
 * entries are never truncated.
 */
import { assert } from '../../common/base/assert.ts';
import { limitEntries, totalSizeBytes } from './entry-slices.ts';
import type { LogPositions, RaftEventListener } from './events.ts';
import type { Entry, EntryId, LogGap, Snapshot, Storage } from './types.ts';
import { UnstableLog } from './unstable-log.ts';

/** A run of consecutive entries and what comes before it, as a leader sends it. */
export interface LogSlice {
  readonly previous: EntryId;
  readonly entries: readonly Entry[];
}

export class RaftLog {
  readonly unstable: UnstableLog;
  readonly #storage: Storage;
  readonly #maxApplyingBytes: number;
  readonly #onEvent: RaftEventListener | undefined;
  /** Highest index known to be durable on a quorum. */
  #committed: number;
  /** Highest index handed out to be applied. */
  #applying: number;
  /** Highest index applied. */
  #applied: number;
  /** Size of entries handed out and not applied yet. */
  #applyingBytes = 0;
  /** No more are handed out until some are applied. */
  #applyingPaused = false;

  constructor(storage: Storage, maxApplyingBytes: number, onEvent: RaftEventListener | undefined) {
    this.#storage = storage;
    this.#maxApplyingBytes = maxApplyingBytes;
    this.#onEvent = onEvent;
    this.unstable = new UnstableLog(storage.lastIndex() + 1, onEvent);
    const compacted = storage.firstIndex() - 1;
    this.#committed = compacted;
    this.#applying = compacted;
    this.#applied = compacted;
  }

  get committed(): number {
    return this.#committed;
  }

  get applied(): number {
    return this.#applied;
  }

  positions(): LogPositions {
    return {
      committed: this.#committed,
      applied: this.#applied,
      applying: this.#applying,
      unstableOffset: this.unstable.offset,
      unstableInProgress: this.unstable.inProgressOffset,
      unstableCount: this.unstable.count,
    };
  }

  firstIndex(): number {
    return this.unstable.firstIndex() ?? this.#storage.firstIndex();
  }

  lastIndex(): number {
    return this.unstable.lastIndex() ?? this.#storage.lastIndex();
  }

  /** Known for `firstIndex() - 1 <= index <= lastIndex()`. */
  term(index: number): number | LogGap {
    const unstable = this.unstable.term(index);
    if (unstable !== undefined) return unstable;
    if (index + 1 < this.firstIndex()) return 'compacted';
    if (index > this.lastIndex()) return 'unavailable';
    return this.#storage.term(index);
  }

  termOrZero(index: number): number {
    const term = this.term(index);
    return typeof term === 'number' ? term : 0;
  }

  lastEntryId(): EntryId {
    const index = this.lastIndex();
    const term = this.term(index);
    assert(typeof term === 'number', `raft log: term of the last entry ${index} is ${term}`);
    return { term, index };
  }

  matches(id: EntryId): boolean {
    return this.term(id.index) === id.term;
  }

  /** A log that ends with `theirs` holds all that this one may have committed. */
  isUpToDate(theirs: EntryId): boolean {
    const own = this.lastEntryId();
    return theirs.term > own.term || (theirs.term === own.term && theirs.index >= own.index);
  }

  /**
   * Takes a leader's slice when this log holds the entry before it: drops what conflicts, appends
   * what is new, moves commit up to `committed`. Returns the slice's last index, or null.
   */
  tryAppend(slice: LogSlice, committed: number): number | null {
    if (!this.matches(slice.previous)) return null;
    const last = slice.previous.index + slice.entries.length;
    const conflict = this.#firstConflict(slice.entries);
    if (conflict !== null) {
      assert(
        conflict > this.#committed,
        `raft log: entry ${conflict} conflicts with committed entries up to ${this.#committed}`,
      );
      this.append(slice.entries.slice(conflict - slice.previous.index - 1));
    }
    this.commitTo(Math.min(committed, last));
    return last;
  }

  append(entries: readonly Entry[]): number {
    const first = entries[0];
    if (first === undefined) return this.lastIndex();
    assert(
      first.index > this.#committed,
      `raft log: append at ${first.index} would replace committed entries up to ${this.#committed}`,
    );
    this.unstable.truncateAndAppend(entries);
    return this.lastIndex();
  }

  /**
   * Where this log and another, of which one entry `at` is known, may match at best: the highest
   * index `<= at.index` whose term is `<= at.term`, or unknown (then term 0).
   */
  findConflictByTerm(at: EntryId): EntryId {
    for (let index = at.index; index > 0; index--) {
      const term = this.term(index);
      if (typeof term !== 'number') return { index, term: 0 };
      if (term <= at.term) return { index, term };
    }
    return { index: 0, term: 0 };
  }

  commitTo(index: number): void {
    if (index <= this.#committed) return;
    assert(
      index <= this.lastIndex(),
      `raft log: commit ${index} is past the last entry ${this.lastIndex()}; was the log damaged?`,
    );
    this.#committed = index;
  }

  /** Commits up to `at` if this log holds it in that term. True when commit moved. */
  tryCommit(at: EntryId): boolean {
    if (at.term === 0 || at.index <= this.#committed || !this.matches(at)) return false;
    this.commitTo(at.index);
    return true;
  }

  restore(snapshot: Snapshot): void {
    const { index, term } = snapshot.metadata;
    const log = this.positions();
    this.#onEvent?.({ code: 'log-restoring', log, snapshot: { index, term } });
    assert(index >= this.#committed, `raft log: snapshot ${index} is below ${this.#committed}`);
    this.#committed = index;
    this.unstable.restore(snapshot);
  }

  /** The newest snapshot to send to others. */
  snapshot(): Snapshot | 'temporarily-unavailable' {
    return this.unstable.snapshot ?? this.#storage.snapshot();
  }

  hasNextCommitted(allowUnstable: boolean): boolean {
    if (this.#applyingPaused || this.unstable.snapshot !== null) return false;
    return this.#applying < this.#maxAppliable(allowUnstable);
  }

  /**
   * Committed entries to apply now, within the size limit. With `allowUnstable` also such that
   * storage does not hold yet. None while a snapshot waits: it has to come first.
   */
  nextCommitted(allowUnstable: boolean): readonly Entry[] {
    if (!this.hasNextCommitted(allowUnstable)) return [];
    const room = this.#maxApplyingBytes - this.#applyingBytes;
    assert(room > 0, 'raft log: entries are being applied past the size limit');
    const entries = this.slice(this.#applying + 1, this.#maxAppliable(allowUnstable) + 1, room);
    assert(typeof entries !== 'string', `raft log: unapplied entries are ${entries as string}`);
    return entries;
  }

  acceptApplying(index: number, sizeBytes: number, allowUnstable: boolean): void {
    assert(
      index >= this.#applying && index <= this.#committed,
      `raft log: applying ${index} is outside ${this.#applying}..${this.#committed}`,
    );
    this.#applying = index;
    this.#applyingBytes += sizeBytes;
    // The second case: fewer were handed out than could be, so the next one exceeds the limit.
    this.#applyingPaused =
      this.#applyingBytes >= this.#maxApplyingBytes || index < this.#maxAppliable(allowUnstable);
  }

  appliedTo(index: number, sizeBytes: number): void {
    assert(
      index >= this.#applied && index <= this.#committed,
      `raft log: applied ${index} is outside ${this.#applied}..${this.#committed}`,
    );
    this.#applied = index;
    this.#applying = Math.max(this.#applying, index);
    this.#applyingBytes = Math.max(0, this.#applyingBytes - sizeBytes);
    this.#applyingPaused = this.#applyingBytes >= this.#maxApplyingBytes;
  }

  /** Entries from `from` on, at least one if any, within `maxSizeBytes`. */
  entriesFrom(from: number, maxSizeBytes: number): readonly Entry[] | 'compacted' {
    const last = this.lastIndex();
    return from > last ? [] : this.slice(from, last + 1, maxSizeBytes);
  }

  /** Entries `lo <= index < hi`, cut like `Storage.entries`. */
  slice(lo: number, hi: number, maxSizeBytes: number): readonly Entry[] | 'compacted' {
    assert(lo <= hi, `raft log: slice ${lo}..${hi} is reversed`);
    if (lo < this.firstIndex()) return 'compacted';
    assert(hi <= this.lastIndex() + 1, `raft log: slice to ${hi} is past ${this.lastIndex()}`);
    if (lo === hi) return [];
    const { offset } = this.unstable;
    const unstable = this.unstable.view();
    if (lo >= offset) return limitEntries(unstable, lo - offset, hi - offset, maxSizeBytes);

    const cut = Math.min(hi, offset);
    const stable = this.#storage.entries(lo, cut, maxSizeBytes);
    if (stable === 'compacted') return stable;
    assert(stable !== 'unavailable', `raft log: entries ${lo}..${cut} are missing in storage`);
    if (hi <= offset || stable.length < cut - lo) return stable;
    const room = maxSizeBytes - totalSizeBytes(stable);
    if (room <= 0) return stable;
    const rest = limitEntries(unstable, 0, hi - offset, room);
    // One entry comes even when it is too large, but then it has to wait.
    if (rest.length === 1 && totalSizeBytes(rest) > room) return stable;
    return [...stable, ...rest];
  }

  #maxAppliable(allowUnstable: boolean): number {
    return allowUnstable ? this.#committed : Math.min(this.#committed, this.unstable.offset - 1);
  }

  /** Index of the first entry that this log lacks or holds in another term; null when none. */
  #firstConflict(entries: readonly Entry[]): number | null {
    for (const { index, term } of entries) {
      if (this.matches({ index, term })) continue;
      if (index <= this.lastIndex()) {
        const ownTerm = this.termOrZero(index);
        this.#onEvent?.({ code: 'log-conflict-found', index, ownTerm, term });
      }
      return index;
    }
    return null;
  }
}

/**
 * The tail of the log (and a received snapshot) that storage does not hold for sure yet. Entries
 * stay here while they are being written, and go when the write is known to be durable.
 *
 * Its first index may lie below storage's last: the next write then truncates storage.
 */
import { assert } from '../../common/base/assert.ts';
import type { RaftEventListener } from './events.ts';
import type { Entry, EntryId, Snapshot } from './types.ts';

export class UnstableLog {
  /** `#entries[i].index === offset + i`. Replaced, never changed in place but by appending. */
  #entries: Entry[] = [];
  #offset: number;
  /** Entries below this are being written. `offset <= inProgressOffset <= offset + length`. */
  #inProgressOffset: number;
  #snapshot: Snapshot | null = null;
  #snapshotInProgress = false;
  readonly #onEvent: RaftEventListener | undefined;

  constructor(offset: number, onEvent: RaftEventListener | undefined) {
    this.#offset = offset;
    this.#inProgressOffset = offset;
    this.#onEvent = onEvent;
  }

  get offset(): number {
    return this.#offset;
  }

  get inProgressOffset(): number {
    return this.#inProgressOffset;
  }

  /** Entries new and being written. */
  get count(): number {
    return this.#entries.length;
  }

  /** Received and not yet known to be durable, whether being written or not. */
  get snapshot(): Snapshot | null {
    return this.#snapshot;
  }

  /** Undefined when only storage can tell. */
  firstIndex(): number | undefined {
    return this.#snapshot === null ? undefined : this.#snapshot.metadata.index + 1;
  }

  /** Undefined when only storage can tell. */
  lastIndex(): number | undefined {
    if (this.#entries.length > 0) return this.#offset + this.#entries.length - 1;
    return this.#snapshot?.metadata.index;
  }

  /** Undefined when the entry is not here. */
  term(index: number): number | undefined {
    if (index >= this.#offset) return this.#entries[index - this.#offset]?.term;
    const metadata = this.#snapshot?.metadata;
    return metadata !== undefined && metadata.index === index ? metadata.term : undefined;
  }

  hasNextEntries(): boolean {
    return this.#offset + this.#entries.length > this.#inProgressOffset;
  }

  /** Entries to write that nobody was told to write yet. */
  nextEntries(): Entry[] {
    return this.#entries.slice(this.#inProgressOffset - this.#offset);
  }

  nextSnapshot(): Snapshot | null {
    return this.#snapshotInProgress ? null : this.#snapshot;
  }

  /** All that is here has been handed to the writer. */
  acceptInProgress(): void {
    this.#inProgressOffset = this.#offset + this.#entries.length;
    this.#snapshotInProgress = this.#snapshot !== null;
  }

  /**
   * The entry `id` and all before it are durable, and no write under way can overwrite them. Ignored
   * when the log has moved on.
   */
  stableTo(id: EntryId): void {
    const term = this.term(id.index);
    if (term === undefined) {
      this.#onEvent?.({ code: 'stable-entry-missing', index: id.index });
      return;
    }
    if (id.index < this.#offset) {
      this.#onEvent?.({ code: 'stable-entry-is-snapshot', index: id.index });
      return;
    }
    if (term !== id.term) {
      this.#onEvent?.({ code: 'stable-entry-mismatched', entry: id, ownTerm: term });
      return;
    }
    this.#entries = this.#entries.slice(id.index + 1 - this.#offset);
    this.#offset = id.index + 1;
    this.#inProgressOffset = Math.max(this.#inProgressOffset, this.#offset);
  }

  stableSnapshotTo(index: number): void {
    if (this.#snapshot?.metadata.index !== index) return;
    this.#snapshot = null;
    this.#snapshotInProgress = false;
  }

  /** Everything is replaced by a snapshot. */
  restore(snapshot: Snapshot): void {
    this.#offset = snapshot.metadata.index + 1;
    this.#inProgressOffset = this.#offset;
    this.#entries = [];
    this.#snapshot = snapshot;
    this.#snapshotInProgress = false;
  }

  /** Puts entries at their indexes; what was there from the first of them on is dropped. */
  truncateAndAppend(entries: readonly Entry[]): void {
    const fromIndex = entries[0]!.index;
    const end = this.#offset + this.#entries.length;
    assert(fromIndex <= end, `append to unstable log: ${fromIndex} leaves a gap after ${end - 1}`);
    if (fromIndex === end) {
      for (const entry of entries) this.#entries.push(entry);
      return;
    }
    if (fromIndex <= this.#offset) {
      this.#onEvent?.({ code: 'unstable-replaced', fromIndex });
      this.#entries = [...entries];
      this.#offset = fromIndex;
      this.#inProgressOffset = fromIndex;
      return;
    }
    this.#onEvent?.({ code: 'unstable-truncated', fromIndex });
    this.#entries = [...this.#entries.slice(0, fromIndex - this.#offset), ...entries];
    this.#inProgressOffset = Math.min(this.#inProgressOffset, fromIndex);
  }

  /** The entries from `offset` on, for reading only; the array may grow later. */
  view(): readonly Entry[] {
    return this.#entries;
  }
}

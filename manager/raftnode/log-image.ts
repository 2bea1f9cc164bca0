/**
 * The log as the core reads it: the image in memory of what is on disk. Follows the log writer.
 */
import { MemoryStorage } from '../raft/memory-storage.ts';
import type { ConfState, Entry, HardState, LogGap, Snapshot, Storage } from '../raft/types.ts';
import { encodeSnapshotState, type RecoveredState, type SnapshotHead } from './durable-state.ts';

export class LogImage implements Storage {
  readonly #memory = new MemoryStorage();
  /** A follower that was added later than this snapshot would refuse it: see `snapshot`. */
  #snapshotIndexMin = 0;
  #snapshotWanted = false;

  constructor(recovered: RecoveredState) {
    const { snapshot, entries, hardState } = recovered;
    if (snapshot !== null) this.#load(snapshot, entries);
    this.#memory.setHardState(hardState);
  }

  /** True once after the core asked for a snapshot that is not there; see `snapshot`. */
  takeSnapshotWanted(): boolean {
    const wanted = this.#snapshotWanted;
    this.#snapshotWanted = false;
    return wanted;
  }

  /** Snapshots from before `index`, that of the last membership change, are not handed out. */
  requireSnapshotFrom(index: number): void {
    this.#snapshotIndexMin = index;
  }

  initialState(): { hardState: HardState; confState: ConfState } {
    return this.#memory.initialState();
  }

  entries(lo: number, hi: number, maxSizeBytes: number): readonly Entry[] | LogGap {
    return this.#memory.entries(lo, hi, maxSizeBytes);
  }

  term(index: number): number | LogGap {
    return this.#memory.term(index);
  }

  firstIndex(): number {
    return this.#memory.firstIndex();
  }

  lastIndex(): number {
    return this.#memory.lastIndex();
  }

  /**
   * The core asks when a follower is behind the log. The follower takes only a snapshot in which it
   * is a member, so one from before the last change is withheld until a newer is made.
   */
  snapshot(): Snapshot | 'temporarily-unavailable' {
    const snapshot = this.#memory.snapshot();
    const { index } = snapshot.metadata;
    if (index > 0 && index >= this.#snapshotIndexMin) return snapshot;
    this.#snapshotWanted = true;
    return 'temporarily-unavailable';
  }

  get snapshotIndex(): number {
    return this.#memory.snapshot().metadata.index;
  }

  append(entries: readonly Entry[]): void {
    this.#memory.append(entries);
  }

  setHardState(hardState: HardState): void {
    this.#memory.setHardState(hardState);
  }

  /** A snapshot from the leader takes the place of the whole log. */
  install(snapshot: Snapshot): void {
    this.#memory.applySnapshot(snapshot);
  }

  /** Our own snapshot is durable: keeps `keepEntries` before it for followers that are behind. */
  snapshotTaken(head: SnapshotHead, keepEntries: number): void {
    const data = encodeSnapshotState(head.confState, head.membership);
    if (this.#memory.createSnapshot(head.index, head.confState, data) === null) return;
    this.#memory.compact(head.index - keepEntries);
  }

  #load(snapshot: SnapshotHead, entries: readonly Entry[]): void {
    const { index, term, confState, membership } = snapshot;
    const data = encodeSnapshotState(confState, membership);
    const first = entries[0];
    if (first === undefined || first.index === index + 1) {
      this.#memory.applySnapshot({ data, metadata: { confState, index, term } });
      this.#memory.append(entries);
      return;
    }
    // Older entries serve followers that are behind; the oldest stands for "gone before here".
    const start = { confState, index: first.index, term: first.term };
    this.#memory.applySnapshot({ data, metadata: start });
    this.#memory.append(entries.slice(1));
    if (first.index !== index) this.#memory.createSnapshot(index, confState, data);
  }
}

/**
 * What the log on one disk really holds, found out from the bytes that were synced and not from what
 * the node believes. Reads the same format as the product's recovery, frame by frame as they become
 * durable; knows nothing of roles.
 */
import type { Entry, HardState } from '../../manager/raft/types.ts';
import { EMPTY_HARD_STATE } from '../../manager/raft/types.ts';
import type { FileCipher, Keyring } from '../../manager/raftnode/crypt.ts';
import {
  decodeFrame,
  decodeRecords,
  decodeSegmentHeader,
  type FramePosition,
  firstPosition,
  HEADER_BLOCK_BYTES,
  type SegmentHeader,
  type WalRecord,
} from '../../manager/raftnode/wal-format.ts';
import { WAL_KEY_PURPOSE } from '../../manager/raftnode/wal-recovery.ts';
import type { DiskObserver } from '../support/sim-disk.ts';

interface Segment {
  readonly header: SegmentHeader;
  readonly cipher: FileCipher;
  at: FramePosition;
  /** Written and not synced. At most one flush is in flight. */
  pending: Buffer[];
}

export interface DurableLogObserver {
  entry(entry: Entry, previousTerm: number | null): void;
  /** A flush became durable. */
  flushed(records: readonly WalRecord[]): void;
  /** Was being written when the process ended: a crash may have kept it. */
  unsynced(entry: Entry): void;
}

/** One place in any log. */
export function placeKey(index: number, term: number): number {
  return index * 65_536 + term;
}

/** INVARIANT: `terms` are those of consecutive entries from `firstIndex` on. */
export class DurableLog implements DiskObserver {
  readonly #keyring: () => Keyring;
  readonly #observer: DurableLogObserver;
  #segments = new Map<object, Segment>();
  hardState: HardState = EMPTY_HARD_STATE;
  firstIndex = 1;
  terms: number[] = [];
  /** Index and term of the newest snapshot that the log names. */
  mark = { index: 0, term: 0 };
  /** Every place that was ever durable here, also when it was truncated later. */
  readonly everDurable = new Set<number>();
  everLastIndex = 0;
  /** The life before ended with a flush that was not synced: it may be kept, or not. */
  wasWriting = false;
  /** Index of the first entry written in this life; 0 = none yet. */
  firstWritten = 0;

  constructor(keyring: () => Keyring, observer: DurableLogObserver) {
    this.#keyring = keyring;
    this.#observer = observer;
  }

  get lastIndex(): number {
    return Math.max(this.firstIndex - 1 + this.terms.length, this.mark.index);
  }

  term(index: number): number | undefined {
    if (index === this.mark.index) return this.mark.term;
    return this.terms[index - this.firstIndex];
  }

  /** Held for good: as an entry, or covered by a snapshot. */
  holds(index: number, term: number): boolean {
    return index <= this.mark.index || this.everDurable.has(placeKey(index, term));
  }

  /** Whether flushes go there in this life. */
  isSegment(file: object): boolean {
    return this.#segments.has(file);
  }

  wrote(file: object, path: string, offset: number, data: Buffer): void {
    if (!path.startsWith('/raft/wal/')) return;
    if (offset === 0) {
      const header = decodeSegmentHeader(data);
      if (header === null) return; // zeros
      const cipher = this.#keyring().forFile(path, header.salt, header.keyCheck, WAL_KEY_PURPOSE);
      this.#segments.set(file, { header, cipher, at: firstPosition(header), pending: [] });
    } else if (offset >= HEADER_BLOCK_BYTES) {
      const segment = this.#segments.get(file);
      if (segment !== undefined) segment.pending.push(data);
    }
  }

  synced(file: object): void {
    const segment = this.#segments.get(file);
    if (segment === undefined) return;
    for (const bytes of segment.pending.splice(0)) this.#take(segment, bytes);
  }

  /** A new life: what is not synced now never will be, and new segments are begun. */
  restart(): void {
    const segments = [...this.#segments.values()];
    this.wasWriting ||= segments.some(({ pending }) => pending.length > 0);
    for (const segment of segments) {
      for (const bytes of segment.pending) {
        for (const record of this.#read(segment, bytes) ?? []) {
          if (record.kind === 'entry') this.#observer.unsynced(record.entry);
        }
      }
    }
    this.#segments.clear();
    this.firstWritten = 0;
  }

  /** What the node found at its start is what there is. */
  adopt(state: { hardState: HardState; firstIndex: number; terms: number[] }): void {
    this.wasWriting = false;
    this.hardState = state.hardState;
    this.firstIndex = state.firstIndex;
    this.terms = state.terms;
    for (const [i, term] of state.terms.entries()) this.#remember(state.firstIndex + i, term);
  }

  #take(segment: Segment, bytes: Buffer): void {
    const records = this.#read(segment, bytes);
    if (records === null) return; // a later read of the log will tell
    for (const record of records) this.#fold(record);
    this.#observer.flushed(records);
  }

  /** The next flush of the segment; null when it is none. */
  #read(segment: Segment, bytes: Buffer): WalRecord[] | null {
    const { header, cipher, at } = segment;
    const frame = decodeFrame(header, cipher, { ...at, offset: 0 }, bytes);
    if (frame.kind !== 'frame') return null;
    const offset = at.offset + frame.next.offset;
    segment.at = { ...frame.next, prevOffset: at.offset, offset };
    return decodeRecords(frame.body);
  }

  #fold(record: WalRecord): void {
    if (record.kind === 'entry') this.#append(record.entry);
    else if (record.kind === 'hard-state') this.hardState = record.hardState;
    else if (record.kind === 'mark') this.#markSnapshot(record.mark);
  }

  #append(entry: Entry): void {
    const { index, term } = entry;
    const at = index - this.firstIndex;
    this.firstWritten ||= index;
    if (this.terms.length === 0 || at < 0) {
      this.firstIndex = index;
      this.terms = [];
    } else {
      this.terms.length = Math.min(this.terms.length, at);
    }
    this.#observer.entry(entry, this.term(index - 1) ?? null);
    this.terms.push(term);
    this.#remember(index, term);
  }

  #remember(index: number, term: number): void {
    this.everDurable.add(placeKey(index, term));
    this.everLastIndex = Math.max(this.everLastIndex, index);
  }

  #markSnapshot(mark: { index: number; term: number; installed: boolean }): void {
    if (mark.index < this.mark.index) return;
    if (mark.installed && mark.index > this.mark.index && this.term(mark.index) !== mark.term) {
      this.firstIndex = mark.index + 1;
      this.terms = [];
    }
    this.mark = { index: mark.index, term: mark.term };
    this.everLastIndex = Math.max(this.everLastIndex, mark.index);
  }
}

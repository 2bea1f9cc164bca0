/**
 * The log on disk, written: segments of 64 MiB filled with zeros ahead, one write through to the disk
 * per flush. Knows no Raft: it keeps records in order and says when they are durable.
 *
 * INVARIANTS: one flush is in flight at a time; a segment carries its final name only when its
 * header is durable; the last one keeps the size that its header tells; a failed write or sync is
 * final (what the page cache holds afterwards is unknown), so nothing is ever retried on the same pages.
 */
import { assert } from '../../common/base/assert.ts';
import { SkepError } from '../../common/base/errors.ts';
import type { Logger } from '../../common/base/log.ts';
import type { Random } from '../../common/base/random.ts';
import type { HardState } from '../raft/types.ts';
import { type FileCipher, type Keyring, SALT_BYTES } from './crypt.ts';
import { type Disk, type DiskFile, errnoOf } from './disk.ts';
import {
  encodeFrame,
  encodeRecords,
  encodeSegmentHeader,
  type FramePosition,
  firstPosition,
  frameBytes,
  HEADER_BLOCK_BYTES,
  type SegmentHeader,
  type SnapshotMark,
  segmentName,
  tipName,
  type WalRecord,
} from './wal-format.ts';
import {
  readWal,
  repairTail,
  WAL_KEY_PURPOSE,
  type WalContents,
  type WalIdentity,
} from './wal-recovery.ts';

const MIB = 1024 * 1024;
const SPARE_NAME = 'spare.tmp';
/** Flushes are far smaller; the marker and repeated state of a new segment fit into this. */
const SEGMENT_START_BYTES = 1024;

export interface WalOptions {
  readonly disk: Disk;
  /** Directory of the segments; made when missing. */
  readonly dir: string;
  readonly keyring: Keyring;
  readonly random: Random;
  readonly identity: WalIdentity;
  readonly log: Logger;
  /** Size of a segment. Default 64 MiB. */
  readonly segmentBytes?: number;
  /** Size while there is less in all segments than three of these hold. Default 8 MiB. */
  readonly smallSegmentBytes?: number;
}

/**
 * What is in them counts, not how many there are: each opening begins a new one, and where little is written no snapshot
 * takes the others away. All of them are read at the next opening.
 */
const SMALL_SEGMENTS = 3;

/** No space for a new segment. Nothing of the flush was written; it may be tried again. */
export class WalFullError extends SkepError {
  constructor(dir: string, cause: unknown) {
    super('resource-exhausted', `extend raft log in ${dir}: no space left on the disk`, { cause });
  }
}

interface Segment {
  readonly path: string;
  /** Index of the next new entry when the segment was begun. */
  readonly firstIndex: number;
  readonly salt: Buffer;
  readonly keyCheck: Buffer;
  /** of the file */
  bytes: number;
  /** that hold flushes; of the open segment all it has room for */
  usedBytes: number;
}

interface OpenSegment {
  readonly file: DiskFile;
  readonly bytes: number;
  readonly header: SegmentHeader;
  readonly cipher: FileCipher;
}

interface Spare {
  readonly file: DiskFile;
  readonly bytes: number;
}

export class Wal {
  readonly #options: WalOptions;
  readonly #segments: Segment[];
  #keyring: Keyring;
  /** Null until the first flush after opening, which always begins a new segment (see `crypt.ts`). */
  #open: OpenSegment | null = null;
  #at: FramePosition;
  #seq: number;
  /** What the name of the tip says; null before there is one. */
  #tip: number | null;
  #nextIndex: number;
  #hardState: HardState | null;
  #mark: SnapshotMark | null;
  #spare: Promise<Spare | null> | null = null;
  #busy = false;
  #failed = false;
  #closed = false;

  private constructor(options: WalOptions, contents: WalContents) {
    this.#options = options;
    this.#keyring = options.keyring;
    this.#segments = contents.segments.map(({ path, header, bytes, end }) =>
      segmentOf(path, header, bytes, end.offset),
    );
    const last = contents.segments.at(-1);
    this.#at = last?.end ?? { offset: 0, prevOffset: 0, chain: 0, flush: 0 };
    this.#seq = last?.header.seq ?? 0;
    this.#tip = contents.tip;
    this.#mark = contents.marks[0] ?? null;
    this.#nextIndex = (contents.entries.at(-1)?.index ?? this.#mark?.index ?? 0) + 1;
    this.#hardState = contents.segments.length === 0 ? null : contents.hardState;
  }

  /**
   * Reads and repairs what is there. Throws as `readWal`, and then has changed nothing.
   * The caller holds the lock of the directory.
   * @param read what `readWal` gave, when the caller judged that already; nothing was changed yet
   */
  static async open(
    options: WalOptions,
    read?: WalContents,
  ): Promise<{ wal: Wal; contents: WalContents }> {
    const { disk, dir, log } = options;
    await disk.mkdir(dir);
    const contents = read ?? (await readWal(disk, dir, options.keyring, options.identity));
    if (contents.torn !== null) {
      log.warn({ ...contents.torn }, 'discarded the unfinished last write of the raft log');
      await repairTail(disk, contents.torn);
    }
    for (const name of await disk.readdir(dir)) {
      if (name.endsWith('.tmp')) await disk.unlink(`${dir}/${name}`);
    }
    for (const path of contents.leftovers) await disk.unlink(path);
    await settle(disk, dir, contents);
    return { wal: new Wal(options, contents), contents };
  }

  /** Segments on disk, oldest first. */
  get segmentPaths(): readonly string[] {
    return this.#segments.map((segment) => segment.path);
  }

  /**
   * Writes `records` and makes them durable. One call at a time. Rejects with `WalFullError` when
   * nothing was written; any other rejection is final: the process must end.
   */
  async append(records: readonly WalRecord[]): Promise<void> {
    assert(!this.#busy && !this.#closed, 'raft log: one flush at a time, none after close');
    if (this.#failed) throw new SkepError('data-loss', 'append to raft log: it failed before');
    this.#busy = true;
    try {
      await this.#flush(records);
    } catch (err) {
      if (!(err instanceof WalFullError)) this.#failed = true;
      throw err;
    } finally {
      this.#busy = false;
    }
  }

  /** Deletes segments that hold no entry above `index`. Not while a flush is in flight. */
  async purge(index: number): Promise<void> {
    assert(!this.#busy, 'raft log: no purge during a flush');
    let purged = false;
    while (this.#segments.length > 1 && this.#segments[1]!.firstIndex <= index + 1) {
      const [oldest] = this.#segments.splice(0, 1);
      await this.#options.disk.unlink(oldest!.path);
      purged = true;
    }
    if (purged) await this.#options.disk.fsyncDir(this.#options.dir);
  }

  /** From the next flush on, a new segment under the keyring's writing key if that is another. */
  async rekey(keyring: Keyring): Promise<void> {
    assert(!this.#busy, 'raft log: no change of key during a flush');
    const isSame = keyring.writesLike(this.#keyring);
    this.#keyring = keyring;
    if (!isSame) await this.#closeSegment();
  }

  /** Last index that segments under an older key may hold; null when there are none. */
  get staleUpTo(): number | null {
    const isStale = ({ salt, keyCheck }: Segment): boolean =>
      !this.#keyring.isCurrent(salt, keyCheck);
    const last = this.#segments.findLastIndex(isStale);
    if (last < 0) return null;
    return (this.#segments[last + 1]?.firstIndex ?? this.#nextIndex) - 1;
  }

  /** A last, empty flush proves that the one before it is whole (see `judgeDamage`). */
  async close(): Promise<void> {
    if (this.#closed) return;
    if (this.#open !== null && !this.#failed) await this.append([]);
    this.#closed = true;
    await this.#closeSegment();
    const spare = await this.#spare;
    await spare?.file.close();
  }

  async #flush(records: readonly WalRecord[]): Promise<void> {
    let body = encodeRecords(records);
    if (this.#open === null || this.#at.offset + frameBytes(body.length) > this.#open.bytes) {
      await this.#beginSegment(frameBytes(body.length));
      body = encodeRecords([...this.#repeatedState(), ...records]);
    }
    const open = this.#open!;
    const { frame, next } = encodeFrame(open.header, open.cipher, this.#at, body);
    await open.file.writeThrough(frame, this.#at.offset);
    this.#at = next;
    for (const record of records) this.#remember(record);
  }

  #remember(record: WalRecord): void {
    if (record.kind === 'entry') this.#nextIndex = record.entry.index + 1;
    else if (record.kind === 'hard-state') this.#hardState = record.hardState;
    else if (record.kind === 'mark') this.#rememberMark(record.mark);
  }

  #rememberMark(mark: SnapshotMark): void {
    if (this.#mark === null || mark.index >= this.#mark.index) this.#mark = mark;
    this.#nextIndex = Math.max(this.#nextIndex, mark.index + 1);
  }

  /** Begins every segment, so that older ones can be deleted. */
  #repeatedState(): WalRecord[] {
    const records: WalRecord[] = [];
    if (this.#mark !== null) {
      records.push({ kind: 'mark', mark: { ...this.#mark, installed: false } });
    }
    if (this.#hardState !== null) {
      records.push({ kind: 'hard-state', hardState: this.#hardState });
    }
    return records;
  }

  async #beginSegment(firstFrameBytes: number): Promise<void> {
    const { disk, dir, random, identity } = this.#options;
    const spare = await this.#takeSpare(HEADER_BLOCK_BYTES + firstFrameBytes + SEGMENT_START_BYTES);
    await this.#closeSegment();
    const salt = Buffer.from(random.bytes(SALT_BYTES));
    const { cipher, check } = this.#keyring.forNewFile(salt, WAL_KEY_PURPOSE);
    const header: SegmentHeader = {
      seq: this.#seq + 1,
      raftId: identity.raftId,
      firstIndex: this.#nextIndex,
      prevEnd: this.#seq === 0 ? 0 : this.#at.offset,
      prevChain: this.#at.chain,
      fileBytes: spare.bytes,
      salt,
      keyCheck: check,
      clusterDigest: identity.clusterDigest,
    };
    const path = `${dir}/${segmentName(header.seq, header.firstIndex)}`;
    await spare.file.pwrite(encodeSegmentHeader(header), 0);
    await spare.file.fdatasync();
    await disk.rename(`${dir}/${SPARE_NAME}`, path);
    await disk.fsyncDir(dir);
    await this.#moveTip(header.seq);
    this.#open = { file: spare.file, bytes: spare.bytes, header, cipher };
    this.#at = firstPosition(header);
    this.#seq = header.seq;
    await this.#cutClosed();
    this.#segments.push(segmentOf(path, header, spare.bytes, spare.bytes));
    this.#spare = this.#prepareSpare(this.#nextSegmentBytes()).catch((err) => this.#noSpare(err));
  }

  /**
   * After the segment is durable under its name and before anything in it is acknowledged: so a
   * segment that the tip names was there once.
   */
  async #moveTip(seq: number): Promise<void> {
    const { disk, dir } = this.#options;
    const path = `${dir}/${tipName(seq)}`;
    if (this.#tip === null) await (await disk.open(path, 'create')).close();
    else if (this.#tip !== seq) await disk.rename(`${dir}/${tipName(this.#tip)}`, path);
    await disk.fsyncDir(dir);
    this.#tip = seq;
  }

  /**
   * Each opening begins a segment, and where little is written no snapshot takes the ones before it away: what they have
   * room for and do not hold would all be read at the next opening. Not the last one: its room says that nothing was cut
   * off by others.
   */
  async #cutClosed(): Promise<void> {
    for (const segment of this.#segments) {
      if (segment.usedBytes >= segment.bytes) continue;
      try {
        const file = await this.#options.disk.open(segment.path, 'write');
        try {
          await file.truncate(segment.usedBytes);
        } finally {
          await file.close();
        }
        segment.bytes = segment.usedBytes;
      } catch (err) {
        this.#options.log.warn({ err }, 'could not cut a full segment of the raft log to its size');
      }
    }
  }

  /** The prepared file when it is large enough, else a new one. */
  async #takeSpare(bytesMin: number): Promise<Spare> {
    const prepared = await this.#spare;
    this.#spare = null;
    if (prepared !== null && prepared.bytes >= bytesMin) return prepared;
    try {
      await prepared?.file.close();
      return await this.#prepareSpare(Math.max(bytesMin, this.#nextSegmentBytes()));
    } catch (err) {
      if (errnoOf(err) === 'ENOSPC') throw new WalFullError(this.#options.dir, err);
      throw err;
    }
  }

  #nextSegmentBytes(): number {
    const { segmentBytes = 64 * MIB, smallSegmentBytes = 8 * MIB } = this.#options;
    const usedBytes = this.#segments.reduce((sum, segment) => sum + segment.usedBytes, 0);
    return usedBytes < SMALL_SEGMENTS * smallSegmentBytes ? smallSegmentBytes : segmentBytes;
  }

  async #prepareSpare(bytes: number): Promise<Spare> {
    const { disk, dir } = this.#options;
    const path = `${dir}/${SPARE_NAME}`;
    if ((await disk.stat(path)) !== null) await disk.unlink(path);
    const file = await disk.open(path, 'create');
    try {
      await file.zeroFill(bytes);
      await file.fdatasync();
    } catch (err) {
      await file.close();
      await disk.unlink(path);
      throw err;
    }
    return { file, bytes };
  }

  /** Not yet trouble: the present segment has room, and the next need tries again and says so. */
  #noSpare(err: unknown): null {
    this.#options.log.warn({ err }, 'could not prepare the next segment of the raft log');
    return null;
  }

  async #closeSegment(): Promise<void> {
    const open = this.#open;
    if (open === null) return;
    this.#open = null;
    this.#segments.at(-1)!.usedBytes = this.#at.offset;
    await open.file.close();
  }
}

function segmentOf(
  path: string,
  { firstIndex, salt, keyCheck }: SegmentHeader,
  bytes: number,
  usedBytes: number,
): Segment {
  return { path, firstIndex, salt, keyCheck, bytes, usedBytes };
}

/**
 * What was read may still be only in the page cache, when the process was killed before its sync:
 * the power may fail yet. From here on it counts, so it is made durable first.
 */
async function settle(disk: Disk, dir: string, contents: WalContents): Promise<void> {
  const last = contents.segments.at(-1);
  if (last !== undefined) {
    const file = await disk.open(last.path, 'write');
    try {
      await file.fdatasync();
    } finally {
      await file.close();
    }
  }
  await disk.fsyncDir(dir);
}

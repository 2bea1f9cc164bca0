/**
 * Reads a log directory: verifies it, folds its records to what they mean, tells a torn tail from
 * damage. Writes nothing except `repairTail`. Knows no snapshots: who calls it holds the result
 * against them.
 */
import { SkepError } from '../../common/base/errors.ts';
import { EMPTY_HARD_STATE, type Entry, type HardState } from '../raft/types.ts';
import type { FileCipher, Keyring } from './crypt.ts';
import { RaftDamageError } from './damage.ts';
import { type Disk, readFile } from './disk.ts';
import {
  decodeFrame,
  decodeRecords,
  decodeSegmentHeader,
  type FramePosition,
  findMarker,
  firstPosition,
  isZero,
  parseSegmentName,
  parseTipName,
  type SegmentHeader,
  type SnapshotMark,
  type WalRecord,
} from './wal-format.ts';

export const WAL_KEY_PURPOSE = 'raft log segment';

/** Whose log the directory must hold. */
export interface WalIdentity {
  readonly raftId: number;
  readonly clusterDigest: Buffer;
}

export interface SegmentSummary {
  readonly path: string;
  readonly bytes: number;
  readonly header: SegmentHeader;
  /** Behind the last intact frame. */
  readonly end: FramePosition;
}

/** What a crash left behind the last intact frame of the last segment. */
export interface TornTail {
  readonly path: string;
  readonly fromOffset: number;
  readonly toOffset: number;
  readonly reason: string;
}

export interface WalContents {
  readonly segments: readonly SegmentSummary[];
  /** Older segments whose successors are gone already: left over from an interrupted clean-up. */
  readonly leftovers: readonly string[];
  /** Number of the segment that the tip names; null without a tip. */
  readonly tip: number | null;
  readonly hardState: HardState;
  /** Consecutive. They may begin before the newest snapshot or right after it. */
  readonly entries: readonly Entry[];
  /** Newest first. */
  readonly marks: readonly SnapshotMark[];
  /** Those of a node that waits for its first snapshot; null on all others. */
  readonly members: Uint8Array | null;
  readonly torn: TornTail | null;
}

/** What could be read, and what ended it. */
export interface WalScan {
  /** Up to the trouble, if there is any. */
  readonly contents: WalContents;
  /** Null when everything is there and intact. */
  readonly trouble: SkepError | null;
}

/**
 * Throws `RaftDamageError` naming file and offset when data that was synced is damaged, and
 * `failed-precondition` when the directory belongs to another node or cluster or key.
 */
export async function readWal(
  disk: Disk,
  dir: string,
  keyring: Keyring,
  identity: WalIdentity,
): Promise<WalContents> {
  const { contents, trouble } = await scanWal(disk, dir, keyring, identity);
  if (trouble !== null) throw trouble;
  return contents;
}

/** As `readWal`, for who wants to see also what lies before the damage. */
export async function scanWal(
  disk: Disk,
  dir: string,
  keyring: Keyring,
  identity: WalIdentity,
): Promise<WalScan> {
  const { current, leftovers, tip } = await listSegments(disk, dir);
  const fold = new RecordFold();
  const segments: SegmentSummary[] = [];
  let torn: TornTail | null = null;
  let trouble: SkepError | null = null;
  try {
    for (const [i, { path, seq }] of current.entries()) {
      const isLast = i === current.length - 1 && (tip ?? 0) <= seq;
      const read = await readSegment(disk, path, { keyring, identity, fold, isLast }, segments);
      torn = read.torn;
    }
    checkTip(dir, segments.at(-1), tip);
  } catch (err) {
    if (!(err instanceof SkepError)) throw err;
    trouble = err;
  }
  return { contents: { segments, leftovers, tip, torn, ...fold.result() }, trouble };
}

interface SegmentContext {
  readonly keyring: Keyring;
  readonly identity: WalIdentity;
  readonly fold: RecordFold;
  readonly isLast: boolean;
}

/** Adds the segment to `segments` as soon as its header is known to be ours. */
async function readSegment(
  disk: Disk,
  path: string,
  { keyring, identity, fold, isLast }: SegmentContext,
  segments: SegmentSummary[],
): Promise<{ torn: TornTail | null }> {
  const bytes = (await readFile(disk, path)) ?? Buffer.alloc(0);
  const header = checkHeader(path, bytes, { identity, isLast });
  checkChain(segments.at(-1), path, header);
  const cipher = keyring.forFile(path, header.salt, header.keyCheck, WAL_KEY_PURPOSE);
  const scan = scanSegment(path, bytes, header, cipher, fold);
  segments.push({ path, bytes: bytes.length, header, end: scan.end });
  if (scan.damage === null) return { torn: null };
  return { torn: judgeDamage(scan.damage, path, bytes, header, isLast) };
}

/** The tip follows a segment's name: it may be behind by a crash, never ahead. */
function checkTip(dir: string, last: SegmentSummary | undefined, tip: number | null): void {
  const seq = last?.header.seq ?? 0;
  if (tip === null || tip <= seq) return;
  throw new RaftDamageError(dir, null, `segment ${tip} is missing, the last one there is ${seq}`);
}

/** Overwrites a torn tail with zeros, so that it can never be read again; durable when it resolves. */
export async function repairTail(disk: Disk, torn: TornTail): Promise<void> {
  const file = await disk.open(torn.path, 'write');
  try {
    await file.pwrite(Buffer.alloc(torn.toOffset - torn.fromOffset), torn.fromOffset);
    await file.fdatasync();
  } finally {
    await file.close();
  }
}

/** Of the segments that count; null when there are none. */
export async function firstSegmentPath(disk: Disk, dir: string): Promise<string | null> {
  if ((await disk.stat(dir)) === null) return null;
  return (await listSegments(disk, dir)).current[0]?.path ?? null;
}

async function listSegments(
  disk: Disk,
  dir: string,
): Promise<{ current: { path: string; seq: number }[]; leftovers: string[]; tip: number | null }> {
  const names = await disk.readdir(dir);
  const tips = names.map(parseTipName).filter((seq) => seq !== null);
  const named = names
    .flatMap((name) => {
      const parsed = parseSegmentName(name);
      return parsed === null ? [] : [{ path: `${dir}/${name}`, seq: parsed.seq }];
    })
    .sort((a, b) => a.seq - b.seq);
  let first = named.length - 1;
  while (first > 0 && named[first - 1]!.seq === named[first]!.seq - 1) first--;
  first = Math.max(0, first);
  const tip = tips.length === 0 ? null : Math.max(...tips);
  const leftovers = named.slice(0, first).map(({ path }) => path);
  return { current: named.slice(first), leftovers, tip };
}

function checkHeader(
  path: string,
  bytes: Buffer,
  { identity, isLast }: Pick<SegmentContext, 'identity' | 'isLast'>,
): SegmentHeader {
  const header = decodeSegmentHeader(bytes);
  if (header === null) throw new RaftDamageError(path, 0, 'segment header is not intact');
  // Those before it are cut to what they hold: the header of the next one says how much that is.
  if (isLast && bytes.length < header.fileBytes) {
    throw new RaftDamageError(
      path,
      bytes.length,
      `the file ends here, it had ${header.fileBytes} bytes`,
    );
  }
  if (!header.clusterDigest.equals(identity.clusterDigest)) {
    throw new SkepError(
      'failed-precondition',
      `open raft log ${path}: it belongs to another cluster: nothing was changed; put the raft directory of this manager back`,
    );
  }
  if (header.raftId !== identity.raftId) {
    throw new SkepError(
      'failed-precondition',
      `open raft log ${path}: it belongs to raft node ${header.raftId.toString(16)}, not to ${identity.raftId.toString(16)}: nothing was changed; put the raft directory of this manager back`,
    );
  }
  return header;
}

/** Each segment says where the one before ended, so a tail that was lost from it shows. */
function checkChain(before: SegmentSummary | undefined, path: string, header: SegmentHeader): void {
  if (before === undefined) return;
  const { end } = before;
  if (end.offset === header.prevEnd && end.chain === header.prevChain) return;
  if (end.offset < header.prevEnd) {
    throw new RaftDamageError(
      before.path,
      end.offset,
      `flushes up to offset ${header.prevEnd} are missing`,
    );
  }
  throw new RaftDamageError(path, 0, `it does not continue ${before.path}`);
}

interface Damage {
  readonly at: FramePosition;
  readonly reason: string;
  readonly torn: boolean;
}

function scanSegment(
  path: string,
  bytes: Buffer,
  header: SegmentHeader,
  cipher: FileCipher,
  fold: RecordFold,
): { end: FramePosition; damage: Damage | null } {
  let at = firstPosition(header);
  for (;;) {
    const frame = decodeFrame(header, cipher, at, bytes);
    if (frame.kind === 'damaged') return { end: at, damage: { at, ...frame } };
    if (frame.kind === 'end') {
      const quiet = isZero(bytes.subarray(at.offset));
      const damage = quiet ? null : { at, reason: 'flush marker is blank', torn: true };
      return { end: at, damage };
    }
    foldFrame(path, at.offset, frame.body, fold);
    at = frame.next;
  }
}

function foldFrame(path: string, offset: number, body: Buffer, fold: RecordFold): void {
  try {
    for (const record of decodeRecords(body)) fold.add(record);
  } catch (err) {
    if (err instanceof RangeError) throw new RaftDamageError(path, offset, err.message);
    throw err;
  }
}

/**
 * Only one flush is ever in flight, and it is the last of the last segment: anything else that does
 * not read was synced once. Known limit: rot inside the very last synced flush looks like a torn
 * write; each later flush, and the closing one of an orderly stop, ends that window.
 */
function judgeDamage(
  damage: Damage,
  path: string,
  bytes: Buffer,
  header: SegmentHeader,
  isLast: boolean,
): TornTail {
  const { offset, flush } = damage.at;
  if (!isLast) throw new RaftDamageError(path, offset, damage.reason);
  const later = findMarker(header, bytes, offset, flush + 1);
  if (later !== null) {
    throw new RaftDamageError(
      path,
      offset,
      `${damage.reason}, and a later flush at ${later} is intact`,
    );
  }
  if (!damage.torn) throw new RaftDamageError(path, offset, damage.reason);
  let toOffset = bytes.length;
  while (toOffset > offset && bytes[toOffset - 1] === 0) toOffset--;
  return { path, fromOffset: offset, toOffset, reason: damage.reason };
}

/** Folds records in log order. INVARIANT: `#entries` is consecutive. */
class RecordFold {
  #hardState: HardState = EMPTY_HARD_STATE;
  #entries: Entry[] = [];
  readonly #marks: SnapshotMark[] = [];
  #members: Uint8Array | null = null;

  add(record: WalRecord): void {
    switch (record.kind) {
      case 'entry':
        this.#addEntry(record.entry);
        return;
      case 'hard-state':
        this.#hardState = record.hardState;
        return;
      case 'mark':
        this.#addMark(record.mark);
        return;
      case 'members':
        this.#members = record.members;
        return;
    }
  }

  result(): Pick<WalContents, 'hardState' | 'entries' | 'marks' | 'members'> {
    return {
      members: this.#marks.length === 0 ? this.#members : null,
      hardState: this.#hardState,
      entries: this.#entries,
      marks: this.#marks.toSorted((a, b) => b.index - a.index),
    };
  }

  /** An entry that repeats an index takes the place of all that came from there on. */
  #addEntry(entry: Entry): void {
    const first = this.#entries[0];
    if (first === undefined || entry.index <= first.index) {
      this.#entries = [entry];
      return;
    }
    const at = entry.index - first.index;
    if (at > this.#entries.length)
      throw new RangeError(`entries before ${entry.index} are missing`);
    this.#entries.length = at;
    this.#entries.push(entry);
  }

  /** A snapshot from the leader replaces a log that does not contain its last entry. */
  #addMark(mark: SnapshotMark): void {
    const same = this.#marks.find((other) => other.index === mark.index);
    if (same === undefined) this.#marks.push(mark);
    if (!mark.installed || same !== undefined) return;
    const first = this.#entries[0];
    const covered = first === undefined ? undefined : this.#entries[mark.index - first.index];
    if (covered?.term !== mark.term) this.#entries = [];
  }
}

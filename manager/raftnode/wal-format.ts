/**
 * Layout of a log segment. Pure: bytes in, bytes out; knows no files.
 *
 * A segment is a 4 KiB header block and then frames, zeros after the last. A frame is what one flush
 * wrote: a marker (length, flush number, offset of the frame before, checksums) and a body with all
 * records of the flush, encrypted together. Frames are chained: the checksum of each is seeded with
 * that of the one before, across segments too, so that a lost frame in the middle shows.
 *
 *   header:  magic[8] seq:u64 raftId:u64 firstIndex:u64 prevEnd:u64 prevChain:u32 fileBytes:u32 salt[16]
 *            keyCheck[8] clusterDigest[16] crc:u32
 *   frame:   magic:u32 bodyBytes:u32 flush:u64 prevOffset:u32 chain:u32 markerCrc:u32 0:u32 tag[16]
 *            body, zeros up to a multiple of 8
 *   record:  payloadBytes:u32 type:u8 payload
 */
import { crc32 } from 'node:zlib';
import { assertNever } from '../../common/base/assert.ts';
import type { Entry, EntryType, HardState } from '../raft/types.ts';
import { alignUp, ByteReader, ByteWriter, readU64, writeU64 } from './bytes.ts';
import { type FileCipher, KEY_CHECK_BYTES, SALT_BYTES, TAG_BYTES } from './crypt.ts';

export const HEADER_BLOCK_BYTES = 4096;
export const CLUSTER_DIGEST_BYTES = 16;
const SEGMENT_MAGIC = Buffer.from('SKEPWAL1', 'latin1');
const HEADER_BYTES = 92;
const FRAME_MAGIC = 0x464c_5331;
export const MARKER_BYTES = 48;
const CHAINED_BYTES = 20;
const MARKER_CRC_AT = 24;
const TAG_AT = 32;
const FRAME_ALIGNMENT = 8;

export interface SegmentHeader {
  /** Position of the segment in the log, from 1. */
  readonly seq: number;
  /** The node that the log belongs to. */
  readonly raftId: number;
  /** Index that the next new entry had when the segment was begun. */
  readonly firstIndex: number;
  /** Where the last frame of the segment before ends, and its chain; 0 in the first segment. */
  readonly prevEnd: number;
  readonly prevChain: number;
  /** Size of the file from its beginning on: a shorter one was cut. */
  readonly fileBytes: number;
  readonly salt: Buffer;
  readonly keyCheck: Buffer;
  readonly clusterDigest: Buffer;
}

/** A whole header block. */
export function encodeSegmentHeader(header: SegmentHeader): Buffer {
  const block = Buffer.alloc(HEADER_BLOCK_BYTES);
  SEGMENT_MAGIC.copy(block, 0);
  writeU64(block, header.seq, 8);
  writeU64(block, header.raftId, 16);
  writeU64(block, header.firstIndex, 24);
  writeU64(block, header.prevEnd, 32);
  block.writeUInt32LE(header.prevChain, 40);
  block.writeUInt32LE(header.fileBytes, 44);
  header.salt.copy(block, 48);
  header.keyCheck.copy(block, 64);
  header.clusterDigest.copy(block, 72);
  block.writeUInt32LE(crc32(block.subarray(0, HEADER_BYTES - 4)), HEADER_BYTES - 4);
  return block;
}

/** Null when the bytes are no intact header. */
export function decodeSegmentHeader(block: Buffer): SegmentHeader | null {
  if (block.length < HEADER_BLOCK_BYTES || !block.subarray(0, 8).equals(SEGMENT_MAGIC)) return null;
  if (crc32(block.subarray(0, HEADER_BYTES - 4)) !== block.readUInt32LE(HEADER_BYTES - 4)) {
    return null;
  }
  return {
    seq: readU64(block, 8),
    raftId: readU64(block, 16),
    firstIndex: readU64(block, 24),
    prevEnd: readU64(block, 32),
    prevChain: block.readUInt32LE(40),
    fileBytes: block.readUInt32LE(44),
    salt: Buffer.from(block.subarray(48, 48 + SALT_BYTES)),
    keyCheck: Buffer.from(block.subarray(64, 64 + KEY_CHECK_BYTES)),
    clusterDigest: Buffer.from(block.subarray(72, 72 + CLUSTER_DIGEST_BYTES)),
  };
}

const SEGMENT_NAME = /^([0-9a-f]{8})-([0-9a-f]{14})\.wal$/;

/** Names sort in the order of the log. */
export function segmentName(seq: number, firstIndex: number): string {
  return `${seq.toString(16).padStart(8, '0')}-${firstIndex.toString(16).padStart(14, '0')}.wal`;
}

/** Null for other files. */
export function parseSegmentName(name: string): { seq: number; firstIndex: number } | null {
  const match = SEGMENT_NAME.exec(name);
  if (match === null) return null;
  return { seq: Number.parseInt(match[1]!, 16), firstIndex: Number.parseInt(match[2]!, 16) };
}

const TIP_NAME = /^tip\.([0-9a-f]{8})$/;

/** Name of the empty file that says which segment is the last: else nobody missed a deleted one. */
export function tipName(seq: number): string {
  return `tip.${seq.toString(16).padStart(8, '0')}`;
}

/** Null for other files. */
export function parseTipName(name: string): number | null {
  const match = TIP_NAME.exec(name);
  return match === null ? null : Number.parseInt(match[1]!, 16);
}

/** What the log holds. `mark` = a snapshot up to here is on disk; `installed` = it came from a leader. */
export type WalRecord =
  | { readonly kind: 'entry'; readonly entry: Entry }
  | { readonly kind: 'hard-state'; readonly hardState: HardState }
  | { readonly kind: 'mark'; readonly mark: SnapshotMark }
  /** Members known before there is a snapshot, encoded. */
  | { readonly kind: 'members'; readonly members: Uint8Array };

export interface SnapshotMark {
  readonly index: number;
  readonly term: number;
  readonly installed: boolean;
}

const RECORD_ENTRY = 1;
const RECORD_HARD_STATE = 2;
const RECORD_MARK = 3;
const RECORD_MEMBERS = 4;
const ENTRY_FIELDS_BYTES = 17;
const ENTRY_TYPES: readonly EntryType[] = ['normal', 'conf-change', 'conf-change-v2'];

export function encodeRecords(records: readonly WalRecord[]): Buffer {
  const writer = new ByteWriter(1024);
  for (const record of records) encodeRecord(writer, record);
  return writer.finish();
}

function encodeRecord(writer: ByteWriter, record: WalRecord): void {
  switch (record.kind) {
    case 'entry': {
      const { index, term, type, data } = record.entry;
      writer.u32(ENTRY_FIELDS_BYTES + data.length).u8(RECORD_ENTRY);
      writer.u64(index).u64(term).u8(ENTRY_TYPES.indexOf(type)).raw(data);
      return;
    }
    case 'hard-state': {
      const { term, vote, commit } = record.hardState;
      writer.u32(24).u8(RECORD_HARD_STATE).u64(term).u64(vote).u64(commit);
      return;
    }
    case 'mark': {
      const { index, term, installed } = record.mark;
      writer
        .u32(17)
        .u8(RECORD_MARK)
        .u64(index)
        .u64(term)
        .u8(installed ? 1 : 0);
      return;
    }
    case 'members':
      writer.u32(record.members.length).u8(RECORD_MEMBERS).raw(record.members);
      return;
    default:
      assertNever(record, 'log record');
  }
}

/** Throws RangeError on a record that cannot be: the bytes were never written by us. */
export function decodeRecords(body: Uint8Array): WalRecord[] {
  const reader = new ByteReader(body);
  const records: WalRecord[] = [];
  while (reader.remaining > 0) {
    const payloadBytes = reader.u32();
    const type = reader.u8();
    records.push(decodeRecord(type, new ByteReader(reader.raw(payloadBytes))));
  }
  return records;
}

function decodeRecord(type: number, reader: ByteReader): WalRecord {
  switch (type) {
    case RECORD_ENTRY: {
      const index = reader.u64();
      const term = reader.u64();
      const entryType = ENTRY_TYPES[reader.u8()];
      if (entryType === undefined) throw new RangeError('unknown type of log entry');
      const data = reader.raw(reader.remaining);
      return { kind: 'entry', entry: { index, term, type: entryType, data } };
    }
    case RECORD_HARD_STATE:
      return {
        kind: 'hard-state',
        hardState: { term: reader.u64(), vote: reader.u64(), commit: reader.u64() },
      };
    case RECORD_MARK:
      return {
        kind: 'mark',
        mark: { index: reader.u64(), term: reader.u64(), installed: reader.u8() === 1 },
      };
    case RECORD_MEMBERS:
      return { kind: 'members', members: reader.raw(reader.remaining) };
    default:
      throw new RangeError(`unknown type of log record: ${type}`);
  }
}

/** Position in the chain of frames: where the next one goes and what it is seeded with. */
export interface FramePosition {
  readonly offset: number;
  /** Offset of the frame before in this segment, 0 for the first. */
  readonly prevOffset: number;
  readonly chain: number;
  /** Flushes in this segment so far; also the counter that the nonce is made of. */
  readonly flush: number;
}

export function firstPosition(header: SegmentHeader): FramePosition {
  return { offset: HEADER_BLOCK_BYTES, prevOffset: 0, chain: header.prevChain, flush: 0 };
}

/** Bytes on disk of a frame with a body of `bodyBytes`. */
export function frameBytes(bodyBytes: number): number {
  return alignUp(MARKER_BYTES + bodyBytes, FRAME_ALIGNMENT);
}

/** The frame that goes to `at.offset`, and the position behind it. */
export function encodeFrame(
  header: SegmentHeader,
  cipher: FileCipher,
  at: FramePosition,
  plainBody: Uint8Array,
): { frame: Buffer; next: FramePosition } {
  const flush = at.flush + 1;
  const frame = Buffer.alloc(frameBytes(plainBody.length));
  frame.writeUInt32LE(FRAME_MAGIC, 0);
  frame.writeUInt32LE(plainBody.length, 4);
  writeU64(frame, flush, 8);
  frame.writeUInt32LE(at.prevOffset, 16);
  const { body, tag } = cipher.seal(plainBody, flush, associatedData(header, frame));
  tag.copy(frame, TAG_AT);
  body.copy(frame, MARKER_BYTES);
  const chain = chainOf(frame, plainBody.length, at.chain);
  frame.writeUInt32LE(chain, 20);
  frame.writeUInt32LE(markerCrc(frame, header.salt), MARKER_CRC_AT);
  const next = { offset: at.offset + frame.length, prevOffset: at.offset, chain, flush };
  return { frame, next };
}

export type FrameAt =
  | { readonly kind: 'frame'; readonly body: Buffer; readonly next: FramePosition }
  /** Zeros up to the end of the marker: nothing was written here. */
  | { readonly kind: 'end' }
  /** `torn`: an interrupted write may look like this. */
  | { readonly kind: 'damaged'; readonly reason: string; readonly torn: boolean };

/** Decodes the frame at `at.offset` of `segment` (the whole file). */
export function decodeFrame(
  header: SegmentHeader,
  cipher: FileCipher,
  at: FramePosition,
  segment: Buffer,
): FrameAt {
  const marker = segment.subarray(at.offset, at.offset + MARKER_BYTES);
  if (isZero(marker)) return { kind: 'end' };
  if (!isMarker(marker, header.salt))
    return { kind: 'damaged', reason: 'no flush marker', torn: true };
  const flush = readU64(marker, 8);
  const bodyBytes = marker.readUInt32LE(4);
  if (flush !== at.flush + 1 || marker.readUInt32LE(16) !== at.prevOffset) {
    const reason = `flush ${flush} where ${at.flush + 1} was expected`;
    return { kind: 'damaged', reason, torn: false };
  }
  const frame = segment.subarray(at.offset, at.offset + frameBytes(bodyBytes));
  if (frame.length < frameBytes(bodyBytes)) {
    return { kind: 'damaged', reason: 'flush is cut off', torn: true };
  }
  const chain = chainOf(frame, bodyBytes, at.chain);
  if (chain !== marker.readUInt32LE(20)) {
    return { kind: 'damaged', reason: 'checksum mismatch', torn: true };
  }
  const sealed = frame.subarray(MARKER_BYTES, MARKER_BYTES + bodyBytes);
  const tag = frame.subarray(TAG_AT, TAG_AT + TAG_BYTES);
  const body = cipher.unseal(sealed, flush, tag, associatedData(header, frame));
  if (body === null) return { kind: 'damaged', reason: 'authentication failed', torn: false };
  const next = { offset: at.offset + frame.length, prevOffset: at.offset, chain, flush };
  return { kind: 'frame', body, next };
}

/** Offset of the first intact flush marker with a number above `afterFlush`, or null. */
export function findMarker(
  header: SegmentHeader,
  segment: Buffer,
  fromOffset: number,
  afterFlush: number,
): number | null {
  const end = segment.length - MARKER_BYTES;
  for (let at = alignUp(fromOffset, FRAME_ALIGNMENT); at <= end; at += FRAME_ALIGNMENT) {
    if (segment.readUInt32LE(at) !== FRAME_MAGIC) continue;
    const marker = segment.subarray(at, at + MARKER_BYTES);
    if (isMarker(marker, header.salt) && readU64(marker, 8) > afterFlush) return at;
  }
  return null;
}

function isMarker(marker: Buffer, salt: Buffer): boolean {
  return (
    marker.length === MARKER_BYTES &&
    marker.readUInt32LE(0) === FRAME_MAGIC &&
    marker.readUInt32LE(MARKER_CRC_AT) === markerCrc(marker, salt)
  );
}

/** Bound to the salt, so that bytes of another segment are never taken for a marker of this one. */
function markerCrc(marker: Buffer, salt: Buffer): number {
  return crc32(marker.subarray(0, MARKER_CRC_AT), crc32(salt));
}

function chainOf(frame: Buffer, bodyBytes: number, seed: number): number {
  const head = crc32(frame.subarray(0, CHAINED_BYTES), seed);
  return crc32(frame.subarray(TAG_AT, MARKER_BYTES + bodyBytes), head);
}

function associatedData(header: SegmentHeader, frame: Buffer): Buffer {
  const fields = Buffer.alloc(16);
  writeU64(fields, header.seq, 0);
  writeU64(fields, header.firstIndex, 8);
  return Buffer.concat([header.salt, fields, frame.subarray(0, CHAINED_BYTES)]);
}

const ZEROS = Buffer.alloc(64 * 1024);

export function isZero(bytes: Buffer): boolean {
  if (bytes.length > 0 && bytes[0] !== 0) return false;
  // By memory comparison: of 8 MiB in a loop of ours each start of a manager would take 10 ms longer.
  for (let at = 0; at < bytes.length; at += ZEROS.length) {
    const part = bytes.subarray(at, at + ZEROS.length);
    if (!part.equals(part.length === ZEROS.length ? ZEROS : ZEROS.subarray(0, part.length))) {
      return false;
    }
  }
  return true;
}

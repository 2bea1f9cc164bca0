/**
 * Layout of a snapshot file. Pure: bytes in, bytes out.
 *
 * A 128-byte header block, then frames, each encrypted on its own and chained by checksum: one with
 * the membership, any number with data, and a footer that counts them. Without an intact footer the
 * file is no snapshot.
 *
 *   header: magic[8] raftId:u64 index:u64 term:u64 salt[16] keyCheck[8] clusterDigest[16] crc:u32
 *   frame:  bodyBytes:u32 kind:u8 0[3] number:u64 chain:u32 0:u32 tag[16]
 *           body, zeros up to a multiple of 8
 *   footer body: dataFrames:u32 dataBytes:u64
 */
import { crc32 } from 'node:zlib';
import { alignUp, readU64, writeU64 } from './bytes.ts';
import { type FileCipher, KEY_CHECK_BYTES, SALT_BYTES, TAG_BYTES } from './crypt.ts';
import { CLUSTER_DIGEST_BYTES } from './wal-format.ts';

export const SNAPSHOT_HEADER_BYTES = 128;
const MAGIC = Buffer.from('SKEPSNP1', 'latin1');
const HEADER_CRC_AT = 72;
export const FRAME_HEAD_BYTES = 40;
const CHAIN_AT = 16;
const TAG_AT = 24;
/** Larger than any frame that we write: a length beyond it is damage, not data. */
const BODY_BYTES_MAX = 64 * 1024 * 1024;

export interface SnapshotHeader {
  readonly raftId: number;
  readonly index: number;
  readonly term: number;
  readonly salt: Buffer;
  readonly keyCheck: Buffer;
  readonly clusterDigest: Buffer;
}

export type SnapshotFrameKind = 'membership' | 'data' | 'footer';
const KINDS: readonly SnapshotFrameKind[] = ['membership', 'data', 'footer'];

/** Where the next frame goes, and what it is chained to. */
export interface SnapshotPosition {
  readonly offset: number;
  readonly number: number;
  readonly chain: number;
}

export function firstFrame(header: SnapshotHeader): SnapshotPosition {
  return { offset: SNAPSHOT_HEADER_BYTES, number: 1, chain: crc32(header.salt) };
}

export function encodeSnapshotHeader(header: SnapshotHeader): Buffer {
  const block = Buffer.alloc(SNAPSHOT_HEADER_BYTES);
  MAGIC.copy(block, 0);
  writeU64(block, header.raftId, 8);
  writeU64(block, header.index, 16);
  writeU64(block, header.term, 24);
  header.salt.copy(block, 32);
  header.keyCheck.copy(block, 48);
  header.clusterDigest.copy(block, 56);
  block.writeUInt32LE(crc32(block.subarray(0, HEADER_CRC_AT)), HEADER_CRC_AT);
  return block;
}

/** Null when the bytes are no intact header. */
export function decodeSnapshotHeader(block: Buffer): SnapshotHeader | null {
  if (block.length < SNAPSHOT_HEADER_BYTES || !block.subarray(0, 8).equals(MAGIC)) return null;
  if (crc32(block.subarray(0, HEADER_CRC_AT)) !== block.readUInt32LE(HEADER_CRC_AT)) return null;
  return {
    raftId: readU64(block, 8),
    index: readU64(block, 16),
    term: readU64(block, 24),
    salt: Buffer.from(block.subarray(32, 32 + SALT_BYTES)),
    keyCheck: Buffer.from(block.subarray(48, 48 + KEY_CHECK_BYTES)),
    clusterDigest: Buffer.from(block.subarray(56, 56 + CLUSTER_DIGEST_BYTES)),
  };
}

/** Length of a frame in the file, bytes. */
export const frameBytes = (bodyBytes: number): number => alignUp(FRAME_HEAD_BYTES + bodyBytes, 8);

/** @param frame where it is written: zeros, of the length that `frameBytes` tells */
export function encodeSnapshotFrame(
  header: SnapshotHeader,
  cipher: FileCipher,
  at: SnapshotPosition,
  kind: SnapshotFrameKind,
  plainBody: Uint8Array,
  frame: Buffer,
): SnapshotPosition {
  frame.writeUInt32LE(plainBody.length, 0);
  frame.writeUInt8(KINDS.indexOf(kind), 4);
  writeU64(frame, at.number, 8);
  const { body, tag } = cipher.seal(plainBody, at.number, associatedData(header, frame));
  tag.copy(frame, TAG_AT);
  body.copy(frame, FRAME_HEAD_BYTES);
  const chain = chainOf(frame, body, at.chain);
  frame.writeUInt32LE(chain, CHAIN_AT);
  return { offset: at.offset + frame.length, number: at.number + 1, chain };
}

export interface SnapshotFrameHead {
  readonly kind: SnapshotFrameKind;
  readonly bodyBytes: number;
  readonly head: Buffer;
}

/** Null when the bytes cannot be the head of the frame that is due at `at`. */
export function decodeFrameHead(head: Buffer, at: SnapshotPosition): SnapshotFrameHead | null {
  if (head.length < FRAME_HEAD_BYTES) return null;
  const kind = KINDS[head.readUInt8(4)];
  const bodyBytes = head.readUInt32LE(0);
  if (kind === undefined || bodyBytes > BODY_BYTES_MAX || readU64(head, 8) !== at.number) {
    return null;
  }
  return { kind, bodyBytes, head };
}

/** The position behind the frame; null when its checksum does not match. Does not decrypt. */
export function checkFrame(
  frame: SnapshotFrameHead,
  body: Buffer,
  at: SnapshotPosition,
): SnapshotPosition | null {
  if (body.length !== frame.bodyBytes) return null;
  const chain = chainOf(frame.head, body, at.chain);
  if (chain !== frame.head.readUInt32LE(CHAIN_AT)) return null;
  const offset = at.offset + frameBytes(frame.bodyBytes);
  return { offset, number: at.number + 1, chain };
}

/** Null when the frame was not sealed by this key for this file. */
export function openFrame(
  header: SnapshotHeader,
  cipher: FileCipher,
  frame: SnapshotFrameHead,
  body: Buffer,
): Buffer | null {
  const tag = frame.head.subarray(TAG_AT, TAG_AT + TAG_BYTES);
  return cipher.unseal(body, readU64(frame.head, 8), tag, associatedData(header, frame.head));
}

function chainOf(head: Buffer, body: Uint8Array, seed: number): number {
  const first = crc32(head.subarray(0, CHAIN_AT), seed);
  return crc32(body, crc32(head.subarray(TAG_AT, FRAME_HEAD_BYTES), first));
}

function associatedData(header: SnapshotHeader, head: Buffer): Buffer {
  const fields = Buffer.alloc(16);
  writeU64(fields, header.index, 0);
  writeU64(fields, header.term, 8);
  return Buffer.concat([header.salt, fields, head.subarray(0, CHAIN_AT)]);
}

const SNAPSHOT_NAME = /^([0-9a-f]{14})-([0-9a-f]{14})\.snap$/;

/** Names sort by term, then index. */
export function snapshotName(term: number, index: number): string {
  return `${hex14(term)}-${hex14(index)}.snap`;
}

/** Null for other files. */
export function parseSnapshotName(name: string): { term: number; index: number } | null {
  const match = SNAPSHOT_NAME.exec(name);
  if (match === null) return null;
  return { term: Number.parseInt(match[1]!, 16), index: Number.parseInt(match[2]!, 16) };
}

function hex14(value: number): string {
  return value.toString(16).padStart(14, '0');
}

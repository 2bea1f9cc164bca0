/**
 * The frames on a shim's socket and the records of its log, mirroring native/include/skep_spec.h.
 * Only bytes <-> values; no sockets, no files.
 */
import { SkepError } from '../../common/base/errors.ts';
import { ERROR_BYTES, errorFrom, type NativeError } from './library.ts';

/** What this daemon's shims speak. Older ones still run: every version from 1 on is understood. */
export const PROTOCOL_VERSION = 4;
/** The first one that knows `attach` and `resize`. */
export const ATTACH_VERSION = 3;
/** The first one that takes the size of an exec's terminal with its start. */
export const SIZED_EXEC_VERSION = 4;
export const FRAME_BYTES_MAX = 1 << 20;
const FRAME_HEADER_BYTES = 5;

/** `enum skep_frame` */
export const FRAME = {
  hello: 1,
  reply: 2,
  exit: 3,
  stdout: 4,
  stderr: 5,
  execExit: 6,
  start: 16,
  signal: 17,
  exec: 18,
  stdin: 19,
  stdinClose: 20,
  execSignal: 21,
  execResize: 22,
  attach: 23,
  resize: 24,
  prepare: 32,
  create: 33,
} as const;

export interface Frame {
  readonly type: number;
  readonly payload: Buffer;
}

/** One frame: u32 length of the rest, u8 type, payload. */
export function encodeFrame(type: number, payload: Uint8Array = new Uint8Array(0)): Buffer {
  const frame = Buffer.alloc(FRAME_HEADER_BYTES + payload.length);
  frame.writeUInt32LE(payload.length + 1, 0);
  frame.writeUInt8(type, 4);
  frame.set(payload, FRAME_HEADER_BYTES);
  return frame;
}

/** A request frame: its payload begins with the number that the reply repeats. */
export function encodeRequest(type: number, request: number, payload: Uint8Array): Buffer {
  const body = Buffer.alloc(4 + payload.length);
  body.writeUInt32LE(request, 0);
  body.set(payload, 4);
  return encodeFrame(type, body);
}

/** Cuts a byte stream into frames. */
export class FrameDecoder {
  #pending: Buffer = Buffer.alloc(0);

  /** The frames that are complete now. Throws `data-loss` on a length out of range. */
  push(chunk: Buffer): Frame[] {
    const frames: Frame[] = [];
    let bytes = this.#pending.length === 0 ? chunk : Buffer.concat([this.#pending, chunk]);
    while (bytes.length >= FRAME_HEADER_BYTES) {
      const size = bytes.readUInt32LE(0);
      if (size < 1 || size > FRAME_BYTES_MAX) {
        throw new SkepError('data-loss', `read from shim: frame of ${size} bytes`);
      }
      if (bytes.length < 4 + size) break;
      frames.push({
        type: bytes.readUInt8(4),
        payload: bytes.subarray(FRAME_HEADER_BYTES, 4 + size),
      });
      bytes = bytes.subarray(4 + size);
    }
    this.#pending = bytes;
    return frames;
  }
}

/** `struct skep_hello` */
export interface Hello {
  readonly version: number;
  readonly status: 'created' | 'running' | 'exited';
  readonly shimPid: number;
  /** 0 when the init has ended */
  readonly initPid: number;
  /** since 1970; 0 while the init is not prepared; null = version 1, which does not tell */
  readonly createdAtNanos: bigint | null;
  /** 0 = not started; null as above */
  readonly startedAtNanos: bigint | null;
}

export const HELLO_BYTES = 32;
/** of version 1 */
const OLD_HELLO_BYTES = 16;
const STATUSES = ['created', 'running', 'exited'] as const;

/** Throws `failed-precondition` for a version that is newer than ours, `data-loss` for nonsense. */
export function decodeHello(payload: Buffer): Hello {
  const version = payload.length < OLD_HELLO_BYTES ? 0 : payload.readUInt32LE(0);
  if (version > PROTOCOL_VERSION) {
    const words = `it speaks version ${version}, this daemon 1 to ${PROTOCOL_VERSION}`;
    throw new SkepError('failed-precondition', `connect to shim: ${words}`);
  }
  const expectedBytes = version === 1 ? OLD_HELLO_BYTES : HELLO_BYTES;
  const status =
    version > 0 && payload.length === expectedBytes ? STATUSES[payload.readUInt32LE(4)] : undefined;
  if (status === undefined) throw new SkepError('data-loss', 'read from shim: malformed hello');
  return {
    version,
    status,
    shimPid: payload.readInt32LE(8),
    initPid: payload.readInt32LE(12),
    createdAtNanos: version === 1 ? null : payload.readBigInt64LE(16),
    startedAtNanos: version === 1 ? null : payload.readBigInt64LE(24),
  };
}

/** `struct skep_exit` */
export interface ShimExit {
  /** since 1970; 0 = never started */
  readonly startedAtNanos: bigint;
  readonly finishedAtNanos: bigint;
  /** 128 + signal when signalled */
  readonly exitCode: number;
  /** 0 = it exited by itself */
  readonly signal: number;
  readonly oomKilled: boolean;
  /** why the command could not be run; null = it was */
  readonly startError: NativeError | null;
}

export const EXIT_BYTES = 288;
const EXIT_ERROR_AT = EXIT_BYTES - ERROR_BYTES;

/** null: of version 1, which says no more than that the file `exit` is in place. */
export function decodeExit(payload: Buffer): ShimExit | null {
  if (payload.length === 0) return null;
  if (payload.length !== EXIT_BYTES) {
    throw new SkepError('data-loss', 'read from shim: malformed exit');
  }
  const failed = payload.readInt32LE(EXIT_ERROR_AT) !== 0;
  return {
    startedAtNanos: payload.readBigInt64LE(0),
    finishedAtNanos: payload.readBigInt64LE(8),
    exitCode: payload.readInt32LE(16),
    signal: payload.readInt32LE(20),
    oomKilled: payload.readUInt32LE(24) !== 0,
    startError: failed ? errorFrom(payload.subarray(EXIT_ERROR_AT)) : null,
  };
}

export interface Reply {
  readonly request: number;
  /** >= 0; of an exec its pid */
  readonly result: number;
  readonly error: NativeError | null;
}

export function decodeReply(payload: Buffer): Reply {
  if (payload.length !== 8 + ERROR_BYTES) {
    throw new SkepError('data-loss', 'read from shim: malformed reply');
  }
  const result = payload.readInt32LE(4);
  return {
    request: payload.readUInt32LE(0),
    result,
    error: result < 0 ? errorFrom(payload.subarray(8)) : null,
  };
}

/** `struct skep_log_header` */
export const LOG_HEADER_BYTES = 24;
const LOG_CHECK = 0x474f4c53;
/** No record is longer. */
export const LOG_LINE_MAX = 16384;

export interface LogHeader {
  readonly timeNanos: bigint;
  readonly stream: 'stdout' | 'stderr';
  /** bytes that follow the header */
  readonly length: number;
}

/** The header at `offset`; null when these bytes are not one (a torn or foreign file). */
export function decodeLogHeader(bytes: Buffer, offset: number): LogHeader | null {
  const stream = bytes.readUInt32LE(offset + 12);
  const length = bytes.readUInt32LE(offset + 16);
  const valid = bytes.readUInt32LE(offset + 20) === LOG_CHECK && length <= LOG_LINE_MAX;
  if (!valid || stream < 1 || stream > 2) return null;
  const seconds = bytes.readBigInt64LE(offset);
  return {
    timeNanos: seconds * 1_000_000_000n + BigInt(bytes.readUInt32LE(offset + 8)),
    stream: stream === 1 ? 'stdout' : 'stderr',
    length,
  };
}

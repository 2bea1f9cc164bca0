/**
 * What goes over a link, cut into frames and put together again. Pure; knows no sockets.
 *
 *     u32  bytes that follow, big endian
 *     u8   kind: see FRAME_KINDS
 *     ...  what the kind carries
 */
import { SkepError } from '../base/errors.ts';
import { MESSAGE_BYTES_MAX } from './limits.ts';

const LENGTH_BYTES = 4;
const HEADER_BYTES = LENGTH_BYTES + 1;

/**
 * `open` (path of the method, UTF-8) comes first, from the client. `alive` (nothing) says that its sender
 * lives, `last` (nothing) that it has no more messages and goes on listening. `end` is the last: empty, or with code,
 * words and details of an error (JSON).
 */
const FRAME_KINDS = ['open', 'message', 'alive', 'end', 'last'] as const;
export type FrameKind = (typeof FRAME_KINDS)[number];

export interface Frame {
  readonly kind: FrameKind;
  /** Shares its memory with what was received. */
  readonly body: Buffer;
}

export function encodeFrame(kind: FrameKind, body: Uint8Array): Buffer {
  const frame = Buffer.allocUnsafe(HEADER_BYTES + body.length);
  frame.writeUInt32BE(1 + body.length, 0);
  frame[LENGTH_BYTES] = FRAME_KINDS.indexOf(kind);
  frame.set(body, HEADER_BYTES);
  return frame;
}

/** Bytes in, frames out. */
export class FrameDecoder {
  /** What came of a frame that is not whole; its memory may be larger. */
  #part: Buffer = Buffer.alloc(0);
  #partBytes = 0;
  #bodyBytesMax: number;

  /** @param bodyBytesMax larger frames are refused; see `allowMessages` */
  constructor(bodyBytesMax: number) {
    this.#bodyBytesMax = bodyBytesMax;
  }

  /** From now on bodies of messages may have their full size. */
  allowMessages(): void {
    this.#bodyBytesMax = MESSAGE_BYTES_MAX;
  }

  /**
   * Calls `take` for each frame that `chunk` completes. Throws `invalid-argument` for a kind or a size
   * that is none, and what `take` throws; nothing can be decoded after it.
   */
  push(chunk: Buffer, take: (frame: Frame) => void): void {
    let rest = chunk;
    while (rest.length > 0) {
      if (this.#partBytes > 0) rest = this.#complete(rest, take);
      else {
        const bytes = this.#frameBytes(rest);
        if (bytes === null || rest.length < bytes) {
          this.#keep(rest, bytes ?? HEADER_BYTES);
          return;
        }
        take(frameOf(rest, bytes));
        rest = rest.subarray(bytes);
      }
    }
  }

  /** Adds to the frame that is not whole; returns what is behind it. */
  #complete(bytes: Buffer, take: (frame: Frame) => void): Buffer {
    let rest = this.#add(bytes, HEADER_BYTES);
    if (this.#partBytes < HEADER_BYTES) return rest;
    const wanted = this.#frameBytes(this.#part)!;
    rest = this.#add(rest, wanted);
    if (this.#partBytes < wanted) return rest;
    const whole = this.#part;
    this.#part = Buffer.alloc(0);
    this.#partBytes = 0;
    take(frameOf(whole, wanted));
    return rest;
  }

  /** Adds as much as is missing to `wantedBytes`; returns the rest. */
  #add(bytes: Buffer, wantedBytes: number): Buffer {
    const missing = Math.max(0, wantedBytes - this.#partBytes);
    this.#keep(bytes.subarray(0, missing), wantedBytes);
    return bytes.subarray(missing);
  }

  /** @param wantedBytes space that will be needed at least */
  #keep(bytes: Buffer, wantedBytes: number): void {
    if (this.#part.length < wantedBytes) {
      const larger = Buffer.allocUnsafe(wantedBytes);
      this.#part.copy(larger, 0, 0, this.#partBytes);
      this.#part = larger;
    }
    bytes.copy(this.#part, this.#partBytes);
    this.#partBytes += bytes.length;
  }

  /** Size of the frame that begins there; null as long as its header is not whole. */
  #frameBytes(bytes: Buffer): number | null {
    if (bytes.length < HEADER_BYTES) return null;
    const length = bytes.readUInt32BE(0);
    if (length < 1 || length - 1 > this.#bodyBytesMax) {
      throw new SkepError(
        'invalid-argument',
        `receive a frame: ${length} bytes are outside 1..${1 + this.#bodyBytesMax}`,
      );
    }
    return LENGTH_BYTES + length;
  }
}

function frameOf(bytes: Buffer, frameBytes: number): Frame {
  const kind = FRAME_KINDS[bytes[LENGTH_BYTES]!];
  if (kind === undefined) {
    throw new SkepError('invalid-argument', `receive a frame: no kind ${bytes[LENGTH_BYTES]}`);
  }
  return { kind, body: bytes.subarray(HEADER_BYTES, frameBytes) };
}

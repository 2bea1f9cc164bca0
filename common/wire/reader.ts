/** Reading of what managers and agents tell each other all the time: strings and numbers as V8 likes them, unknown fields noticed. */
import protobuf, { type Reader } from 'protobufjs/minimal.js';

/** Shorter ones are flat however they are put together. */
const CONCATENATED_MAX = 12;

/** Seven bits each: more may be beyond 2^53-1. */
const PLAIN_BYTES_MAX = 7;

type Long = ReturnType<Reader['int64']>;

/**
 * Reads ASCII in one go. The library puts strings together eight characters at a time: from 13 on V8 keeps such a one as a
 * tree, which takes more memory and is made flat when it is first a key; from 64 on it asks a TextDecoder. 64-bit values of up to 49
 * bits are numbers here, and not the library's objects of two halves: readers take both.
 */
export class WireReader extends protobuf.BufferReader {
  /** A field was skipped that this version does not know: generated decoders skip these, and nothing else. */
  metUnknown = false;

  constructor(bytes: Uint8Array) {
    super(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength));
  }

  override stringVerify(): string {
    const start = this.pos;
    const length = this.uint32();
    const end = this.pos + length;
    if (length > CONCATENATED_MAX && end <= this.len && isAscii(this.buf, this.pos, end)) {
      const text = (this.buf as Buffer).toString('latin1', this.pos, end);
      this.pos = end;
      return text;
    }
    this.pos = start;
    return super.stringVerify();
  }

  override int64(): Long {
    return (this.#plainVarint() as unknown as Long | null) ?? super.int64();
  }

  override uint64(): Long {
    return (this.#plainVarint() as unknown as Long | null) ?? super.uint64();
  }

  /** Null, with nothing read, for what is long. */
  #plainVarint(): number | null {
    const end = Math.min(this.len, this.pos + PLAIN_BYTES_MAX);
    let value = 0;
    let scale = 1;
    for (let at = this.pos; at < end; at++) {
      const byte = this.buf[at]!;
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) {
        this.pos = at + 1;
        return value;
      }
      scale *= 0x80;
    }
    return null;
  }

  override skipType(...parameters: Parameters<Reader['skipType']>): Reader {
    this.metUnknown = true;
    return super.skipType(...parameters);
  }
}

function isAscii(bytes: Uint8Array, start: number, end: number): boolean {
  let bits = 0;
  for (let at = start; at < end; at++) bits |= bytes[at]!;
  return bits < 0x80;
}

/**
 * Messages in the body of an HTTP/2 stream, as gRPC puts them there. Pure; knows no streams.
 *
 *     u8   1 = compressed, which nobody here sends and nobody takes
 *     u32  bytes that follow, big endian
 *     ...  the message
 */
import { SkepError } from '../base/errors.ts';
import { MESSAGE_BYTES_MAX } from './limits.ts';

const HEAD_BYTES = 5;

/** Throws `resource-exhausted` for what the other end would not take. */
export function encodeGrpcMessage(message: Uint8Array): Buffer {
  requireSize('send', message.length);
  const bytes = Buffer.allocUnsafe(HEAD_BYTES + message.length);
  bytes[0] = 0;
  bytes.writeUInt32BE(message.length, 1);
  bytes.set(message, HEAD_BYTES);
  return bytes;
}

/** Bytes in, messages out. */
export class GrpcMessageDecoder {
  #chunks: Buffer[] = [];
  #bytes = 0;

  push(chunk: Buffer): void {
    this.#chunks.push(chunk);
    this.#bytes += chunk.length;
  }

  /** `next` has more than null to give, be it a failure. */
  get hasMessage(): boolean {
    if (this.#bytes < HEAD_BYTES) return false;
    if (this.#chunks[0]!.length < HEAD_BYTES) this.#join();
    const [first] = this.#chunks as [Buffer];
    return first[0] !== 0 || this.#bytes >= HEAD_BYTES + first.readUInt32BE(1);
  }

  /**
   * The next whole message, in the memory that was received; null as long as there is none. Throws
   * `resource-exhausted` or `unimplemented`; nothing can be decoded after that.
   */
  next(): Buffer | null {
    if (this.#bytes < HEAD_BYTES) return null;
    if (this.#chunks[0]!.length < HEAD_BYTES) this.#join();
    const [first] = this.#chunks as [Buffer];
    if (first[0] !== 0) throw new SkepError('unimplemented', 'receive a message: it is compressed');
    const messageBytes = first.readUInt32BE(1);
    requireSize('receive', messageBytes);
    const wanted = HEAD_BYTES + messageBytes;
    if (this.#bytes < wanted) return null;
    if (first.length < wanted) this.#join();
    return this.#take(wanted);
  }

  /** In one piece: once for each message, however many pieces it came in. */
  #join(): void {
    this.#chunks = [Buffer.concat(this.#chunks)];
  }

  #take(wanted: number): Buffer {
    const [first] = this.#chunks as [Buffer];
    this.#bytes -= wanted;
    if (first.length === wanted) this.#chunks.shift();
    else this.#chunks[0] = first.subarray(wanted);
    return first.subarray(HEAD_BYTES, wanted);
  }
}

function requireSize(action: 'send' | 'receive', bytes: number): void {
  if (bytes <= MESSAGE_BYTES_MAX) return;
  throw new SkepError(
    'resource-exhausted',
    `${action} a message: ${bytes} bytes are more than ${MESSAGE_BYTES_MAX}`,
  );
}

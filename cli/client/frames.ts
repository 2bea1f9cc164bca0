/** Docker's multiplexed stream, read: 8 bytes of header (stream, length) before each piece of output. */

export type FrameStream = 'stdin' | 'stdout' | 'stderr' | 'system-error';

export interface Frame {
  readonly stream: FrameStream;
  readonly data: Buffer;
}

const STREAMS: readonly FrameStream[] = ['stdin', 'stdout', 'stderr', 'system-error'];
const HEADER_BYTES = 8;

/** Cuts a byte stream into frames, wherever the chunks happen to end. */
export class FrameDecoder {
  #rest: Buffer = Buffer.alloc(0);

  /** The frames completed by `chunk`. Throws on a stream number that does not exist. */
  push(chunk: Buffer): Frame[] {
    this.#rest = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    const frames: Frame[] = [];
    let at = 0;
    while (this.#rest.length - at >= HEADER_BYTES) {
      const stream = STREAMS[this.#rest[at]!];
      if (!stream) throw new Error(`unrecognized input header: ${this.#rest[at]}`);
      const end = at + HEADER_BYTES + this.#rest.readUInt32BE(at + 4);
      if (this.#rest.length < end) break;
      frames.push({ stream, data: this.#rest.subarray(at + HEADER_BYTES, end) });
      at = end;
    }
    this.#rest = this.#rest.subarray(at);
    return frames;
  }
}

/** Frames of a body. A frame of the daemon's own error text ends the read with that text. */
export async function* framesOf(body: AsyncIterable<Buffer>): AsyncIterable<Frame> {
  const decoder = new FrameDecoder();
  for await (const chunk of body) {
    for (const frame of decoder.push(chunk)) {
      if (frame.stream === 'system-error') {
        throw new Error(`error from daemon in stream: ${frame.data.toString('utf8')}`);
      }
      yield frame;
    }
  }
}

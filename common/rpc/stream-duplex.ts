/**
 * A stream of messages as a byte stream of Node, for those who speak a protocol of their own over it. Back-pressure
 * passes both ways: a reader that takes nothing is read for no further, a writer waits until the other end took most.
 */
import { Duplex } from 'node:stream';
import { asBuffer, type RpcStream } from './stream.ts';

/** Largest piece sent as one message: far below the limit of messages, large enough to cost little. */
const PIECE_BYTES_MAX = 256 * 1024;

/**
 * `end` is half a close for a client and the whole end for a server, as calls of gRPC go. Destroying it cuts the call
 * off. A failure of the call destroys it, and is heard as soon as it is read.
 */
export class StreamDuplex extends Duplex {
  readonly #stream: RpcStream<Uint8Array, Uint8Array>;
  readonly #abort = new AbortController();
  #isReading = false;
  #takenBytes = 0;

  constructor(stream: RpcStream<Uint8Array, Uint8Array>) {
    super({ allowHalfOpen: true });
    this.#stream = stream;
    this.on('error', () => {}); // whoever uses it listens to `close`; an unheard failure ends no process
  }

  /** Of what was written, what the other end has made room for: also of a chunk that waits for the rest of it. */
  get takenBytes(): number {
    return this.#takenBytes;
  }

  override _read(): void {
    if (this.#isReading) return;
    this.#isReading = true;
    this.#next().then(
      (bytes) => {
        this.#isReading = false;
        this.push(bytes);
      },
      (err: Error) => void this.destroy(err),
    );
  }

  override _write(chunk: Buffer, _encoding: string, done: (err?: Error | null) => void): void {
    this.#send(chunk).then(() => done(), done);
  }

  override _final(done: (err?: Error | null) => void): void {
    this.#stream.end();
    done();
  }

  override _destroy(err: Error | null, done: (err?: Error | null) => void): void {
    this.#abort.abort(err ?? new Error('the stream was closed'));
    if (!(this.readableEnded && this.writableFinished)) this.#stream.cancel(err ?? undefined);
    done(err);
  }

  /** Null at the end. */
  async #next(): Promise<Buffer | null> {
    for (;;) {
      const bytes = await this.#stream.next(this.#abort.signal);
      if (bytes === null) return null;
      if (bytes.length > 0) return asBuffer(bytes);
    }
  }

  async #send(chunk: Buffer): Promise<void> {
    for (let at = 0; at < chunk.length; at += PIECE_BYTES_MAX) {
      const piece = chunk.subarray(at, at + PIECE_BYTES_MAX);
      await this.#stream.send(piece, this.#abort.signal);
      this.#takenBytes += piece.length;
    }
  }
}

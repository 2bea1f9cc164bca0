/** A body that the HTTP parser left on the connection, as it does after a request for an upgrade. */
import type { Duplex } from 'node:stream';
import { SkepError } from '../../common/base/errors.ts';

/** Largest JSON body taken. The biggest legitimate one is a config: 1000 KiB in base 64. */
export const BODY_BYTES_MAX = 4 * 1024 * 1024;
/** Of the length of a chunk, or of a trailer. */
const LINE_BYTES_MAX = 16 * 1024;

export class RawInput {
  readonly #socket: Duplex;
  #bytes: Buffer;

  /** @param head what came already */
  constructor(socket: Duplex, head: Buffer) {
    this.#socket = socket;
    this.#bytes = head;
  }

  /** What came after that which was taken. */
  get rest(): Buffer {
    return this.#bytes;
  }

  /** So many bytes. Throws `invalid-argument` when they do not come, or are too many. */
  async take(length: number): Promise<Buffer> {
    if (length > BODY_BYTES_MAX) throw tooLarge();
    while (this.#bytes.length < length) await this.#more();
    const taken = this.#bytes.subarray(0, length);
    this.#bytes = this.#bytes.subarray(length);
    return taken;
  }

  /** Chunks to the last one, and what trails (RFC 9112, 7.1). Throws `invalid-argument` for what is none. */
  async takeChunked(): Promise<Buffer> {
    const chunks: Buffer[] = [];
    let size = 0;
    for (;;) {
      const [, digits] = /^([0-9a-fA-F]{1,8})[ \t]*(?:;.*)?$/.exec(await this.#line()) ?? [];
      if (digits === undefined)
        throw new SkepError('invalid-argument', 'read request body: no chunk');
      const length = Number.parseInt(digits, 16);
      if (length === 0) break;
      size += length;
      if (size > BODY_BYTES_MAX) throw tooLarge();
      chunks.push(await this.take(length));
      if ((await this.#line()) !== '') {
        throw new SkepError(
          'invalid-argument',
          'read request body: a chunk is longer than it says',
        );
      }
    }
    while ((await this.#line()) !== '');
    return Buffer.concat(chunks);
  }

  async #line(): Promise<string> {
    for (;;) {
      const end = this.#bytes.indexOf('\r\n');
      if (end >= 0) {
        const line = this.#bytes.toString('latin1', 0, end);
        this.#bytes = this.#bytes.subarray(end + 2);
        return line;
      }
      if (this.#bytes.length > LINE_BYTES_MAX) {
        throw new SkepError('invalid-argument', 'read request body: a line is too long');
      }
      await this.#more();
    }
  }

  async #more(): Promise<void> {
    const chunk = (this.#socket.read() as Buffer | null) ?? (await readable(this.#socket));
    if (chunk === null) throw new SkepError('invalid-argument', 'read request body: cut short');
    this.#bytes = Buffer.concat([this.#bytes, chunk]);
  }
}

function tooLarge(): SkepError {
  return new SkepError('invalid-argument', `read request body: over ${BODY_BYTES_MAX} bytes`);
}

function readable(socket: Duplex): Promise<Buffer | null> {
  return new Promise((resolve, reject) => {
    const settle = (run: () => void): void => {
      socket.off('readable', onReadable);
      socket.off('end', onEnd);
      socket.off('error', onError);
      run();
    };
    const onReadable = (): void => {
      const chunk = socket.read() as Buffer | null;
      if (chunk !== null) settle(() => resolve(chunk));
    };
    const onEnd = (): void => settle(() => resolve(null));
    const onError = (err: Error): void => settle(() => reject(err));
    socket.on('readable', onReadable);
    socket.on('end', onEnd);
    socket.on('error', onError);
  });
}

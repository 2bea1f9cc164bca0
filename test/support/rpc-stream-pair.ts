/** Both ends of a stream of messages in memory. A writer waits while `windowBytes` or more are not read yet. */
import { SkepError } from '../../common/base/errors.ts';
import type { RpcStream } from '../../common/rpc/stream.ts';

type Bytes = Uint8Array;

export class StreamEnd implements RpcStream<Bytes, Bytes> {
  /** Not read by this end yet. */
  unreadBytes = 0;
  /** The most that ever waited here. */
  unreadBytesMax = 0;
  other!: StreamEnd;
  readonly #windowBytes: number;
  readonly #inbox: Bytes[] = [];
  #ended = false;
  #failure: { readonly reason: unknown } | null = null;
  #wakes: (() => void)[] = [];

  constructor(windowBytes: number) {
    this.#windowBytes = windowBytes;
  }

  get failed(): boolean {
    return this.#failure !== null;
  }

  async next(signal?: AbortSignal): Promise<Bytes | null> {
    for (;;) {
      signal?.throwIfAborted();
      const bytes = this.#inbox.shift();
      if (bytes) {
        this.unreadBytes -= bytes.length;
        this.other.#wake();
        return bytes;
      }
      if (this.#failure) throw this.#failure.reason;
      if (this.#ended) return null;
      await this.#changed(signal);
    }
  }

  async *[Symbol.asyncIterator](): AsyncIterator<Bytes> {
    for (let bytes = await this.next(); bytes !== null; bytes = await this.next()) yield bytes;
  }

  write(bytes: Bytes): boolean {
    if (this.#failure) throw this.#failure.reason;
    this.other.#inbox.push(bytes);
    this.other.unreadBytes += bytes.length;
    this.other.unreadBytesMax = Math.max(this.other.unreadBytesMax, this.other.unreadBytes);
    this.other.#wake();
    return this.other.unreadBytes < this.#windowBytes;
  }

  async drained(signal?: AbortSignal): Promise<void> {
    while (this.other.unreadBytes >= this.#windowBytes) {
      signal?.throwIfAborted();
      if (this.#failure) throw this.#failure.reason;
      await this.#changed(signal);
    }
  }

  async send(bytes: Bytes, signal?: AbortSignal): Promise<void> {
    if (!this.write(bytes)) await this.drained(signal);
  }

  end(): void {
    this.other.#ended = true;
    this.other.#wake();
  }

  fail(reason: unknown): void {
    this.#failure ??= { reason };
    this.#wake();
  }

  cancel(reason: unknown = new SkepError('cancelled', 'cancelled')): void {
    this.fail(reason);
    this.other.fail(new SkepError('unavailable', 'the other end cut the stream off'));
  }

  #wake(): void {
    const wakes = this.#wakes;
    this.#wakes = [];
    for (const wake of wakes) wake();
  }

  #changed(signal?: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const settle = (): void => {
        signal?.removeEventListener('abort', settle);
        resolve();
      };
      signal?.addEventListener('abort', settle, { once: true });
      this.#wakes.push(settle);
    });
  }
}

export function streamPair(windowBytes: number): readonly [StreamEnd, StreamEnd] {
  const ends = [new StreamEnd(windowBytes), new StreamEnd(windowBytes)] as const;
  ends[0].other = ends[1];
  ends[1].other = ends[0];
  return ends;
}

/**
 * What a message stream is to those who use it; and one end of one that gRPC carries, in one direction. The same class
 * serves server and client; what is under it are the object streams of grpc-js, or a `GrpcCall`.
 */
import { assert } from '../base/assert.ts';
import { SkepError } from '../base/errors.ts';
import { CancelledError } from '../base/lifecycle.ts';
import { STREAM_HIGH_WATER_BYTES, STREAM_PENDING_BYTES_MAX } from './limits.ts';
import type { Codec } from './method.ts';

/** Receiving end. One reader at a time. */
export interface ReceiveStream<In> extends AsyncIterable<In> {
  /** The next message; null after a clean end. Rejects with the failure, or `signal.reason`. */
  next(signal?: AbortSignal): Promise<In | null>;
  /** Breaks the stream off. Idempotent. */
  cancel(reason?: unknown): void;
}

/** Sending end. */
export interface SendStream<Out> {
  /**
   * Queues a message. False = enough is queued: await `drained` before the next one. Throws the
   * stream's failure, or `resource-exhausted` when far too much is queued.
   */
  write(message: Out): boolean;
  /** Resolves when `write` may go on; rejects with the stream's failure or `signal.reason`. */
  drained(signal?: AbortSignal): Promise<void>;
  /** `write` and, when asked for, the wait. */
  send(message: Out, signal?: AbortSignal): Promise<void>;
}

export interface RpcStream<In, Out> extends ReceiveStream<In>, SendStream<Out> {
  /** No more messages from this end. On a server the end of the handler ends the stream. */
  end(): void;
  /**
   * Readers and writers here are told this, and the other end nothing. For a server's handler that is to end for a
   * reason of its own: what it rejects with goes to the caller.
   */
  fail(reason: unknown): void;
}

interface StreamEvents {
  on(event: 'close', listener: () => void): unknown;
  on(event: 'error', listener: (err: unknown) => void): unknown;
}

/** Where encoded messages come from: what is used of a `Readable` of objects. */
export interface MessageSource extends StreamEvents {
  /** null = there is none at present */
  read(): Uint8Array | null;
  on(event: 'readable' | 'end' | 'close', listener: () => void): unknown;
  on(event: 'error', listener: (err: unknown) => void): unknown;
}

/** Where encoded messages go: what is used of a `Writable` of objects. */
export interface MessageSink extends StreamEvents {
  write(message: Uint8Array, written?: () => void): unknown;
  end(): unknown;
}

export interface MessageStreamParts<In, Out> {
  /** names the call in errors */
  readonly action: string;
  readonly readable: MessageSource | null;
  readonly writable: MessageSink | null;
  readonly decode: Codec<In>['decode'] | null;
  readonly encode: Codec<Out>['encode'] | null;
  readonly cancel: () => void;
  /** requests end with END_MARK: clients send it, servers expect it */
  readonly endMark: 'sent' | 'expected';
  /** turns an `error` event into what readers and writers are told */
  readonly failureOf: (err: unknown) => unknown;
}

/**
 * Last message of a stream of requests. To a server a stream that was reset may look like one that
 * ended well, for some turns of the event loop; without this mark a cut stream would pass
 * for a complete one. A zero byte alone is no protobuf message (field number 0), so it collides with
 * none. The other direction needs no mark: there the final status tells.
 */
const END_MARK = Buffer.from([0]);

/**
 * INVARIANTS: messages that arrived before a failure are delivered before it; the first failure is
 * the one that is told; `#pendingBytes` = encoded bytes handed to gRPC and not yet written.
 */
export class MessageStream<In, Out> implements RpcStream<In, Out> {
  readonly #parts: MessageStreamParts<In, Out>;
  #failure: { readonly reason: unknown } | null = null;
  #readEnded = false;
  #writeEnded = false;
  #pendingBytes = 0;
  #wakeReader: (() => void) | null = null;
  readonly #wakeWriters = new Set<() => void>();

  constructor(parts: MessageStreamParts<In, Out>) {
    this.#parts = parts;
    const { readable, writable } = parts;
    let sawEnd = readable === null;
    if (readable) {
      readable.on('readable', () => this.#wakeReader?.());
      readable.on('end', () => {
        sawEnd = true;
        if (parts.endMark === 'expected' && !this.#readEnded) this.fail(new CancelledError());
        this.#readEnded = true;
        this.#wakeReader?.();
      });
    } else {
      this.#readEnded = true;
    }
    const source = (readable ?? writable)!;
    source.on('error', (err: unknown) => this.fail(parts.failureOf(err)));
    source.on('close', () => {
      if (sawEnd && (this.#writeEnded || !writable)) return;
      this.fail(new SkepError('unavailable', `${parts.action}: the stream was closed`));
    });
  }

  /** Ends both directions with a failure; the first one counts. */
  fail(reason: unknown): void {
    this.#failure ??= { reason };
    this.#wakeReader?.();
    for (const wake of [...this.#wakeWriters]) wake();
  }

  async next(signal?: AbortSignal): Promise<In | null> {
    const { readable, decode } = this.#parts;
    assert(readable && decode, 'stream has no receiving end');
    for (;;) {
      signal?.throwIfAborted();
      const chunk: Uint8Array | null = readable.read();
      if (chunk !== null && !this.#isEndMark(chunk)) return this.#decode(decode, chunk);
      if (chunk !== null) this.#readEnded = true;
      if (this.#failure) throw this.#failure.reason;
      if (this.#readEnded) return null;
      await this.#waitReadable(signal);
    }
  }

  async *[Symbol.asyncIterator](): AsyncIterator<In> {
    for (;;) {
      const message = await this.next();
      if (message === null) return;
      yield message;
    }
  }

  write(message: Out): boolean {
    const { writable, encode, action } = this.#parts;
    assert(writable && encode, 'stream has no sending end');
    if (this.#failure) throw this.#failure.reason;
    if (this.#writeEnded) throw new SkepError('cancelled', `${action}: the stream was ended`);
    const bytes = asBuffer(encode(message));
    if (this.#pendingBytes > 0 && this.#pendingBytes + bytes.length > STREAM_PENDING_BYTES_MAX) {
      throw new SkepError(
        'resource-exhausted',
        `${action}: send: ${this.#pendingBytes} bytes wait for a slow peer, the limit is ${STREAM_PENDING_BYTES_MAX}`,
      );
    }
    this.#pendingBytes += bytes.length;
    writable.write(bytes, () => {
      this.#pendingBytes -= bytes.length;
      if (this.#isDrained()) for (const wake of [...this.#wakeWriters]) wake();
    });
    return this.#isDrained();
  }

  async drained(signal?: AbortSignal): Promise<void> {
    for (;;) {
      signal?.throwIfAborted();
      if (this.#failure) throw this.#failure.reason;
      if (this.#isDrained()) return;
      await this.#waitDrained(signal);
    }
  }

  async send(message: Out, signal?: AbortSignal): Promise<void> {
    if (!this.write(message)) await this.drained(signal);
  }

  end(): void {
    if (this.#writeEnded || !this.#parts.writable) return;
    this.#writeEnded = true;
    if (this.#failure) return;
    if (this.#parts.endMark === 'sent') this.#parts.writable.write(END_MARK);
    this.#parts.writable.end();
  }

  cancel(reason?: unknown): void {
    if (this.#failure) return;
    this.fail(reason ?? new SkepError('cancelled', `${this.#parts.action}: cancelled`));
    this.#parts.cancel();
  }

  #decode(decode: Codec<In>['decode'], chunk: Uint8Array): In {
    try {
      return decode(chunk);
    } catch (cause) {
      const err = new SkepError('invalid-argument', `${this.#parts.action}: decode a message`, {
        cause,
      });
      this.cancel(err);
      throw err;
    }
  }

  #isEndMark(chunk: Uint8Array): boolean {
    return this.#parts.endMark === 'expected' && chunk.length === 1 && chunk[0] === 0;
  }

  #isDrained(): boolean {
    return this.#pendingBytes < STREAM_HIGH_WATER_BYTES;
  }

  #waitReadable(signal: AbortSignal | undefined): Promise<void> {
    assert(this.#wakeReader === null, 'stream has one reader at a time');
    return waitFor(
      (wake) => {
        this.#wakeReader = wake;
      },
      () => {
        this.#wakeReader = null;
      },
      signal,
    );
  }

  #waitDrained(signal: AbortSignal | undefined): Promise<void> {
    let registered: (() => void) | null = null;
    return waitFor(
      (wake) => {
        registered = wake;
        this.#wakeWriters.add(wake);
      },
      () => {
        if (registered) this.#wakeWriters.delete(registered);
      },
      signal,
    );
  }
}

/** Resolves when woken, rejects on abort; `clear` runs in both cases, before. */
export function waitFor(
  register: (wake: () => void) => void,
  clear: () => void,
  signal: AbortSignal | undefined,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const onAbort = (): void => {
      clear();
      reject(signal?.reason);
    };
    signal?.addEventListener('abort', onAbort, { once: true });
    register(() => {
      signal?.removeEventListener('abort', onAbort);
      clear();
      resolve();
    });
  });
}

/** The same bytes as a Buffer, not copied. */
export function asBuffer(bytes: Uint8Array): Buffer {
  if (Buffer.isBuffer(bytes)) return bytes;
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/**
 * One end of a call's messages: what `common/rpc/stream.ts` is over gRPC, over a simulated connection.
 * The same promises: messages before a failure come first, the first failure counts, limits in bytes.
 */
import { SkepError } from '../../../common/base/errors.ts';
import { STREAM_HIGH_WATER_BYTES, STREAM_PENDING_BYTES_MAX } from '../../../common/rpc/limits.ts';
import type { Codec } from '../../../common/rpc/method.ts';
import type { RpcStream } from '../../../common/rpc/stream.ts';

export interface CallStreamParts<In, Out> {
  readonly action: string;
  readonly decode: Codec<In>['decode'];
  readonly encode: Codec<Out>['encode'];
  /** `arrived` is to be called when the other side has it. */
  readonly transmit: (data: Uint8Array, arrived: () => void) => void;
  readonly halfClose: () => void;
  readonly cancel: () => void;
  readonly highWaterBytes?: number;
  readonly written?: (message: Out, pendingBytes: number, isFull: boolean) => void;
}

export class CallStream<In, Out> implements RpcStream<In, Out> {
  readonly #parts: CallStreamParts<In, Out>;
  readonly #inbox: Uint8Array[] = [];
  #failure: { readonly reason: unknown } | null = null;
  #readEnded = false;
  #writeEnded = false;
  #pendingBytes = 0;
  #waiters = new Set<() => void>();

  constructor(parts: CallStreamParts<In, Out>) {
    this.#parts = parts;
  }

  /** A message came. */
  push(data: Uint8Array): void {
    this.#inbox.push(data);
    this.#wake();
  }

  /** No more messages come. */
  pushEnd(): void {
    this.#readEnded = true;
    this.#wake();
  }

  fail(reason: unknown): void {
    this.#failure ??= { reason };
    this.#wake();
  }

  async next(signal?: AbortSignal): Promise<In | null> {
    return (await this.take(signal))?.message ?? null;
  }

  /** As `next`, for messages that may be null themselves. */
  async take(signal?: AbortSignal): Promise<{ readonly message: In } | null> {
    for (;;) {
      signal?.throwIfAborted();
      const data = this.#inbox.shift();
      if (data !== undefined) return { message: this.#parts.decode(data) };
      if (this.#failure !== null) throw this.#failure.reason;
      if (this.#readEnded) return null;
      await this.#changed(signal);
    }
  }

  async *[Symbol.asyncIterator](): AsyncIterator<In> {
    for (let message = await this.next(); message !== null; message = await this.next()) {
      yield message;
    }
  }

  write(message: Out): boolean {
    const { action, encode, transmit } = this.#parts;
    if (this.#failure !== null) throw this.#failure.reason;
    if (this.#writeEnded) throw new SkepError('cancelled', `${action}: the stream was ended`);
    const data = encode(message);
    if (this.#pendingBytes > 0 && this.#pendingBytes + data.length > STREAM_PENDING_BYTES_MAX) {
      throw new SkepError('resource-exhausted', `${action}: send: too much waits for a slow peer`);
    }
    const pendingBytes = this.#pendingBytes;
    this.#pendingBytes += data.length;
    transmit(data, () => {
      this.#pendingBytes -= data.length;
      this.#wake();
    });
    const isDrained = this.#isDrained();
    this.#parts.written?.(message, pendingBytes, !isDrained);
    return isDrained;
  }

  async drained(signal?: AbortSignal): Promise<void> {
    for (;;) {
      signal?.throwIfAborted();
      if (this.#failure !== null) throw this.#failure.reason;
      if (this.#isDrained()) return;
      await this.#changed(signal);
    }
  }

  async send(message: Out, signal?: AbortSignal): Promise<void> {
    if (!this.write(message)) await this.drained(signal);
  }

  end(): void {
    if (this.#writeEnded) return;
    this.#writeEnded = true;
    if (this.#failure === null) this.#parts.halfClose();
  }

  cancel(reason?: unknown): void {
    if (this.#failure !== null) return;
    this.fail(reason ?? new SkepError('cancelled', `${this.#parts.action}: cancelled`));
    this.#parts.cancel();
  }

  #isDrained(): boolean {
    return this.#pendingBytes < (this.#parts.highWaterBytes ?? STREAM_HIGH_WATER_BYTES);
  }

  #wake(): void {
    const waiters = this.#waiters;
    this.#waiters = new Set();
    for (const wake of waiters) wake();
  }

  #changed(signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      const onAbort = (): void => {
        this.#waiters.delete(wake);
        reject(signal?.reason);
      };
      const wake = (): void => {
        signal?.removeEventListener('abort', onAbort);
        resolve();
      };
      this.#waiters.add(wake);
      signal?.addEventListener('abort', onAbort, { once: true });
    });
  }
}

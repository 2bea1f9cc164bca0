/**
 * A conversation on a link: the messages of a duplex method, read one by one, with bounded buffers in both directions.
 * The same class serves server and client; knows no sockets.
 */
import { assert } from '../base/assert.ts';
import { SkepError } from '../base/errors.ts';
import type { Frame } from './frames.ts';
import { STREAM_HIGH_WATER_BYTES } from './limits.ts';
import { decodeMessage, type LinkSocket } from './link.ts';
import type { Codec } from './method.ts';
import { type RpcStream, waitFor } from './stream.ts';

/** What is needed of the link under it. */
export type StreamedLink = Pick<
  LinkSocket,
  'write' | 'drained' | 'ended' | 'waitingBytes' | 'pause' | 'resume' | 'cancel'
>;

export interface LinkStreamParts<In, Out> {
  /** names the call in errors */
  readonly action: string;
  readonly link: StreamedLink;
  readonly incoming: Pick<Codec<In>, 'decode'>;
  readonly outgoing: Pick<Codec<Out>, 'encode'>;
  /** What readers and writers are told when the link broke. */
  readonly failureOf: (err: unknown) => unknown;
}

const NOTHING = new Uint8Array(0);
/** What a message costs beside its bytes, roughly: small ones are bounded, too. */
const QUEUED_OVERHEAD_BYTES = 64;

/**
 * INVARIANTS: messages that arrived before a failure are delivered before it; the first failure is the one that is told;
 * the link is paused while `#queuedBytes` are STREAM_HIGH_WATER_BYTES or more.
 */
export class LinkStream<In, Out> implements RpcStream<In, Out> {
  readonly #parts: LinkStreamParts<In, Out>;
  #queue: Uint8Array[] = [];
  #queuedBytes = 0;
  #failure: { readonly reason: unknown } | null = null;
  #readEnded = false;
  #writeEnded = false;
  #wakeReader: (() => void) | null = null;
  readonly #wakeWriters = new Set<() => void>();

  constructor(parts: LinkStreamParts<In, Out>) {
    this.#parts = parts;
    parts.link.ended.then(
      () => this.#endReading(),
      (err: unknown) => this.fail(parts.failureOf(err)),
    );
  }

  /** Takes a frame of the link. Throws `invalid-argument` for one that has no place in a stream. */
  receive({ kind, body }: Frame): void {
    if (kind === 'last') {
      this.#endReading();
      return;
    }
    if (kind !== 'message' || this.#readEnded) {
      throw new SkepError('invalid-argument', `${this.#parts.action}: a frame ${kind}`);
    }
    this.#queue.push(body);
    this.#queuedBytes += body.length + QUEUED_OVERHEAD_BYTES;
    if (this.#queuedBytes >= STREAM_HIGH_WATER_BYTES) this.#parts.link.pause();
    this.#wakeReader?.();
  }

  /** Ends both directions here; the first reason counts. */
  fail(reason: unknown): void {
    this.#failure ??= { reason };
    this.#wakeReader?.();
    for (const wake of [...this.#wakeWriters]) wake();
  }

  async next(signal?: AbortSignal): Promise<In | null> {
    for (;;) {
      signal?.throwIfAborted();
      const body = this.#queue.shift();
      if (body) return this.#decode(body);
      if (this.#failure) throw this.#failure.reason;
      if (this.#readEnded) return null;
      assert(this.#wakeReader === null, 'stream has one reader at a time');
      await waitFor(
        (wake) => {
          this.#wakeReader = wake;
        },
        () => {
          this.#wakeReader = null;
        },
        signal,
      );
    }
  }

  async *[Symbol.asyncIterator](): AsyncIterator<In> {
    for (let message = await this.next(); message !== null; message = await this.next()) {
      yield message;
    }
  }

  write(message: Out): boolean {
    const { action, link, outgoing } = this.#parts;
    if (this.#failure) throw this.#failure.reason;
    if (this.#writeEnded) throw new SkepError('cancelled', `${action}: the stream was ended`);
    link.write('message', outgoing.encode(message));
    return this.#isDrained();
  }

  async drained(signal?: AbortSignal): Promise<void> {
    for (;;) {
      signal?.throwIfAborted();
      if (this.#failure) throw this.#failure.reason;
      if (this.#isDrained()) return;
      let registered: (() => void) | null = null;
      await waitFor(
        (wake) => {
          registered = wake;
          this.#wakeWriters.add(wake);
          // A link that broke fails this stream, too.
          this.#parts.link.drained().then(wake, () => {});
        },
        () => {
          if (registered) this.#wakeWriters.delete(registered);
        },
        signal,
      );
    }
  }

  async send(message: Out, signal?: AbortSignal): Promise<void> {
    if (!this.write(message)) await this.drained(signal);
  }

  end(): void {
    if (this.#writeEnded) return;
    this.#writeEnded = true;
    if (this.#failure) return;
    try {
      this.#parts.link.write('last', NOTHING);
    } catch {
      // The link broke: its reader is told.
    }
  }

  cancel(reason?: unknown): void {
    this.fail(reason ?? new SkepError('cancelled', `${this.#parts.action}: cancelled`));
    this.#parts.link.cancel();
  }

  #endReading(): void {
    this.#readEnded = true;
    this.#wakeReader?.();
  }

  #decode(body: Uint8Array): In {
    const before = this.#queuedBytes;
    this.#queuedBytes -= body.length + QUEUED_OVERHEAD_BYTES;
    if (before >= STREAM_HIGH_WATER_BYTES && this.#queuedBytes < STREAM_HIGH_WATER_BYTES) {
      this.#parts.link.resume();
    }
    try {
      return decodeMessage(this.#parts.incoming, body, this.#parts.action);
    } catch (err) {
      this.fail(err);
      throw err;
    }
  }

  #isDrained(): boolean {
    return this.#parts.link.waitingBytes < STREAM_HIGH_WATER_BYTES;
  }
}

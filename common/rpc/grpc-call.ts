/**
 * One call on the server's side of gRPC: an HTTP/2 stream with messages in both directions, headers before
 * and a status after them. Knows no methods and no roles.
 *
 * Protocol: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md
 */
import type { IncomingHttpHeaders, OutgoingHttpHeaders, ServerHttp2Stream } from 'node:http2';
import { toUSVString } from 'node:util';
import type { Clock, Timer } from '../base/clock.ts';
import { SkepError } from '../base/errors.ts';
import type { ServedCall } from './call-runner.ts';
import { encodeGrpcMessage, GrpcMessageDecoder } from './grpc-messages.ts';
import { MESSAGE_TIMEOUT_MS } from './limits.ts';
import type { ConnectionIdentity } from './peer.ts';
import { statusOfError } from './status.ts';
import type { MessageSink, MessageSource } from './stream.ts';

const CONTENT_TYPE = 'application/grpc';
const RESPONSE_HEADERS: OutgoingHttpHeaders = { ':status': 200, 'content-type': CONTENT_TYPE };
const GOOD_END: OutgoingHttpHeaders = { 'grpc-status': '0' };
const NO_METADATA: ReadonlyMap<string, string> = new Map();
/** Headers of the protocol itself; all others are metadata of the caller. */
const PROTOCOL_HEADERS = new Set(['content-type', 'te', 'user-agent', 'accept-encoding']);
const TIMEOUT_UNIT_MS: Readonly<Record<string, number>> = {
  ...{ H: 3_600_000, M: 60_000, S: 1_000, m: 1, u: 1e-3, n: 1e-6 },
};
/** Deadlines are rounded up to this, so that those of many calls share the runtime's lists of timers. */
const DEADLINE_STEP_MS = 100;
/** Longer ones are none: a timer takes no more. */
const DEADLINE_MS_MAX = 2 ** 31 - 1;

export interface GrpcCallOptions {
  readonly stream: ServerHttp2Stream;
  readonly headers: IncomingHttpHeaders;
  readonly identity: ConnectionIdentity;
  readonly clock: Clock;
}

/**
 * Messages are read when they are asked for: what nobody reads waits at the sender, by the flow control of
 * HTTP/2. INVARIANT: one end: by `reply`, `end` or `fail`, whichever comes first.
 */
export class GrpcCall implements ServedCall, MessageSource, MessageSink {
  readonly identity: ConnectionIdentity;
  readonly metadata: ReadonlyMap<string, string>;
  readonly #stream: ServerHttp2Stream;
  readonly #decoder = new GrpcMessageDecoder();
  readonly #clock: Clock;
  readonly #deadline: Timer | null;
  /** Of a message that came in part. */
  #patience: Timer | null = null;
  /** All has come. */
  #isOver = false;
  #onEnd: (() => void) | null = null;
  #trailers = GOOD_END;
  #isEnded = false;
  #onCancelled: (() => void) | null = null;

  constructor({ stream, headers, identity, clock }: GrpcCallOptions) {
    this.identity = identity;
    this.metadata = metadataOf(headers);
    this.#stream = stream;
    this.#clock = clock;
    this.#deadline = this.#startDeadline(headers['grpc-timeout'], clock);
    stream.on('error', () => {}); // the stream closes, which is what counts
    stream.on('close', () => {
      this.#deadline?.cancel();
      this.#patience?.cancel();
      if (!this.#isEnded) this.#cancelled();
    });
  }

  /** The caller is gone, or its deadline has passed. One listener; not told after the end. */
  onCancelled(listener: () => void): void {
    this.#onCancelled = listener;
  }

  /** For calls with one message: told of it, or what is wrong with it. */
  receiveOne(take: (message: Buffer) => void, fail: (err: unknown) => void): void {
    let isTold = false;
    const tell = (found: () => void): void => {
      if (isTold || this.#isEnded) return;
      isTold = true;
      this.#patience?.cancel();
      found();
    };
    this.#stream.on('data', (chunk: Buffer) => {
      if (isTold) return;
      this.#decoder.push(chunk);
      try {
        const message = this.#decoder.next();
        if (message === null) this.#beginPatience();
        else tell(() => take(message));
      } catch (err) {
        tell(() => fail(err));
      }
    });
    this.#stream.on('end', () =>
      tell(() => fail(new SkepError('invalid-argument', 'receive a message: there is none'))),
    );
  }

  /** The next message that is there; null = wait for `readable`, or it was the last. Throws as the decoder. */
  read(): Buffer | null {
    for (;;) {
      const message = this.#decoder.next();
      if (message !== null) {
        this.#tellEnd();
        return message;
      }
      const chunk = this.#stream.read() as Buffer | null;
      if (chunk === null) return null;
      this.#decoder.push(chunk);
    }
  }

  /** `end` comes after the last message was read, as with a stream of objects; one listener. */
  on(event: 'readable' | 'end' | 'close', listener: () => void): void;
  on(event: 'error', listener: (err: unknown) => void): void;
  on(event: string, listener: (err: unknown) => void): void {
    if (event !== 'end') {
      this.#stream.on(event, listener);
      return;
    }
    this.#onEnd = listener as () => void;
    this.#stream.on('end', () => {
      this.#isOver = true;
      this.#tellEnd();
    });
  }

  #tellEnd(): void {
    if (!this.#isOver || this.#decoder.hasMessage) return;
    const told = this.#onEnd;
    this.#onEnd = null;
    if (told !== null) queueMicrotask(told);
  }

  #beginPatience(): void {
    this.#patience ??= this.#clock.setTimer(MESSAGE_TIMEOUT_MS, () => {
      this.#cancelled();
      this.fail(
        new SkepError('deadline-exceeded', 'receive a message: it does not come to its end'),
      );
    });
  }

  /** @param written the stream has taken it; not called when the stream breaks */
  write(message: Uint8Array, written?: () => void): void {
    const bytes = encodeGrpcMessage(message);
    if (this.#isEnded || !this.#begin()) return;
    this.#stream.write(bytes, (err) => {
      if (!err) written?.();
    });
  }

  /** The good end of a call with many responses. */
  end(): void {
    if (this.#isEnded || !this.#begin()) return;
    this.#isEnded = true;
    this.#stream.end();
  }

  /** The one response, and the good end. */
  reply(message: Uint8Array): void {
    const bytes = encodeGrpcMessage(message);
    if (this.#isEnded || !this.#begin()) return;
    this.#isEnded = true;
    this.#stream.end(bytes);
  }

  /** The bad end, after the responses that were written. */
  fail(err: unknown): void {
    const stream = this.#stream;
    if (this.#isEnded || stream.destroyed || stream.closed) return;
    this.#isEnded = true;
    const { code, details, metadata } = statusOfError(err);
    this.#trailers = {
      'grpc-status': String(code),
      'grpc-message': encodeURI(toUSVString(details)),
      ...metadata,
    };
    if (stream.headersSent) stream.end();
    else stream.respond({ ...RESPONSE_HEADERS, ...this.#trailers }, { endStream: true });
  }

  /** Sends the headers if they are not sent. False = there is nobody to send to. */
  #begin(): boolean {
    const stream = this.#stream;
    if (stream.destroyed || stream.closed) return false;
    if (stream.headersSent) return true;
    stream.respond(RESPONSE_HEADERS, { waitForTrailers: true });
    stream.once('wantTrailers', () => {
      if (!stream.destroyed && !stream.closed) stream.sendTrailers(this.#trailers);
    });
    return true;
  }

  #startDeadline(timeout: string | string[] | undefined, clock: Clock): Timer | null {
    const limitMs = timeoutMs(timeout);
    if (limitMs === null) return null;
    return clock.setTimer(limitMs, () => {
      if (this.#isEnded) return;
      this.#cancelled();
      this.fail(new SkepError('deadline-exceeded', 'the deadline has passed'));
    });
  }

  #cancelled(): void {
    const told = this.#onCancelled;
    this.#onCancelled = null;
    told?.();
  }
}

/** A call whose messages are of gRPC. */
export function isGrpc(headers: IncomingHttpHeaders): boolean {
  return headers['content-type']?.startsWith(CONTENT_TYPE) ?? false;
}

/** Of up to eight digits and a unit; null = there is no limit. What is no timeout is none. */
function timeoutMs(value: string | string[] | undefined): number | null {
  const match = typeof value === 'string' ? /^(\d{1,8})([HMSmun])$/.exec(value) : null;
  if (match === null) return null;
  const ms = Number(match[1]) * TIMEOUT_UNIT_MS[match[2]!]!;
  const rounded = Math.ceil(ms / DEADLINE_STEP_MS) * DEADLINE_STEP_MS;
  return rounded > DEADLINE_MS_MAX ? null : Math.max(rounded, DEADLINE_STEP_MS);
}

function metadataOf(headers: IncomingHttpHeaders): ReadonlyMap<string, string> {
  let metadata: Map<string, string> | null = null;
  for (const name in headers) {
    if (name[0] === ':' || name.startsWith('grpc-') || PROTOCOL_HEADERS.has(name)) continue;
    const value = headers[name];
    if (typeof value !== 'string') continue;
    metadata ??= new Map();
    metadata.set(name, value);
  }
  return metadata ?? NO_METADATA;
}

/**
 * One request of the Engine API: what a handler reads and how it answers. Knows HTTP and Docker's
 * framing rules; nothing of swarm or containers.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { type Duplex, Readable } from 'node:stream';
import type { Clock } from '../../common/base/clock.ts';
import { SkepError } from '../../common/base/errors.ts';
import { closeLingering } from './lingering-close.ts';
import { patiently } from './patient-reader.ts';
import { endInPieces, PIECE_BYTES_MAX } from './patient-writer.ts';
import { BODY_BYTES_MAX, RawInput } from './raw-input.ts';
import { headWasRead } from './read-head.ts';
import type { StreamPlaces } from './stream-places.ts';

/** A client that has not sent its JSON body whole by then is told so. Streams of files have no such limit. */
const BODY_LIMIT_MS = 30_000;

/** One for all: what ends a wait needs no stack of its own, and it happens with every request. */
const CLIENT_GONE = new SkepError('cancelled', 'client went away');

const FALSE_WORDS = new Set(['', '0', 'no', 'false', 'none']);

export interface RequestContextOptions {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly clock: Clock;
  readonly params: Readonly<Record<string, string | undefined>>;
  readonly query: URLSearchParams;
  /** negotiated API version as minor number, e.g. 50 for 1.50 */
  readonly apiMinor: number;
  /** the raw connection when the client asked for an upgrade, with what it already sent */
  readonly upgrade: { readonly socket: Duplex; readonly head: Buffer } | null;
  readonly streams: StreamPlaces;
}

export class RequestContext {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly query: URLSearchParams;
  readonly apiMinor: number;
  readonly #clock: Clock;
  readonly #params: Readonly<Record<string, string | undefined>>;
  readonly #upgrade: RequestContextOptions['upgrade'];
  readonly #streams: StreamPlaces;

  constructor(options: RequestContextOptions) {
    this.request = options.request;
    this.response = options.response;
    this.query = options.query;
    this.apiMinor = options.apiMinor;
    this.#clock = options.clock;
    this.#params = options.params;
    this.#upgrade = options.upgrade;
    this.#streams = options.streams;
  }

  /** Made for who asks: most requests are answered before anybody could go. */
  #abort: AbortController | null = null;

  /** aborted when the client goes away before it has its answer; who answers is done with what it waited for */
  get signal(): AbortSignal {
    if (this.#abort !== null) return this.#abort.signal;
    const abort = new AbortController();
    this.#abort = abort;
    if (this.response.closed) abort.abort(CLIENT_GONE);
    else {
      this.response.once('close', () => {
        if (!this.response.writableFinished) abort.abort(CLIENT_GONE);
      });
    }
    return abort.signal;
  }

  /** A path parameter that the route guarantees. */
  param(name: string): string {
    const value = this.#params[name];
    if (value === undefined) throw new SkepError('internal', `route has no parameter '${name}'`);
    return value;
  }

  text(name: string): string | null {
    return this.query.get(name);
  }

  /** Docker's booleans: empty, 0, no, false, none are false, anything else is true. */
  flag(name: string, absent = false): boolean {
    const value = this.query.get(name);
    return value === null ? absent : !FALSE_WORDS.has(value.trim().toLowerCase());
  }

  /** A required unsigned integer. */
  integer(name: string): number {
    const value = this.query.get(name);
    if (value === null || !/^\d+$/.test(value)) {
      throw new SkepError('invalid-argument', `invalid ${name}: '${value ?? ''}' is not a number`);
    }
    return Number(value);
  }

  /** The client asked for an upgrade of the connection. */
  get wantsUpgrade(): boolean {
    return this.#upgrade !== null;
  }

  /** The whole body; empty when there is none. Throws `invalid-argument` when it is too large or too slow. */
  async body(bytesMax = BODY_BYTES_MAX): Promise<Buffer> {
    const body = this.#upgrade ? this.#upgradeBody() : this.#plainBody(bytesMax);
    body.catch(() => {}); // it may come too late to be heard
    let refuse: (err: SkepError) => void = () => {};
    const late = new Promise<never>((_, reject) => {
      refuse = reject;
    });
    const timer = this.#clock.setTimer(BODY_LIMIT_MS, () => {
      const words = `read request body: not complete within ${BODY_LIMIT_MS} ms`;
      refuse(new SkepError('invalid-argument', words));
    });
    try {
      return await Promise.race([body, late]);
    } finally {
      timer.cancel();
    }
  }

  /** The JSON body; `{}` when there is none, or null. Throws `invalid-argument`. */
  async json(bytesMax = BODY_BYTES_MAX): Promise<unknown> {
    const body = await this.body(bytesMax);
    if (body.length === 0) return {};
    try {
      return JSON.parse(body.toString('utf8')) ?? {};
    } catch (err) {
      throw new SkepError('invalid-argument', 'read request body: not JSON', { cause: err });
    }
  }

  /** The body as it comes; fails when the client sends nothing for SENDER_PATIENCE_MS. Whoever gives it up, by destroying it, leaves the connection: the refusal is still to be sent on it. */
  bodyStream(): Readable {
    const body = this.request.iterator({ destroyOnReturn: false });
    return Readable.from(patiently(body, this.#clock), { objectMode: false });
  }

  send(status: number, value: unknown): void {
    this.sendText(status, JSON.stringify(value));
  }

  /** As `send`, of JSON that is text already. */
  sendText(status: number, json: string): void {
    const body = `${json}\n`;
    const length = Buffer.byteLength(body);
    this.response.writeHead(status, {
      'Content-Type': 'application/json',
      'Content-Length': length,
    });
    if (length > PIECE_BYTES_MAX) endInPieces(this.response, Buffer.from(body));
    else this.response.end(body); // as text it leaves with its headers in one write
  }

  empty(status: number): void {
    this.response.writeHead(status, { 'Content-Length': 0 });
    this.response.end();
  }

  /** As `send`, of JSON that is bytes already, with its line's end. */
  sendBytes(status: number, json: Buffer): void {
    this.response.writeHead(status, {
      'Content-Type': 'application/json',
      'Content-Length': json.length,
    });
    endInPieces(this.response, json);
  }

  /**
   * Of what goes on for as long as its source does. Said before what it needs is begun: throws `unavailable` when too many
   * streams are open, `cancelled` when the client is gone.
   */
  reserveStream(): void {
    if (this.response.closed) throw CLIENT_GONE; // its end would not be heard of any more
    if (!this.#isStream) this.#streams.take(this.response);
    this.#isStream = true;
  }

  #isStream = false;

  /** As `begin`, of what goes on for as long as its source does. Throws as `reserveStream`. */
  stream(contentType: string): ServerResponse {
    this.reserveStream();
    return this.begin(contentType);
  }

  /** Sends the headers at once, for clients wait for them before they go on, and knows no length of what comes. */
  begin(contentType: string): ServerResponse {
    this.response.writeHead(200, { 'Content-Type': contentType });
    this.response.flushHeaders();
    return this.response;
  }

  /**
   * Takes the connection over for raw bytes in both directions: 101 when the client asked for an
   * upgrade, else 200 on the same socket (older clients). It closes some time after our side was ended, whatever its client
   * does. Throws `unavailable` when there are too many streams, `cancelled` when the client is gone.
   */
  hijack(contentType: string): Duplex {
    const socket = this.#upgrade?.socket ?? this.request.socket;
    if (socket.destroyed) throw CLIENT_GONE; // its end would not be heard of any more
    this.#streams.take(socket);
    // What it still sends is nobody's from then on, but its end is to be heard of.
    socket.once('finish', () => {
      socket.unpipe();
      socket.removeAllListeners('data');
      closeLingering(socket, this.#clock);
    });
    const status = this.#upgrade ? '101 UPGRADED' : '200 OK';
    const upgrade = this.#upgrade ? 'Connection: Upgrade\r\nUpgrade: tcp\r\n' : '';
    this.response.detachSocket(this.request.socket);
    if (!this.#upgrade) leaveHttp(this.request.socket);
    socket.write(`HTTP/1.1 ${status}\r\nContent-Type: ${contentType}\r\n${upgrade}\r\n`);
    const rest = this.#rest;
    if (rest.length > 0) socket.unshift(rest);
    this.#taken = socket;
    return socket;
  }

  #rest: Buffer = Buffer.alloc(0);
  #taken: Duplex | null = null;

  /** To be waited for before the first byte on a connection that was taken over, or its client may lose that one. */
  async headWasRead(): Promise<void> {
    if (this.#taken !== null) await headWasRead(this.#taken, this.#clock);
  }

  async #plainBody(bytesMax: number): Promise<Buffer> {
    const chunks: Buffer[] = [];
    let size = 0;
    // The connection stays open when the loop is left: the refusal is still to be sent on it.
    for await (const chunk of this.request.iterator({ destroyOnReturn: false })) {
      size += (chunk as Buffer).length;
      if (size > bytesMax) {
        throw new SkepError('invalid-argument', `read request body: over ${bytesMax} bytes`);
      }
      chunks.push(chunk as Buffer);
    }
    return Buffer.concat(chunks);
  }

  /** After an upgrade request the parser hands over the connection with the body still on it. */
  async #upgradeBody(): Promise<Buffer> {
    if (!this.#upgrade) return Buffer.alloc(0);
    const { socket, head } = this.#upgrade;
    const input = new RawInput(socket, head);
    const { 'transfer-encoding': coding, 'content-length': length } = this.request.headers;
    const body =
      coding === undefined ? await input.take(Number(length ?? 0)) : await input.takeChunked();
    this.#rest = input.rest;
    return body;
  }
}

/**
 * What Node does by itself for upgrades alone: its parser would take what comes now for the next request. A client
 * that asks for no upgrade sends nothing before it has the headers.
 */
export function leaveHttp(socket: Socket): void {
  // A listener for data makes Node take the parser off the handle, where it reads past the stream.
  socket.on('data', () => {});
  // The parser's, which also closes the connection at the end of the client's input.
  for (const event of ['data', 'end'] as const) socket.removeAllListeners(event);
  socket.on('error', () => socket.destroy());
  // As of a new stream: it flows when somebody listens.
  (socket as { readableFlowing: boolean | null }).readableFlowing = null;
}

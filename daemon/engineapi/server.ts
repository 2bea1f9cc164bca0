/**
 * The HTTP surface: connections, API versions, routing, errors. Routes are added by the files beside
 * it; nothing here knows what they do.
 */
import {
  createServer,
  type Server as HttpServer,
  type IncomingMessage,
  type ServerOptions,
  ServerResponse,
} from 'node:http';
import { createServer as createTlsServer, Server as TlsServer } from 'node:https';
import type { Duplex } from 'node:stream';
import findMyWay from 'find-my-way';
import type { Clock, Timer } from '../../common/base/clock.ts';
import { CODE_STATUS, describeError, SkepError } from '../../common/base/errors.ts';
import type { Logger } from '../../common/base/log.ts';
import { leaveHttp, RequestContext } from './http-context.ts';
import { NEWEST_MINOR } from './json/api-versions.ts';
import { closeLingering } from './lingering-close.ts';
import { inUsersWords } from './no-manager.ts';
import { STALL_CHECK_PERIOD_MS, StalledReaders } from './stalled-readers.ts';
import { STREAMS_MAX, StreamPlaces } from './stream-places.ts';
import { probe, silentAmong, VANISHED_CHECK_PERIOD_MS } from './vanished-clients.ts';

/** The newest API that is served, and the oldest: the range of Docker 28.2. 1.24 is the first with services. */
export const API_VERSION_MAX = `1.${NEWEST_MINOR}`;
export const API_VERSION_MIN = '1.24';

export type Method = 'GET' | 'HEAD' | 'POST' | 'PUT' | 'DELETE';
export type Handler = (context: RequestContext) => void | Promise<void>;

/** Adds routes: paths without version prefix, `:name` for a segment, `*` for the rest. */
export interface Routes {
  add(method: Method, path: string, handler: Handler): void;
}

/** A path, an address, or a socket that listens already. */
export type ListenPlace =
  | { readonly path: string }
  | { readonly host: string; readonly port: number }
  | { readonly fd: number };

/** What a TLS listener shows and asks for, PEM. */
export interface ServerTls {
  readonly cert: string;
  readonly key: string;
  /** whose certificates clients must have; null = they need none */
  readonly clientCa: string | null;
}

export interface EngineServerOptions {
  readonly clock: Clock;
  readonly log: Logger;
  /** headers of every answer, e.g. `Swarm` */
  readonly headers: () => Readonly<Record<string, string>>;
}

/** From the first byte of a request to the end of its headers; Node looks each CHECK_PERIOD_MS. */
const HEADERS_LIMIT_MS = 10_000;
const CHECK_PERIOD_MS = 2_000;
const HANDSHAKE_LIMIT_MS = 10_000;
/** A connection without a request is closed after this. */
const IDLE_LIMIT_MS = 60_000;
/**
 * Connections served at once; then new ones are told to wait, and those that are served go on. Far above that they are
 * closed at once. More than there may be streams: who looks what is wrong with an engine that is full of them is answered.
 */
export const CONNECTIONS_MAX = STREAMS_MAX + 200;
const CONNECTIONS_HELD_MAX = 2 * CONNECTIONS_MAX;

/** By TCP the kernel asks an end that says nothing for so long whether it is there. */
const KEEPALIVE_DELAY_MS = 15_000;

const SERVER_OPTIONS: ServerOptions = {
  connectionsCheckingInterval: CHECK_PERIOD_MS,
  keepAlive: true,
  keepAliveInitialDelay: KEEPALIVE_DELAY_MS,
};
const VERSION_PREFIX = /^\/v(\d+)\.(\d+)(?=\/|$)/;

export class EngineServer implements Routes {
  readonly #options: EngineServerOptions;
  /** of connections that were made elsewhere: it listens nowhere */
  readonly #unbound: HttpServer;
  readonly #listeners: HttpServer[] = [];
  readonly #router = findMyWay({ ignoreTrailingSlash: true, maxParamLength: 512 });
  readonly #handlers = new Map<object, Handler>();
  /** CONNECTIONS_MAX at most; also those that were taken over: the HTTP server knows of them no longer */
  readonly #served = new Set<Duplex>();
  /** that came when all places were taken: served with their next request when one is free then */
  readonly #waiting = new Set<Duplex>();
  /** below the connections of TLS, and what is not one yet */
  readonly #handshakes = new Set<Duplex>();

  readonly #streams = new StreamPlaces();
  readonly #stalled = new StalledReaders();
  readonly #checks: readonly Timer[];

  constructor(options: EngineServerOptions) {
    this.#options = options;
    this.#unbound = this.#serve(createServer(SERVER_OPTIONS));
    const { clock } = options;
    this.#checks = [
      clock.setPeriodic(STALL_CHECK_PERIOD_MS, () => this.#cutStalled()),
      clock.setPeriodic(VANISHED_CHECK_PERIOD_MS, () => {
        probe(silentAmong(this.#served));
        probe(this.#handshakes);
      }),
    ];
  }

  #cutStalled(): void {
    const { clock, log } = this.#options;
    for (const socket of this.#stalled.among(this.#served, clock.monotonicMs())) {
      log.info({}, 'client cut off that takes nothing');
      socket.destroy();
    }
  }

  add(method: Method, path: string, handler: Handler): void {
    const key = {};
    this.#handlers.set(key, handler);
    this.#router.on(method, path, () => {}, key);
  }

  /** Listens at one more place. Resolves when connections are accepted there. */
  listen(place: ListenPlace, tls: ServerTls | null = null): Promise<void> {
    const server = this.#serve(tls === null ? createServer(SERVER_OPTIONS) : tlsServer(tls));
    this.#listeners.push(server);
    return new Promise((resolve, reject) => {
      server.once('error', reject);
      server.listen(place, () => {
        server.off('error', reject);
        // A connection that could not be accepted, e.g. as no descriptor is free: the next one may be.
        server.on('error', (err) => this.#options.log.warn({ err, place }, 'accept failed'));
        resolve();
      });
    });
  }

  /** Serves a connection that was made elsewhere. A failure of it is nobody's but its owner's to hear. */
  accept(connection: Duplex): void {
    this.#unbound.emit('connection', connection);
  }

  /** Cuts every connection. */
  async stop(): Promise<void> {
    for (const check of this.#checks) check.cancel();
    const closed = [this.#unbound, ...this.#listeners].map(
      (server) => new Promise<void>((resolve) => server.close(() => resolve())),
    );
    for (const socket of [...this.#served, ...this.#waiting, ...this.#handshakes]) socket.destroy();
    await Promise.all(closed);
  }

  #serve(server: HttpServer): HttpServer {
    server.on('request', (request, response) => {
      void this.#answer(request, response, null); // #answer never rejects
    });
    server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
      const response = new ServerResponse(request);
      response.assignSocket(request.socket);
      socket.on('error', () => socket.destroy());
      // An answer instead of a take-over is the last thing on this connection.
      response.once('finish', () => closeLingering(socket, this.#options.clock));
      void this.#answer(request, response, { socket, head }); // #answer never rejects
    });
    const isTls = server instanceof TlsServer;
    server.on('connection', (socket) => {
      hold(isTls ? this.#handshakes : this.#room(), socket);
      if (isTls) socket.on('error', () => socket.destroy());
    });
    server.on('secureConnection', (socket) => hold(this.#room(), socket));
    server.on('tlsClientError', (err) => this.#options.log.debug({ err }, 'connection refused'));
    server.maxConnections = CONNECTIONS_HELD_MAX;
    server.headersTimeout = HEADERS_LIMIT_MS;
    // Streams (events, logs, waits) are idle for as long as their source is.
    server.requestTimeout = 0;
    server.keepAliveTimeout = IDLE_LIMIT_MS;
    return server;
  }

  /** For one connection more. */
  #room(): Set<Duplex> {
    return this.#served.size < CONNECTIONS_MAX ? this.#served : this.#waiting;
  }

  /** False while all places are taken by others. */
  #mayAsk(socket: Duplex): boolean {
    if (!this.#waiting.has(socket)) return true;
    if (this.#room() === this.#waiting) return false;
    this.#waiting.delete(socket);
    hold(this.#served, socket);
    return true;
  }

  async #answer(
    request: IncomingMessage,
    response: ServerResponse,
    upgrade: { socket: Duplex; head: Buffer } | null,
  ): Promise<void> {
    try {
      this.#addHeaders(response);
      if (!this.#mayAsk(request.socket)) throw tooMany();
      const { pathname, query } = splitTarget(request.url ?? '/');
      const { path, apiMinor } = splitVersion(pathname);
      const found = this.#router.find((request.method ?? 'GET') as Method, path);
      const handler = found && this.#handlers.get(found.store as object);
      if (!found || !handler) throw new SkepError('not-found', 'page not found');
      await handler(
        new RequestContext({
          request,
          response,
          clock: this.#options.clock,
          params: found.params,
          query,
          apiMinor,
          upgrade,
          streams: this.#streams,
        }),
      );
    } catch (err) {
      this.#fail(request, response, inUsersWords(err), upgrade !== null);
    }
  }

  #addHeaders(response: ServerResponse): void {
    for (const [name, value] of Object.entries(this.#options.headers())) {
      response.setHeader(name, value);
    }
  }

  /** @param isUpgrade the connection is no HTTP server's any more, and closes after the answer */
  #fail(
    request: IncomingMessage,
    response: ServerResponse,
    err: unknown,
    isUpgrade: boolean,
  ): void {
    const known = err instanceof SkepError;
    if (known && err.code === 'cancelled') {
      cutOff(request, response);
      return;
    }
    const status = known ? CODE_STATUS[err.code].http : 500;
    if (!known) {
      this.#options.log.error({ method: request.method, url: request.url, err }, 'request failed');
    }
    if (response.headersSent || response.destroyed || !response.socket) {
      cutOff(request, response);
      return;
    }
    const body = Buffer.from(`${JSON.stringify({ message: describeError(err) })}\n`);
    const isLast = isUpgrade || this.#waiting.has(request.socket) || isStillSent(request);
    const last = isLast && !isUpgrade ? this.#lastResponse(request, response) : response;
    // Exactly this type: with a charset the docker CLI prints the raw JSON.
    last.writeHead(status, {
      'Content-Type': 'application/json',
      'Content-Length': body.length,
      ...(isLast && { Connection: 'close' }),
    });
    last.end(body);
  }

  /** In place of `response`, after which Node would close the connection at once; the rest of the request is nobody's. */
  #lastResponse(request: IncomingMessage, response: ServerResponse): ServerResponse {
    const { socket } = request;
    response.detachSocket(socket);
    leaveHttp(socket);
    const last = new ServerResponse(request);
    this.#addHeaders(last);
    last.assignSocket(socket);
    last.once('finish', () => {
      closeLingering(socket, this.#options.clock);
      response.emit('close'); // as Node's own does: who waits for its client is done
    });
    return last;
  }
}

/** One that was not begun and has no connection any more has given it to its handler, or its client is gone. */
function cutOff({ socket }: IncomingMessage, response: ServerResponse): void {
  if (!response.headersSent && !response.socket) socket.destroy();
  else response.destroy();
}

/** Of its body, which it says it has, not all has come. A request without one is whole, though Node tells so later. */
function isStillSent({ complete, headers }: IncomingMessage): boolean {
  if (complete) return false;
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0;
}

function hold(all: Set<Duplex>, socket: Duplex): void {
  all.add(socket);
  socket.once('close', () => all.delete(socket));
}

function tlsServer({ cert, key, clientCa }: ServerTls): HttpServer {
  return createTlsServer({
    ...SERVER_OPTIONS,
    cert,
    key,
    minVersion: 'TLSv1.2',
    // Half a close is the end of a command's input.
    allowHalfOpen: true,
    handshakeTimeout: HANDSHAKE_LIMIT_MS,
    ...(clientCa !== null && { ca: clientCa, requestCert: true, rejectUnauthorized: true }),
  });
}

function tooMany(): SkepError {
  const words = `serve a request: ${CONNECTIONS_MAX} connections are open, which is the most`;
  return new SkepError('unavailable', words);
}

/** Not through `URL`, to which `//x` is a host. */
function splitTarget(target: string): { pathname: string; query: URLSearchParams } {
  const at = target.indexOf('?');
  if (at < 0) return { pathname: target, query: new URLSearchParams() };
  return { pathname: target.slice(0, at), query: new URLSearchParams(target.slice(at + 1)) };
}

function splitVersion(pathname: string): { path: string; apiMinor: number } {
  const match = VERSION_PREFIX.exec(pathname);
  const newest = minorOf(API_VERSION_MAX);
  if (!match) return { path: pathname, apiMinor: newest };
  const version = `${match[1]}.${match[2]}`;
  const minor = Number(match[2]);
  if (match[1] !== '1' || minor > newest) {
    throw new SkepError(
      'invalid-argument',
      `client version ${version} is too new. Maximum supported API version is ${API_VERSION_MAX}`,
    );
  }
  if (minor < minorOf(API_VERSION_MIN)) {
    throw new SkepError(
      'invalid-argument',
      `client version ${version} is too old. Minimum supported API version is ${API_VERSION_MIN}, please upgrade your client to a newer version`,
    );
  }
  return { path: pathname.slice(match[0].length) || '/', apiMinor: minor };
}

function minorOf(version: string): number {
  return Number(version.split('.')[1]);
}

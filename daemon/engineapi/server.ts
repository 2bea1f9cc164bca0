/**
 * The HTTP surface: listening, API versions, routing, errors. Routes are added by the files beside
 * it; nothing here knows what they do.
 */
import { createServer, type IncomingMessage, type Server, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import findMyWay from 'find-my-way';
import { CODE_STATUS, describeError, SkepError } from '../../common/base/errors.ts';
import type { Logger } from '../../common/base/log.ts';
import { RequestContext } from './http-context.ts';

/** The newest API that is served, and the oldest: the range of Docker 28.2. 1.24 is the first with services. */
export const API_VERSION_MAX = '1.50';
export const API_VERSION_MIN = '1.24';

export type Method = 'GET' | 'HEAD' | 'POST' | 'PUT' | 'DELETE';
export type Handler = (context: RequestContext) => void | Promise<void>;

/** Adds routes: paths without version prefix, `:name` for a segment, `*` for the rest. */
export interface Routes {
  add(method: Method, path: string, handler: Handler): void;
}

export interface EngineServerOptions {
  readonly log: Logger;
  /** headers of every answer, e.g. `Swarm` */
  readonly headers: () => Readonly<Record<string, string>>;
}

const VERSION_PREFIX = /^\/v(\d+)\.(\d+)(?=\/|$)/;

export class EngineServer implements Routes {
  readonly #options: EngineServerOptions;
  readonly #server: Server;
  readonly #router = findMyWay({ ignoreTrailingSlash: true, maxParamLength: 512 });
  readonly #handlers = new Map<object, Handler>();
  /** also those that were taken over: the HTTP server knows of them no longer */
  readonly #sockets = new Set<Duplex>();

  constructor(options: EngineServerOptions) {
    this.#options = options;
    this.#server = createServer((request, response) => {
      void this.#answer(request, response, null); // #answer never rejects
    });
    this.#server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
      const response = new ServerResponse(request);
      response.assignSocket(request.socket);
      socket.on('error', () => socket.destroy());
      // An answer instead of a take-over is the last thing on this connection.
      response.once('finish', () => socket.end());
      void this.#answer(request, response, { socket, head }); // #answer never rejects
    });
    this.#server.on('connection', (socket: Duplex) => {
      this.#sockets.add(socket);
      socket.once('close', () => this.#sockets.delete(socket));
    });
    // Streams (events, logs, waits) are idle for as long as their source is.
    this.#server.requestTimeout = 0;
    this.#server.keepAliveTimeout = 60_000;
  }

  add(method: Method, path: string, handler: Handler): void {
    const key = {};
    this.#handlers.set(key, handler);
    this.#router.on(method, path, () => {}, key);
  }

  /** Listens on a unix socket path. Resolves when connections are accepted. */
  listen(path: string): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen({ path, readableAll: false, writableAll: false }, () => {
        this.#server.off('error', reject);
        resolve();
      });
    });
  }

  /** Serves a connection that was made elsewhere. A failure of it is nobody's but its owner's to hear. */
  accept(connection: Duplex): void {
    this.#server.emit('connection', connection);
  }

  /** Cuts every connection. */
  async stop(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  async #answer(
    request: IncomingMessage,
    response: ServerResponse,
    upgrade: { socket: Duplex; head: Buffer } | null,
  ): Promise<void> {
    try {
      for (const [name, value] of Object.entries(this.#options.headers())) {
        response.setHeader(name, value);
      }
      const { pathname, query } = splitTarget(request.url ?? '/');
      const { path, apiMinor } = splitVersion(pathname);
      const found = this.#router.find((request.method ?? 'GET') as Method, path);
      const handler = found && this.#handlers.get(found.store as object);
      if (!found || !handler) throw new SkepError('not-found', 'page not found');
      await handler(
        new RequestContext({
          request,
          response,
          params: found.params,
          query,
          apiMinor,
          upgrade,
        }),
      );
    } catch (err) {
      this.#fail(request, response, err);
    }
  }

  #fail(request: IncomingMessage, response: ServerResponse, err: unknown): void {
    const known = err instanceof SkepError;
    if (known && err.code === 'cancelled') {
      response.destroy();
      return;
    }
    const status = known ? CODE_STATUS[err.code].http : 500;
    if (!known) {
      this.#options.log.error({ method: request.method, url: request.url, err }, 'request failed');
    }
    if (response.headersSent || response.destroyed || !response.socket) {
      response.destroy();
      return;
    }
    const body = Buffer.from(`${JSON.stringify({ message: describeError(err) })}\n`);
    // Exactly this type: with a charset the docker CLI prints the raw JSON.
    response.writeHead(status, {
      'Content-Type': 'application/json',
      'Content-Length': body.length,
      Connection: 'close',
    });
    response.end(body);
  }
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

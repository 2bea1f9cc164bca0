/**
 * HTTP to one daemon, over whatever reaches it: JSON calls, progress streams, hijacked connections.
 * Knows Docker's framing and error shape; nothing of swarm objects.
 */
import {
  Agent,
  type ClientRequest,
  request as httpRequest,
  type IncomingMessage,
  type RequestOptions,
} from 'node:http';
import { connect, isIP } from 'node:net';
import type { Duplex, Readable } from 'node:stream';
import { SkepError } from '../../common/base/errors.ts';
import { type ClientTls, type Endpoint, parseEndpoint } from './endpoint.ts';
import { sshConnection } from './ssh-connection.ts';

/** The daemon answered with an error; `message` is the daemon's own text. */
export class ApiError extends Error {
  override readonly name = 'ApiError';
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/** True for an answer with this HTTP status. */
export function hasStatus(err: unknown, status: number): err is ApiError {
  return err instanceof ApiError && err.status === status;
}

/** Somebody else has written the object since its version was read. */
export function isOutOfSequence(err: unknown): err is ApiError {
  return err instanceof ApiError && err.message.includes('update out of sequence');
}

/** A list is sent as one parameter for each item. */
export type Query = Readonly<
  Record<string, string | number | boolean | readonly string[] | undefined>
>;

export interface CallOptions {
  readonly query?: Query;
  /** sent as JSON, or as it is when a stream */
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal;
  /** on a connection of its own: it may last, and there are only so many for all others */
  readonly lasts?: boolean;
}

const ERROR_BODY_BYTES_MAX = 1024 * 1024;

export class Transport {
  readonly host: string;
  readonly #endpoint: Endpoint;
  readonly #agent: Agent;
  readonly #signal: AbortSignal | undefined;

  /**
   * @param host see `parseEndpoint`
   * @param signal aborts every call that has no signal of its own
   */
  constructor(host: string, signal?: AbortSignal, tls: ClientTls | null = null) {
    this.host = host;
    this.#signal = signal;
    this.#endpoint = parseEndpoint(host, tls);
    this.#agent = agentOf(this.#endpoint);
  }

  /** Closes idle connections, so that the process can end. */
  close(): void {
    this.#agent.destroy();
  }

  /** A JSON answer; `undefined` when it has no body. Throws `ApiError` for a status of 400 or more. */
  async call<T>(method: string, path: string, options: CallOptions = {}): Promise<T> {
    const response = await this.#send(method, path, options);
    const text = await readAll(response);
    if (text === '') return undefined as T;
    try {
      return JSON.parse(text) as T;
    } catch (err) {
      throw new SkepError('internal', `${method} ${path}: the answer is not JSON`, { cause: err });
    }
  }

  /** The body as it comes. */
  stream(method: string, path: string, options: CallOptions = {}): Promise<IncomingMessage> {
    return this.#send(method, path, options);
  }

  /** One JSON object per line, as the daemon sends them. */
  async *jsonLines<T>(method: string, path: string, options: CallOptions = {}): AsyncIterable<T> {
    const response = await this.#send(method, path, options);
    response.setEncoding('utf8');
    let rest = '';
    for await (const chunk of response as AsyncIterable<string>) {
      const lines = (rest + chunk).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) if (line.trim() !== '') yield JSON.parse(line) as T;
    }
    if (rest.trim() !== '') yield JSON.parse(rest) as T;
  }

  /** Takes the connection over: raw bytes both ways, half-close passes through. */
  hijack(path: string, body: unknown): Promise<HijackedConnection> {
    const payload = Buffer.from(JSON.stringify(body));
    return new Promise((resolve, reject) => {
      const request = this.#request({
        method: 'POST',
        path,
        headers: {
          Host: 'skep',
          'Content-Type': 'application/json',
          'Content-Length': payload.length,
          Connection: 'Upgrade',
          Upgrade: 'tcp',
        },
      });
      request.once('error', (err) => reject(this.#connectError(err)));
      request.once('upgrade', (response, socket: Duplex, head) => {
        resolve({ socket, head, contentType: String(response.headers['content-type'] ?? '') });
      });
      request.once('response', (response) => {
        readAll(response).then(
          (text) => reject(apiError(response.statusCode ?? 0, text, path)),
          reject,
        );
      });
      request.end(payload);
    });
  }

  async #send(method: string, path: string, options: CallOptions): Promise<IncomingMessage> {
    const response = await this.#open(method, path, options);
    const status = response.statusCode ?? 0;
    if (status >= 400) throw apiError(status, await readAll(response, ERROR_BODY_BYTES_MAX), path);
    return response;
  }

  #open(method: string, path: string, options: CallOptions): Promise<IncomingMessage> {
    const { body, signal = this.#signal, lasts = false } = options;
    const source = isReadable(body) ? body : null;
    const payload = body === undefined || source ? null : Buffer.from(JSON.stringify(body));
    return new Promise((resolve, reject) => {
      const request = this.#request(
        {
          ...(!lasts && { agent: this.#agent }),
          method,
          path: path + queryText(options.query),
          headers: {
            Host: 'skep',
            ...(payload && {
              'Content-Type': 'application/json',
              'Content-Length': payload.length,
            }),
            ...(source && { 'Content-Type': 'application/x-tar' }),
            ...options.headers,
          },
          ...(signal && { signal }),
        },
        resolve,
      );
      request.once('error', (err) =>
        reject(signal?.aborted ? signal.reason : this.#connectError(err)),
      );
      if (source) feed(source, request, reject);
      else request.end(payload ?? undefined);
    });
  }

  /** A connection to the daemon, without a word said on it. */
  dial(): Promise<Duplex> {
    const endpoint = this.#endpoint;
    const socket = connectionTo(endpoint);
    if (endpoint.kind === 'ssh') return Promise.resolve(socket);
    const isTls = endpoint.kind === 'tcp' && endpoint.tls !== null;
    return new Promise((resolve, reject) => {
      socket.once(isTls ? 'secureConnect' : 'connect', () => resolve(socket));
      socket.once('error', (err) => reject(this.#connectError(err)));
    });
  }

  /** Without an agent: on a connection of its own. */
  #request(
    options: RequestOptions,
    onResponse?: (response: IncomingMessage) => void,
  ): ClientRequest {
    const own = { createConnection: () => connectionTo(this.#endpoint) };
    return httpRequest({ ...(options.agent ? {} : own), ...options }, onResponse);
  }

  #connectError(err: Error): Error {
    if (err instanceof SkepError) return err;
    const code = (err as NodeJS.ErrnoException).code ?? '';
    if (['ENOENT', 'ECONNREFUSED', 'EACCES', 'ENOTSOCK'].includes(code)) {
      return new SkepError(
        'unavailable',
        `Cannot connect to the skep daemon at ${this.host} (${code}). Is the daemon running?`,
      );
    }
    return new SkepError('unavailable', `talk to the daemon at ${this.host}`, { cause: err });
  }
}

/** Connections are made here alone, so that all kinds of them are used the same way; idle ones are kept. */
function agentOf(endpoint: Endpoint): Agent {
  const agent = new Agent({ keepAlive: true, maxSockets: 16 });
  return Object.assign(agent, {
    createConnection: () => connectionTo(endpoint),
    // What Node sets on sockets while they are idle, which a process's pipes have not.
    ...(endpoint.kind === 'ssh' && { keepSocketAlive: () => true, reuseSocket: () => {} }),
  });
}

/** What most commands do not need, TLS and processes, is loaded where it is used: they start sooner. */
function connectionTo(endpoint: Endpoint): Duplex {
  switch (endpoint.kind) {
    case 'unix':
      return connect({ path: endpoint.path });
    case 'tcp': {
      const { host, port, tls } = endpoint;
      if (tls === null) return connect({ host, port });
      const { ca, cert, key, verify } = tls;
      return process.getBuiltinModule('node:tls').connect({
        ...{ host, port, ca, cert, key, rejectUnauthorized: verify, minVersion: 'TLSv1.2' },
        ...(isIP(host) === 0 && { servername: host }),
      });
    }
    case 'ssh':
      return sshConnection(endpoint);
  }
}

export interface HijackedConnection {
  readonly socket: Duplex;
  /** bytes that came with the answer's header */
  readonly head: Buffer;
  readonly contentType: string;
}

function feed(source: Readable, request: ClientRequest, onError: (err: Error) => void): void {
  source.once('error', (err) => {
    onError(err);
    request.destroy();
  });
  source.pipe(request);
}

function isReadable(value: unknown): value is Readable {
  return typeof value === 'object' && value !== null && 'pipe' in value;
}

function queryText(query: Query | undefined): string {
  const params = new URLSearchParams();
  for (const [name, value] of Object.entries(query ?? {})) {
    if (value === undefined) continue;
    if (typeof value === 'object') {
      for (const item of value) params.append(name, item);
      continue;
    }
    params.set(name, value === true ? '1' : value === false ? '0' : String(value));
  }
  const text = params.toString();
  return text === '' ? '' : `?${text}`;
}

function apiError(status: number, text: string, path: string): ApiError {
  try {
    const parsed = JSON.parse(text) as { message?: unknown };
    if (typeof parsed.message === 'string') return new ApiError(status, parsed.message);
  } catch {
    // Not Docker's error shape: fall through to the raw text.
  }
  const said = text.trim();
  return new ApiError(status, said === '' ? `${path}: the daemon answered ${status}` : said);
}

async function readAll(response: IncomingMessage, bytesMax = Infinity): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes <= bytesMax) chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

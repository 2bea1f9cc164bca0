/**
 * HTTP to one daemon over its unix socket: JSON calls, progress streams, hijacked connections.
 * Knows Docker's framing and error shape; nothing of swarm objects.
 */
import { Agent, type ClientRequest, request as httpRequest, type IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import type { Readable } from 'node:stream';
import { SkepError } from '../../common/base/errors.ts';

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

export type Query = Readonly<Record<string, string | number | boolean | undefined>>;

export interface CallOptions {
  readonly query?: Query;
  /** sent as JSON, or as it is when a stream */
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal;
}

const ERROR_BODY_BYTES_MAX = 1024 * 1024;

/**
 * The socket path of `unix:///PATH`. Throws `invalid-argument`, or `unimplemented` for `tcp://` and
 * `ssh://`, which need TLS that is not done yet.
 */
export function parseHost(host: string): string {
  if (host.startsWith('unix://')) {
    const path = host.slice('unix://'.length);
    if (path.startsWith('/')) return path;
    throw new SkepError('invalid-argument', `host ${host}: expected unix:///ABSOLUTE/PATH`);
  }
  if (/^(tcp|http|https|ssh|npipe):\/\//.test(host)) {
    throw new SkepError('unimplemented', `host ${host}: only unix:///PATH is supported yet`);
  }
  throw new SkepError('invalid-argument', `unable to parse docker host '${host}'`);
}

export class Transport {
  readonly host: string;
  readonly #socketPath: string;
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 16 });

  readonly #signal: AbortSignal | undefined;

  /**
   * @param host `unix:///PATH`
   * @param signal aborts every call that has no signal of its own
   */
  constructor(host: string, signal?: AbortSignal) {
    this.host = host;
    this.#signal = signal;
    this.#socketPath = parseHost(host);
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
      const request = httpRequest({
        socketPath: this.#socketPath,
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
      request.once('upgrade', (response, socket: Socket, head) => {
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
    const { body, signal = this.#signal } = options;
    const source = isReadable(body) ? body : null;
    const payload = body === undefined || source ? null : Buffer.from(JSON.stringify(body));
    return new Promise((resolve, reject) => {
      const request = httpRequest(
        {
          socketPath: this.#socketPath,
          agent: this.#agent,
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

  #connectError(err: Error): Error {
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

export interface HijackedConnection {
  readonly socket: Socket;
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

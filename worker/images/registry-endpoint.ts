/**
 * One registry host: which scheme it is spoken to with, through which proxy, whom we trust for its
 * certificate, and HTTP requests with limits. Knows nothing of images or of authentication.
 */
import http from 'node:http';
import https from 'node:https';
import type { Readable } from 'node:stream';
import { HttpProxyAgent } from 'http-proxy-agent';
import { HttpsProxyAgent } from 'https-proxy-agent';
import type { Clock } from '../../common/base/clock.ts';
import { SkepError } from '../../common/base/errors.ts';
import { AskedPauses } from './asked-pauses.ts';
import { connectionError, isUntrusted, unknownAuthority } from './registry-errors.ts';
import type { ProxyRules } from './registry-settings.ts';
import { issuerOf, TlsContexts } from './registry-tls.ts';
import { watchRequest, watchResponse } from './request-watch.ts';

const REDIRECTS_MAX = 5;
const SOCKETS_MAX = 8;

type Scheme = 'http' | 'https';

/** Docker's names for its hub differ from the host that serves it. */
export function registryHost(domain: string): string {
  return domain === 'docker.io' ? 'registry-1.docker.io' : domain;
}

export interface EndpointOptions {
  readonly clock: Clock;
  /** host with optional port */
  readonly host: string;
  /** @param host with port, where a URL has one: plain HTTP and unverified certificates are accepted there */
  readonly isInsecure: (host: string) => boolean;
  readonly certificateDirs: readonly string[];
  /** null = https, or for an insecure host what it answers to */
  readonly scheme: Scheme | null;
  readonly proxies: ProxyRules;
}

/** Opened once for each attempt. */
export interface RequestBody {
  readonly sizeBytes: number;
  open(): Readable;
}

export interface RequestOptions {
  readonly method?: 'GET' | 'HEAD' | 'POST' | 'PATCH' | 'PUT';
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | RequestBody;
  readonly signal?: AbortSignal;
}

export class RegistryEndpoint {
  /** that this host asked for */
  readonly pauses: AskedPauses;
  readonly #options: EndpointOptions;
  /** by scheme and proxy; redirects may lead to hosts with other ones */
  readonly #agents = new Map<string, http.Agent>();
  readonly #tls: TlsContexts;
  #scheme: Scheme | null;
  #connectedAtMs = Number.NEGATIVE_INFINITY;

  constructor(options: EndpointOptions) {
    this.#options = options;
    this.pauses = new AskedPauses(options.clock);
    this.#tls = new TlsContexts(options.host, options.certificateDirs, () => {
      for (const agent of this.#agents.values()) dropIdle(agent);
    });
    this.#scheme = options.scheme ?? (options.isInsecure(options.host) ? null : 'https');
  }

  get host(): string {
    return this.#options.host;
  }

  /** When a request last had a connection, by the monotonic clock: then somebody is there. */
  get connectedAtMs(): number {
    return this.#connectedAtMs;
  }

  close(): void {
    for (const agent of this.#agents.values()) agent.destroy();
  }

  /**
   * `https://host`; for an insecure host `http://host` when it does not answer TLS. Remembered
   * once the host answered, until it fails in a way that another scheme may cure.
   */
  async baseUrl(signal?: AbortSignal): Promise<string> {
    this.#scheme ??= await this.#answeredScheme(signal);
    return `${this.#scheme}://${this.#options.host}`;
  }

  async #answeredScheme(signal?: AbortSignal): Promise<Scheme> {
    try {
      await this.#probe('https', signal);
      return 'https';
    } catch (err) {
      signal?.throwIfAborted();
      // A server that speaks TLS answers a plain request with 400: then TLS's own failure is the one to tell.
      if ((await this.#probe('http', signal)) === 400) throw err;
      return 'http';
    }
  }

  /**
   * The response, redirects followed (the Authorization header stays with its host). The caller
   * reads or destroys the body. Rejects with words for people (see `connectionError`).
   */
  async request(url: string, options: RequestOptions = {}): Promise<http.IncomingMessage> {
    let current = new URL(url);
    let headers: Record<string, string> = { ...options.headers };
    for (let hops = 0; ; hops++) {
      const response = await this.#requestOnce(current, { ...options, headers });
      const location = response.headers.location;
      if (!isRedirect(response.statusCode ?? 0, options) || location === undefined) return response;
      response.resume();
      if (hops === REDIRECTS_MAX) {
        throw new SkepError('unavailable', `get ${url}: more than ${REDIRECTS_MAX} redirects`);
      }
      const next = new URL(location, current);
      if (next.host !== current.host) {
        const { Authorization: _, ...others } = headers;
        headers = others;
      }
      this.#refuseDowngrade(current, next, `get ${url}: redirected`);
      current = next;
    }
  }

  /** As `request`, of a token service that this registry names: it is given no secret in the clear, if the registry is not. */
  async requestToken(realm: string, options: RequestOptions): Promise<http.IncomingMessage> {
    const base = new URL(await this.baseUrl(options.signal));
    const to = new URL(realm);
    this.#refuseDowngrade(base, to, `get token from ${to.origin}${to.pathname}: led`);
    return this.request(realm, options);
  }

  #refuseDowngrade(from: URL, to: URL, words: string): void {
    if (from.protocol !== 'https:' || to.protocol === 'https:' || this.#isInsecure(to)) return;
    throw new SkepError('unavailable', `${words} from TLS to plain HTTP`);
  }

  /** The status of its answer. */
  async #probe(scheme: Scheme, signal?: AbortSignal): Promise<number> {
    const url = new URL(`${scheme}://${this.#options.host}/v2/`);
    const response = await this.#requestOnce(url, signal ? { signal } : {});
    response.resume();
    return response.statusCode ?? 0;
  }

  /** A scheme that was found out and not given may be another one by now. */
  #doubtScheme(url: URL): void {
    const { host, scheme, isInsecure } = this.#options;
    if (scheme === null && isInsecure(host) && this.#hostOf(url) === host) this.#scheme = null;
  }

  async #requestOnce(url: URL, options: RequestOptions): Promise<http.IncomingMessage> {
    try {
      const response = await this.#send(url, options);
      if (url.protocol === 'http:' && response.statusCode === 400) this.#doubtScheme(url);
      return response;
    } catch (err) {
      if (options.signal?.aborted) throw options.signal.reason;
      this.#doubtScheme(url);
      const method = options.method ?? 'GET';
      if (!isUntrusted(err)) throw connectionError(err, `${sentenceCase(method)} "${url.href}"`);
      throw unknownAuthority(err, await issuerOf(url, this.#options.clock, this.#agent(url)));
    }
  }

  #send(url: URL, options: RequestOptions): Promise<http.IncomingMessage> {
    const { clock } = this.#options;
    const { body, signal } = options;
    const isTls = url.protocol === 'https:';
    return new Promise((resolve, reject) => {
      const settings: https.RequestOptions = {
        method: options.method ?? 'GET',
        headers: { 'User-Agent': 'skep', ...lengthOf(options), ...options.headers },
        agent: this.#agent(url),
        ...(signal && { signal }),
        ...(isTls && {
          secureContext: this.#tls.of(this.#hostOf(url)),
          rejectUnauthorized: !this.#isInsecure(url),
        }),
      };
      const request = (isTls ? https : http).request(url, settings);
      const watch = watchRequest(clock, request, sizeOf(body));
      const connected = (): void => {
        this.#connectedAtMs = clock.monotonicMs();
      };
      request.once('socket', (socket) => {
        if (socket.connecting) socket.once('connect', connected);
        else connected();
      });
      request.on('error', (err) => {
        watch.cancel();
        reject(err);
      });
      request.on('response', (response) => {
        watch.cancel();
        watchResponse(clock, response);
        resolve(response);
      });
      if (typeof body === 'object') feed(body, request);
      else request.end(body);
    });
  }

  /** Our own as it was given: a URL drops the port that its scheme has anyway. */
  #hostOf(url: URL): string {
    const { host } = this.#options;
    return new URL(`${url.protocol}//${host}`).host === url.host ? host : url.host;
  }

  #proxyFor(url: URL): string | null {
    return this.#options.proxies.proxyFor(url.protocol === 'https:' ? 'https' : 'http', url.host);
  }

  #agent(url: URL): http.Agent {
    const proxy = this.#proxyFor(url);
    const key = `${url.protocol} ${proxy ?? ''}`;
    let agent = this.#agents.get(key);
    if (!agent) {
      agent = newAgent(url.protocol === 'https:', proxy);
      this.#agents.set(key, agent);
    }
    return agent;
  }

  /** Token services and redirects lead to other hosts, for which the operator has not allowed it. */
  #isInsecure(url: URL): boolean {
    return this.#options.isInsecure(this.#hostOf(url));
  }
}

function dropIdle(agent: http.Agent): void {
  for (const socket of Object.values(agent.freeSockets).flat()) socket?.destroy();
}

function newAgent(isTls: boolean, proxy: string | null): http.Agent {
  // A session that is resumed would be that of the certificates it began with.
  const options = { keepAlive: true, maxSockets: SOCKETS_MAX, maxCachedSessions: 0 };
  if (proxy !== null) {
    return isTls ? new HttpsProxyAgent(proxy, options) : new HttpProxyAgent(proxy, options);
  }
  return isTls ? new https.Agent(options) : new http.Agent(options);
}

/** 301 to 303 turn a request with a body into another one: that is an answer, not a way. */
function isRedirect(status: number, { method = 'GET' }: RequestOptions): boolean {
  if (status === 307 || status === 308) return true;
  return (method === 'GET' || method === 'HEAD') && [301, 302, 303].includes(status);
}

function sentenceCase(method: string): string {
  return method[0] + method.slice(1).toLowerCase();
}

function lengthOf({ body, method }: RequestOptions): Record<string, string> {
  if (typeof body === 'object') return { 'Content-Length': String(body.sizeBytes) };
  if (body === undefined && ['POST', 'PUT', 'PATCH'].includes(method ?? 'GET')) {
    return { 'Content-Length': '0' };
  }
  return {};
}

function sizeOf(body: RequestOptions['body']): number {
  return typeof body === 'object' ? body.sizeBytes : Buffer.byteLength(body ?? '');
}

function feed(body: RequestBody, request: http.ClientRequest): void {
  const source = body.open();
  source.once('error', (err) => request.destroy(err));
  request.once('close', () => source.destroy());
  source.pipe(request);
}

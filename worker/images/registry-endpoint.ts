/**
 * One registry host: which scheme it is spoken to with, whom we trust for its certificate, and HTTP
 * requests with limits. Knows nothing of images or of authentication.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import { BlockList, isIP } from 'node:net';
import { join } from 'node:path';
import tls from 'node:tls';
import type { Clock } from '../../common/base/clock.ts';
import { SkepError } from '../../common/base/errors.ts';

/** Longest wait for a response's headers, ms. */
const HEADERS_TIMEOUT_MS = 30_000;
/** Longest silence inside a body, ms. */
const IDLE_TIMEOUT_MS = 60_000;
const IDLE_CHECK_MS = 5_000;
const REDIRECTS_MAX = 5;
const SYSTEM_CERTIFICATES = '/etc/ssl/certs/ca-certificates.crt';

/** Docker's names for its hub differ from the host that serves it. */
export function registryHost(domain: string): string {
  return domain === 'docker.io' ? 'registry-1.docker.io' : domain;
}

/** Hosts with which plain HTTP and unverified certificates are accepted. */
export class InsecureList {
  readonly #hosts = new Set<string>(['localhost']);
  readonly #subnets = new BlockList();

  /** @param entries `host`, `host:port` or CIDR. Throws `invalid-argument`. */
  constructor(entries: readonly string[]) {
    this.#subnets.addSubnet('127.0.0.0', 8, 'ipv4');
    this.#subnets.addAddress('::1', 'ipv6');
    for (const entry of entries) {
      const [address, prefix] = entry.split('/');
      if (prefix === undefined) {
        this.#hosts.add(entry.toLowerCase());
        continue;
      }
      const family = isIP(address!);
      if (family === 0 || !/^\d+$/.test(prefix) || Number(prefix) > (family === 4 ? 32 : 128)) {
        throw new SkepError('invalid-argument', `insecure registry ${entry}: not a subnet`);
      }
      this.#subnets.addSubnet(address!, Number(prefix), family === 4 ? 'ipv4' : 'ipv6');
    }
  }

  /** @param host with or without port */
  has(host: string): boolean {
    const lower = host.toLowerCase();
    const name = lower.replace(/:\d+$/, '').replace(/^\[|\]$/g, '');
    if (this.#hosts.has(lower) || this.#hosts.has(name)) return true;
    const family = isIP(name);
    return family !== 0 && this.#subnets.check(name, family === 4 ? 'ipv4' : 'ipv6');
  }
}

export interface EndpointOptions {
  readonly clock: Clock;
  /** host with optional port */
  readonly host: string;
  readonly insecure: boolean;
  readonly certificateDirs: readonly string[];
}

export interface RequestOptions {
  readonly method?: 'GET' | 'HEAD' | 'POST';
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  readonly signal?: AbortSignal;
}

export class RegistryEndpoint {
  readonly #options: EndpointOptions;
  readonly #httpAgent = new http.Agent({ keepAlive: true, maxSockets: 8 });
  readonly #httpsAgent: https.Agent;
  #scheme: 'http' | 'https' | null = null;

  constructor(options: EndpointOptions) {
    this.#options = options;
    this.#httpsAgent = new https.Agent({
      keepAlive: true,
      maxSockets: 8,
      ...tlsOptions(options.host, options.insecure, options.certificateDirs),
    });
  }

  get host(): string {
    return this.#options.host;
  }

  close(): void {
    this.#httpAgent.destroy();
    this.#httpsAgent.destroy();
  }

  /**
   * `https://host`; for an insecure host `http://host` when it does not answer TLS. Remembered
   * once the host answered at all.
   */
  async baseUrl(signal?: AbortSignal): Promise<string> {
    if (this.#scheme === null && !this.#options.insecure) this.#scheme = 'https';
    if (this.#scheme === null) {
      try {
        await this.#probe('https', signal);
        this.#scheme = 'https';
      } catch {
        signal?.throwIfAborted();
        await this.#probe('http', signal);
        this.#scheme = 'http';
      }
    }
    return `${this.#scheme}://${this.#options.host}`;
  }

  /**
   * The response, redirects followed (the Authorization header stays with its host). The caller
   * reads or destroys the body. Rejects with the socket's error.
   */
  async request(url: string, options: RequestOptions = {}): Promise<http.IncomingMessage> {
    let current = new URL(url);
    let headers: Record<string, string> = { ...options.headers };
    for (let hops = 0; ; hops++) {
      const response = await this.#requestOnce(current, { ...options, headers });
      const location = response.headers.location;
      const isRedirect = [301, 302, 303, 307, 308].includes(response.statusCode ?? 0);
      if (!isRedirect || location === undefined) return response;
      response.resume();
      if (hops === REDIRECTS_MAX) {
        throw new SkepError('unavailable', `get ${url}: more than ${REDIRECTS_MAX} redirects`);
      }
      const next = new URL(location, current);
      if (next.host !== current.host) {
        const { Authorization: _, ...others } = headers;
        headers = others;
      }
      if (current.protocol === 'https:' && next.protocol !== 'https:' && !this.#options.insecure) {
        throw new SkepError('unavailable', `get ${url}: redirected from TLS to plain HTTP`);
      }
      current = next;
    }
  }

  async #probe(scheme: 'http' | 'https', signal?: AbortSignal): Promise<void> {
    const url = new URL(`${scheme}://${this.#options.host}/v2/`);
    const response = await this.#requestOnce(url, signal ? { signal } : {});
    response.resume();
  }

  #requestOnce(url: URL, options: RequestOptions): Promise<http.IncomingMessage> {
    const { clock } = this.#options;
    const isTls = url.protocol === 'https:';
    const agent = isTls ? this.#httpsAgent : this.#httpAgent;
    return new Promise((resolve, reject) => {
      const request = (isTls ? https : http).request(url, {
        method: options.method ?? 'GET',
        headers: { 'User-Agent': 'skep', ...options.headers },
        agent,
        ...(options.signal && { signal: options.signal }),
      });
      const timer = clock.setTimer(HEADERS_TIMEOUT_MS, () => {
        request.destroy(
          new SkepError('deadline-exceeded', `no answer in ${HEADERS_TIMEOUT_MS} ms`),
        );
      });
      request.on('error', (err) => {
        timer.cancel();
        reject(options.signal?.aborted ? options.signal.reason : err);
      });
      request.on('response', (response) => {
        timer.cancel();
        watchIdle(clock, response);
        resolve(response);
      });
      request.end(options.body);
    });
  }
}

/** Destroys a body that stays silent while somebody reads it. */
function watchIdle(clock: Clock, response: http.IncomingMessage): void {
  let lastMs = clock.monotonicMs();
  let seenBytes = -1;
  const watch = clock.setPeriodic(IDLE_CHECK_MS, () => {
    const bytes = response.socket?.bytesRead ?? 0;
    if (bytes !== seenBytes || response.isPaused()) {
      seenBytes = bytes;
      lastMs = clock.monotonicMs();
    } else if (clock.monotonicMs() - lastMs > IDLE_TIMEOUT_MS) {
      response.destroy(new SkepError('deadline-exceeded', `no data for ${IDLE_TIMEOUT_MS} ms`));
    }
  });
  response.once('close', () => watch.cancel());
}

function tlsOptions(
  host: string,
  insecure: boolean,
  certificateDirs: readonly string[],
): https.AgentOptions {
  if (insecure) return { rejectUnauthorized: false };
  const authorities: string[] = [...tls.rootCertificates];
  if (existsSync(SYSTEM_CERTIFICATES)) authorities.push(readFileSync(SYSTEM_CERTIFICATES, 'utf8'));
  const client: { cert?: string; key?: string } = {};
  for (const dir of certificateDirs.map((d) => join(d, host)).filter((d) => existsSync(d))) {
    for (const name of readdirSync(dir)) {
      const read = (): string => readFileSync(join(dir, name), 'utf8');
      if (name.endsWith('.crt')) authorities.push(read());
      if (name.endsWith('.cert')) client.cert = read();
      if (name.endsWith('.key')) client.key = read();
    }
  }
  return { ca: authorities, ...client };
}

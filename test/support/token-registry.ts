/**
 * A registry behind a token service, as the large ones have it: in front of another registry, which lets everybody in. Its
 * identity tokens are void once they were used and when their time is over, its access tokens after some requests. On
 * what it was shown and gave it keeps count.
 */
import http from 'node:http';
import { json } from './faulty-registry.ts';

/** As Docker's clients send it: alice, secret. */
const ALICE = `Basic ${Buffer.from('alice:secret').toString('base64')}`;

export interface TokenRegistryOptions {
  /** `127.0.0.1:port` of the registry itself */
  readonly target: string;
  readonly identityLifeMs: number;
  /** requests to the registry for each access token */
  readonly accessUsesMax: number;
}

export class TokenRegistry {
  host = '';
  /** identity tokens that were exchanged */
  exchanges = 0;
  /** what was wrong with those that were not */
  readonly refused: string[] = [];
  readonly #options: TokenRegistryOptions;
  readonly #server = http.createServer((request, response) => this.#serve(request, response));
  #issued = 0;
  /** the one that is not void, and until when */
  #identity = { token: '', endsAtMs: 0 };
  /** requests that each is still good for */
  readonly #access = new Map<string, number>();

  constructor(options: TokenRegistryOptions) {
    this.#options = options;
  }

  async start(address: string): Promise<void> {
    await new Promise<void>((resolve) => this.#server.listen(0, address, resolve));
    this.host = `${address}:${(this.#server.address() as { port: number }).port}`;
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #serve(request: http.IncomingMessage, response: http.ServerResponse): void {
    const { pathname } = new URL(request.url ?? '', `http://${this.host}`);
    if (pathname === '/token') {
      let body = '';
      request.on('data', (chunk: Buffer) => (body += chunk.toString()));
      request.on('end', () => this.#give(request, new URLSearchParams(body), response));
      return;
    }
    const token = /^Bearer (.*)$/.exec(request.headers.authorization ?? '')?.[1] ?? '';
    const uses = this.#access.get(token) ?? 0;
    if (uses === 0) {
      request.resume();
      const scope = /^\/v2\/(.+)\/(?:manifests|blobs)\//.exec(pathname);
      const challenge = `Bearer realm="http://${this.host}/token",service="tokens"`;
      const more = scope ? `,scope="repository:${scope[1]}:pull"` : '';
      response.writeHead(401, { 'WWW-Authenticate': challenge + more }).end();
      return;
    }
    this.#access.set(token, uses - 1);
    this.#forward(request, response);
  }

  #give(request: http.IncomingMessage, form: URLSearchParams, response: http.ServerResponse): void {
    const shown = form.get('refresh_token');
    if (shown === null && request.headers.authorization !== ALICE) {
      response.writeHead(401).end(json({ details: 'nobody' }));
      return;
    }
    if (shown !== null) {
      const { token, endsAtMs } = this.#identity;
      const wrong = shown !== token ? 'void' : Date.now() > endsAtMs ? 'too late' : null;
      if (wrong !== null) {
        this.refused.push(wrong);
        response.writeHead(401).end(json({ details: `the token is ${wrong}` }));
        return;
      }
      this.exchanges++;
    }
    const access = `access${this.#issued}`;
    this.#access.set(access, this.#options.accessUsesMax);
    response.end(json({ access_token: access, refresh_token: this.#newIdentity() }));
  }

  /** As those of real ones it says when it ends. */
  #newIdentity(): string {
    const nowMs = Date.now();
    const endsAtMs = nowMs + this.#options.identityLifeMs;
    const claims = { jti: this.#issued++, iat: nowMs / 1000, exp: endsAtMs / 1000 };
    const token = `e30.${Buffer.from(JSON.stringify(claims)).toString('base64url')}.sig`;
    this.#identity = { token, endsAtMs };
    return token;
  }

  #forward(request: http.IncomingMessage, response: http.ServerResponse): void {
    const { method = 'GET', url: path = '', headers } = request;
    const [host, port] = this.#options.target.split(':');
    const onward = http.request({ host, port, method, path, headers, agent: false });
    onward.on('error', () => response.destroy());
    onward.on('response', (answer) => {
      response.writeHead(answer.statusCode ?? 0, answer.headers);
      answer.pipe(response);
    });
    request.pipe(onward);
  }
}

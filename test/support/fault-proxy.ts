/**
 * An HTTP server on loopback between a client and a real registry, which passes everything on but for the
 * faults that the test asks for. The registry sees the proxy's own host, so that it sends clients back here.
 */
import http from 'node:http';
import type { Socket } from 'node:net';
import { Transform } from 'node:stream';

export interface FaultRequest {
  readonly method: string;
  readonly url: string;
  readonly headers: http.IncomingHttpHeaders;
  /** how often this method and URL, without its query, were asked for before */
  readonly earlier: number;
}

export type Fault =
  | {
      readonly kind: 'answer';
      readonly status: number;
      readonly headers?: Record<string, string>;
      readonly body?: string;
    }
  /** the connection ends after so many bytes of the request's body went on to the registry */
  | { readonly kind: 'cut-request'; readonly afterBytes: number }
  /** the request goes on to the registry when this resolves */
  | { readonly kind: 'hold'; readonly until: Promise<unknown> }
  /** the registry's answer is lost */
  | { readonly kind: 'lose-answer' }
  | { readonly kind: 'cut-answer'; readonly afterBytes: number }
  /** the answer's body, with one byte changed */
  | { readonly kind: 'spoil' }
  /** the answer's body in pieces of so many bytes, one every turn */
  | { readonly kind: 'drip'; readonly bytes: number };

/** What reaches the registry at once. */
type Forwarded = Exclude<Fault, { kind: 'answer' | 'hold' }>;

export class FaultProxy {
  readonly requests: FaultRequest[] = [];
  /** null = pass on */
  fault: (request: FaultRequest) => Fault | null = () => null;
  host = '';
  readonly #target: string;
  readonly #sockets = new Set<Socket>();
  readonly #server = http.createServer((request, response) => this.#pass(request, response));

  /** @param target `127.0.0.1:port` */
  constructor(target: string) {
    this.#target = target;
    this.#server.on('connection', (socket: Socket) => this.#sockets.add(socket));
  }

  /** @param port the one it had, to come back after a `stop`; 0 = any */
  async start(address = '127.0.0.1', port = 0): Promise<void> {
    await new Promise<void>((resolve) => this.#server.listen(port, address, resolve));
    this.host = `${address}:${(this.#server.address() as { port: number }).port}`;
  }

  async stop(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  /** Requests like `PUT /v2/app/manifests/1`, without queries. */
  asked(method: string, pattern: RegExp): FaultRequest[] {
    return this.requests.filter((one) => one.method === method && pattern.test(one.url));
  }

  #pass(request: http.IncomingMessage, response: http.ServerResponse): void {
    const { method = 'GET', url = '', headers } = request;
    const place = url.split('?')[0];
    const earlier = this.requests.filter(
      (one) => one.method === method && one.url.split('?')[0] === place,
    ).length;
    const seen = { method, url, headers, earlier };
    this.requests.push(seen);
    const fault = this.fault(seen);
    if (fault?.kind === 'answer') {
      request.resume();
      response.writeHead(fault.status, fault.headers).end(fault.body);
      return;
    }
    if (fault?.kind === 'hold') {
      void fault.until.then(() => this.#forward(request, response, null));
      return;
    }
    this.#forward(request, response, fault);
  }

  #forward(
    request: http.IncomingMessage,
    response: http.ServerResponse,
    fault: Forwarded | null,
  ): void {
    const { method = 'GET', url = '', headers } = request;
    const [host, port] = this.#target.split(':');
    const onward = http.request({ host, port, method, path: url, headers, agent: false });
    onward.on('error', () => response.destroy());
    onward.on('response', (answer) => this.#answer(answer, response, fault));
    if (fault?.kind !== 'cut-request') {
      request.pipe(onward);
      return;
    }
    let left = fault.afterBytes;
    request.on('data', (chunk: Buffer) => {
      const part = chunk.subarray(0, left);
      left -= part.length;
      onward.write(part, () => {
        if (left > 0) return;
        request.socket.destroy();
        onward.destroy();
      });
    });
  }

  #answer(
    answer: http.IncomingMessage,
    response: http.ServerResponse,
    fault: Forwarded | null,
  ): void {
    if (fault?.kind === 'lose-answer') {
      answer.resume();
      answer.on('end', () => response.destroy());
      return;
    }
    response.writeHead(answer.statusCode ?? 0, answer.headers);
    switch (fault?.kind) {
      case 'cut-answer': {
        let left = fault.afterBytes;
        answer.on('data', (chunk: Buffer) => {
          const part = chunk.subarray(0, left);
          left -= part.length;
          response.write(part, () => {
            if (left === 0) response.destroy();
          });
        });
        return;
      }
      case 'spoil':
        answer.pipe(spoiling()).pipe(response);
        return;
      case 'drip':
        answer.pipe(dripping(fault.bytes)).pipe(response);
        return;
      default:
        answer.pipe(response);
    }
  }
}

function spoiling(): Transform {
  let isFirst = true;
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      const bytes = Buffer.from(chunk);
      if (isFirst) bytes[bytes.length >> 1]! ^= 1;
      isFirst = false;
      done(null, bytes);
    },
  });
}

function dripping(bytes: number): Transform {
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      const next = (at: number): void => {
        if (at >= chunk.length) {
          done();
          return;
        }
        this.push(chunk.subarray(at, at + bytes));
        setImmediate(next, at + bytes);
      };
      next(0);
    },
  });
}

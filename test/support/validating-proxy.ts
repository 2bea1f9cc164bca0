/**
 * Stands between clients and an engine's socket, passes every byte on as it is, and holds each whole JSON answer against Docker's
 * description of the version that was asked for. A status 500 that is not meant by it is wrong whatever was asked.
 */
import { connect, createServer, type Socket } from 'node:net';
import { complaintOfText, isMeantFailure, swaggerStatusComplaint } from './docker-swagger.ts';
import { type HttpHead, HttpMessageReader } from './http-messages.ts';

const NEWEST_MINOR = 50;

interface Asked {
  readonly method: string;
  readonly minor: number;
  /** without version and query */
  readonly path: string;
}

export class ValidatingProxy {
  readonly socketPath: string;
  /** each distinct one once */
  readonly complaints = new Set<string>();
  /** answers that were held against a document */
  judged = 0;
  readonly #target: string;
  readonly #begun = new Map<string, number>();
  readonly #sockets = new Set<Socket>();
  /** Half a close is the end of a command's input. */
  readonly #server = createServer({ allowHalfOpen: true }, (client) => this.#pass(client));

  constructor(socketPath: string, target: string) {
    this.socketPath = socketPath;
    this.#target = target;
  }

  start(): Promise<void> {
    return new Promise((resolve) => this.#server.listen(this.socketPath, resolve));
  }

  async stop(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  /** How often the head of an answer to such a request was passed on. @param path without version and query */
  timesBegun(method: string, path: string): number {
    return this.#begun.get(`${method} ${path}`) ?? 0;
  }

  #pass(client: Socket): void {
    const engine = connect({ path: this.#target, allowHalfOpen: true });
    const asked: Asked[] = [];
    const requests = new HttpMessageReader({
      onHead: (head) => {
        asked.push(askedIn(head));
        return 'upgrade' in head.headers ? 'until-end' : 'framed';
      },
      onMessage: () => {},
    });
    const answers = new HttpMessageReader({
      onHead: (head) => this.#onAnswer(head, asked),
      onMessage: ({ start, headers }, body) => {
        const request = asked.shift();
        const isWhole = headers['content-length'] !== undefined; // streams are not JSON as a whole
        const isJson = headers['content-type'] === 'application/json';
        if (request && isWhole && isJson) this.#judge(request, statusIn(start), body);
      },
    });
    for (const [from, to, reader] of [
      [client, engine, requests],
      [engine, client, answers],
    ] as const) {
      this.#sockets.add(from);
      from.once('close', () => {
        this.#sockets.delete(from);
        if (!from.readableEnded) to.destroy(); // else its end was passed on, behind all that came before it
      });
      from.on('error', () => to.destroy());
      from.on('data', (chunk: Buffer) => reader.push(chunk));
      from.pipe(to);
    }
  }

  #onAnswer({ start, headers }: HttpHead, asked: Asked[]): 'framed' | 'bare' | 'until-end' {
    const request = asked[0];
    const status = statusIn(start);
    if (status === 100) return 'bare';
    if (request) {
      const { method, minor, path } = request;
      const complaint = swaggerStatusComplaint(minor, method, path, status);
      if (complaint !== '') this.complaints.add(complaint);
      // Of another answer its body is judged.
      if (method === 'HEAD' && status === 500)
        this.complaints.add(`${method} ${path} failed with status 500`);
      this.#begun.set(`${method} ${path}`, this.timesBegun(method, path) + 1);
    }
    if (request?.method === 'HEAD' || status === 204 || status === 304) {
      asked.shift();
      return 'bare';
    }
    const isFramed = 'content-length' in headers || 'transfer-encoding' in headers;
    return status === 101 || !isFramed ? 'until-end' : 'framed';
  }

  #judge({ method, minor, path }: Asked, status: number, body: Buffer): void {
    this.judged += 1;
    const text = body.toString();
    const complaint = complaintOfText(minor, method, path, status, text);
    if (complaint !== '') this.complaints.add(complaint);
    if (status === 500 && !isMeantFailure(text)) {
      this.complaints.add(`${method} ${path} failed with status 500: ${text.trim()}`);
    }
  }
}

function askedIn({ start }: HttpHead): Asked {
  const [method = '', url = ''] = start.split(' ');
  const [, minor, path = '/'] = /^(?:\/v1\.(\d+))?(\/[^?]*)/.exec(url) ?? [];
  return { method, minor: Number(minor ?? NEWEST_MINOR), path };
}

const statusIn = (start: string): number => Number(start.split(' ')[1]);

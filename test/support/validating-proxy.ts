/**
 * Stands between clients and an engine's socket, passes everything on and holds each whole JSON answer against Docker's
 * description of the version that was asked for. Connections that are taken over go through as they are.
 */
import {
  Agent,
  createServer,
  request as httpRequest,
  type IncomingMessage,
  type Server,
} from 'node:http';
import { connect, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { swaggerComplaint } from './docker-swagger.ts';

const NEWEST_MINOR = 50;

export class ValidatingProxy {
  readonly socketPath: string;
  /** each distinct one once */
  readonly complaints = new Set<string>();
  /** answers that were held against a document */
  judged = 0;
  readonly #target: string;
  readonly #server: Server;
  /** Kept: an engine that closes after its answer may do so before Node has written the end of a request, and the answer is lost. */
  readonly #agent = new Agent({ keepAlive: true });
  readonly #sockets = new Set<Socket>();

  constructor(socketPath: string, target: string) {
    this.socketPath = socketPath;
    this.#target = target;
    this.#server = createServer((request, response) => {
      const { method, url: path, headers } = request;
      const sent = httpRequest(
        { socketPath: this.#target, method, path, headers, agent: this.#agent },
        (answer) => {
          // Of the connection to the engine.
          const { connection: _, 'keep-alive': __, ...rest } = answer.headers;
          response.writeHead(answer.statusCode ?? 502, rest);
          response.flushHeaders();
          this.#watch(request, answer);
          answer.pipe(response);
        },
      );
      sent.on('error', () => {
        if (!response.headersSent) response.destroy(); // else the end of the answer tells
      });
      response.on('close', () => sent.destroy());
      request.pipe(sent);
    });
    this.#server.requestTimeout = 0;
    this.#server.on('upgrade', (request, socket, head) => this.#passUpgrade(request, socket, head));
    this.#server.on('connection', (socket) => {
      this.#sockets.add(socket);
      socket.once('close', () => this.#sockets.delete(socket));
    });
  }

  start(): Promise<void> {
    return new Promise((resolve) => this.#server.listen(this.socketPath, resolve));
  }

  async stop(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    for (const socket of this.#sockets) socket.destroy();
    this.#agent.destroy();
    await closed;
  }

  /** Streams have no length, and are not JSON as a whole. */
  #watch({ method = 'GET', url = '/' }: IncomingMessage, answer: IncomingMessage): void {
    const { 'content-type': type, 'content-length': length } = answer.headers;
    if (type !== 'application/json' || length === undefined || method === 'HEAD') return;
    const chunks: Buffer[] = [];
    answer.on('data', (chunk: Buffer) => chunks.push(chunk));
    answer.once('end', () => {
      const [, minor, path = '/'] = /^(?:\/v1\.(\d+))?(\/[^?]*)/.exec(url) ?? [];
      const body: unknown = JSON.parse(Buffer.concat(chunks).toString());
      this.judged += 1;
      const asked = Number(minor ?? NEWEST_MINOR);
      const complaint = swaggerComplaint(asked, method, path, answer.statusCode ?? 0, body);
      if (complaint !== '') this.complaints.add(complaint);
    });
  }

  #passUpgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const target = connect({ path: this.#target, allowHalfOpen: true });
    const lines = [`${request.method} ${request.url} HTTP/1.1`];
    for (let i = 0; i < request.rawHeaders.length; i += 2) {
      lines.push(`${request.rawHeaders[i]}: ${request.rawHeaders[i + 1]}`);
    }
    target.write(`${lines.join('\r\n')}\r\n\r\n`);
    target.write(head);
    for (const [one, other] of [
      [socket, target],
      [target, socket],
    ] as const) {
      one.on('error', () => other.destroy());
      one.pipe(other);
    }
  }
}

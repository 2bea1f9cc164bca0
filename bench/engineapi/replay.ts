/**
 * A server that answers each GET with the bytes that an engine once answered, and does nothing else: what a command
 * takes with it is the command's own.
 */
import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders, request, type Server } from 'node:http';
import { join } from 'node:path';
import { temporaryDirectory } from '../support/cleanup.ts';

interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

export class ReplayServer {
  readonly socketPath = join(temporaryDirectory('replay'), 'api.sock');
  readonly #answers = new Map<string, Answer>();
  readonly #server: Server;

  /** @param engineSocket of the engine that is asked where an answer is not known yet */
  constructor(engineSocket: string) {
    this.#server = createServer((asked, response) => {
      const { method = 'GET', url = '/' } = asked;
      const key = `${method} ${url}`;
      const known = this.#answers.get(key);
      const answer = known ? Promise.resolve(known) : ask(engineSocket, method, url);
      answer.then(
        (one) => {
          this.#answers.set(key, one);
          response.writeHead(one.status, one.headers).end(one.body);
        },
        (err: Error) => response.destroy(err),
      );
    });
  }

  async start(): Promise<void> {
    this.#server.listen(this.socketPath);
    await once(this.#server, 'listening');
  }

  stop(): void {
    this.#server.close();
    this.#server.closeAllConnections();
  }
}

function ask(socketPath: string, method: string, path: string): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const sent = request({ socketPath, method, path }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.once('end', () => {
        const { connection: _, 'transfer-encoding': __, ...headers } = response.headers;
        const body = Buffer.concat(chunks);
        resolve({ status: response.statusCode ?? 0, headers, body });
      });
      response.once('error', reject);
    });
    sent.once('error', reject);
    sent.end();
  });
}

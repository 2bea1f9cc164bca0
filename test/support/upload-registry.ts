/** A registry in memory that keeps each byte of an upload that arrived, as the specification has it. */
import http from 'node:http';
import type { Socket } from 'node:net';
import { sha256 } from './image-builder.ts';

export class UploadRegistry {
  /** by digest */
  readonly blobs = new Map<string, Buffer>();
  host = '';
  readonly #uploads = new Map<string, Buffer>();
  readonly #sockets = new Set<Socket>();
  readonly #server = http.createServer((request, response) => this.#serve(request, response));

  async start(): Promise<void> {
    this.#server.on('connection', (socket: Socket) => this.#sockets.add(socket));
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    this.host = `127.0.0.1:${(this.#server.address() as { port: number }).port}`;
  }

  async stop(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #serve(request: http.IncomingMessage, response: http.ServerResponse): void {
    const url = new URL(request.url ?? '', 'http://registry');
    const upload = /\/blobs\/uploads\/(\w+)$/.exec(url.pathname)?.[1];
    const said = (status: number, headers = {}): void =>
      void response.writeHead(status, headers).end();
    if (url.pathname === '/v2/') {
      said(200);
      return;
    }
    if (/\/manifests\//.test(url.pathname)) {
      request.resume();
      said(201);
      return;
    }
    if (request.method === 'HEAD') {
      said(this.blobs.has(url.pathname.replace(/.*\//, '')) ? 200 : 404);
      return;
    }
    if (request.method === 'POST') {
      const id = `u${this.#uploads.size}`;
      this.#uploads.set(id, Buffer.alloc(0));
      said(202, { Location: `${url.pathname}${id}` });
      return;
    }
    const known = this.#uploads.get(upload ?? '');
    if (known === undefined) {
      said(404);
      return;
    }
    const place = (): object => ({
      Location: url.pathname,
      Range: `0-${Math.max(0, this.#uploads.get(upload!)!.length - 1)}`,
    });
    if (request.method === 'GET') {
      said(204, place());
      return;
    }
    const from = /^(\d+)-/.exec(String(request.headers['content-range'] ?? ''))?.[1];
    if (from !== undefined && Number(from) !== known.length) {
      said(416);
      return;
    }
    request.on('data', (chunk: Buffer) => {
      this.#uploads.set(upload!, Buffer.concat([this.#uploads.get(upload!)!, chunk]));
    });
    request.on('end', () => {
      if (request.method === 'PATCH') {
        said(202, place());
        return;
      }
      const bytes = this.#uploads.get(upload!)!;
      const digest = url.searchParams.get('digest') ?? '';
      if (sha256(bytes) === digest) this.blobs.set(digest, bytes);
      said(this.blobs.has(digest) ? 201 : 400);
    });
  }
}

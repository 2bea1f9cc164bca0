/** An HTTP proxy on loopback that leads every CONNECT to one place, whatever host was asked for. */
import http from 'node:http';
import { connect, type Socket } from 'node:net';

export interface ConnectProxy {
  readonly url: string;
  /** `host:port` of each tunnel asked for, and URLs of requests without tunnel */
  readonly asked: readonly string[];
  stop(): Promise<void>;
}

/** @param target `127.0.0.1:port` */
export async function startProxy(target: string): Promise<ConnectProxy> {
  const asked: string[] = [];
  const sockets = new Set<Socket>();
  const [host, port] = target.split(':');
  const server = http.createServer((request, response) => {
    asked.push(request.url ?? '');
    const path = new URL(request.url ?? '').pathname;
    const onward = http.request({ host, port, path, headers: request.headers }, (answer) => {
      response.writeHead(answer.statusCode ?? 0, answer.headers);
      answer.pipe(response);
    });
    onward.end();
  });
  server.on('connection', (socket: Socket) => sockets.add(socket));
  server.on('connect', (request, client: Socket) => {
    asked.push(request.url ?? '');
    const onward = connect(Number(port), host!, () => {
      client.write('HTTP/1.1 200 Connection established\r\n\r\n');
      client.pipe(onward).pipe(client);
    });
    sockets.add(onward);
    onward.on('error', () => client.destroy());
    client.on('error', () => onward.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as { port: number }).port}`,
    asked,
    stop: async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

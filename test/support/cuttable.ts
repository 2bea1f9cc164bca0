/** A network on the way to a server that a test can cut: TCP on loopback. */
import { createConnection, createServer, type Socket } from 'node:net';
import type { Scope } from '../../common/base/lifecycle.ts';

/** A way to `target` on which nothing moves while it is cut, as on a broken network. */
export async function cuttable(scope: Scope, target: string) {
  const [host, port] = target.split(':') as [string, string];
  const sockets = new Set<Socket>();
  let isCut = false;
  const proxy = createServer((near) => {
    const far = createConnection(Number(port), host);
    for (const socket of [near, far]) {
      sockets.add(socket);
      socket.on('error', () => {}); // both ends go together
    }
    const pass = (to: Socket) => (chunk: Buffer) => void (isCut || to.write(chunk));
    near.on('data', pass(far));
    far.on('data', pass(near));
    const passEnd = (to: Socket) => () => void (isCut || to.destroy());
    near.once('close', passEnd(far));
    far.once('close', passEnd(near));
  });
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
  scope.defer(() => {
    for (const socket of sockets) socket.destroy();
    proxy.close();
  });
  return {
    address: `127.0.0.1:${(proxy.address() as { port: number }).port}`,
    cut: () => {
      isCut = true;
    },
    heal: () => {
      isCut = false;
    },
  };
}

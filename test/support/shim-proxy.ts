/**
 * Stands between a runtime and a real shim, on the shim's own socket path, and passes frames on as a
 * shim of another protocol version would have sent them. Knows frames, not containers.
 */
import { renameSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { encodeFrame, FRAME, type Frame, FrameDecoder } from '../../native/ffi/shim-protocol.ts';

export type FrameChange = (frame: Frame) => Frame;

/** A shim from before hello and exit carried times and records. */
export const asVersion1: FrameChange = ({ type, payload }) => {
  if (type === FRAME.exit) return { type, payload: Buffer.alloc(0) };
  if (type !== FRAME.hello) return { type, payload };
  const hello = Buffer.from(payload.subarray(0, 16));
  hello.writeUInt32LE(1, 0);
  return { type, payload: hello };
};

/** A shim of a daemon that is newer than this one. */
export const asVersion99: FrameChange = ({ type, payload }) => {
  if (type !== FRAME.hello) return { type, payload };
  const hello = Buffer.concat([payload, Buffer.alloc(8)]);
  hello.writeUInt32LE(99, 0);
  return { type, payload: hello };
};

export class ShimProxy {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor(taskDir: string, change: FrameChange) {
    const shimPath = join(taskDir, 'sock.shim');
    this.#server = createServer((client) => {
      const shim = connect(shimPath);
      const decoder = new FrameDecoder();
      client.pipe(shim);
      shim.on('data', (chunk: Buffer) => {
        for (const frame of decoder.push(chunk)) {
          const { type, payload } = change(frame);
          client.write(encodeFrame(type, payload));
        }
      });
      shim.on('close', () => client.end());
      for (const socket of [client, shim]) {
        socket.on('error', () => {});
        this.#sockets.add(socket);
      }
    });
  }

  static async open(taskDir: string, change: FrameChange): Promise<ShimProxy> {
    const path = join(taskDir, 'sock');
    renameSync(path, join(taskDir, 'sock.shim'));
    const proxy = new ShimProxy(taskDir, change);
    await new Promise<void>((resolve) => proxy.#server.listen(path, resolve));
    return proxy;
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

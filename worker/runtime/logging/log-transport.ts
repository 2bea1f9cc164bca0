/** The way of log messages off this node: datagrams and streams. Knows nothing of what is in them. */
import { createSocket, type Socket as DatagramSocket } from 'node:dgram';
import { lookup } from 'node:dns/promises';
import { readFile } from 'node:fs/promises';
import { connect, isIPv6, type Socket } from 'node:net';
import { addAbortSignal } from 'node:stream';
import { connect as connectTls } from 'node:tls';
import { abortable } from '../../../common/base/abort-with.ts';
import { SkepError } from '../../../common/base/errors.ts';
import type { LogAddress } from '../../../common/model/log-driver.ts';
import { UnixDatagramSocket } from '../../../native/ffi/unix-datagram.ts';

export interface LogTransport {
  /** Resolves when the kernel has taken it; rejects when the other end is not there. */
  send(message: Buffer): Promise<void>;
  close(): void;
}

export interface TlsFiles {
  /** '' = those that Node trusts */
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
  readonly skipVerify: boolean;
}

export const NO_TLS_FILES: TlsFiles = { ca: '', cert: '', key: '', skipVerify: false };

/** A receiver that takes the connection, and says nothing when certificates are due, is none. */
const OPEN_LIMIT_MS = 10_000;

/** Rejects when there is nobody at the address, as far as that can be told. */
export async function openTransport(
  address: LogAddress,
  tls: TlsFiles,
  signal: AbortSignal,
): Promise<LogTransport> {
  switch (address.kind) {
    case 'udp':
      return openUdp(address.host, address.port, signal);
    case 'unixgram':
      return openUnixDatagram(address.path);
    case 'unix':
      return openStream(connect(address.path), signal);
    case 'tcp':
      return openStream(connect(address.port, address.host), signal);
    case 'tls': {
      const [ca, cert, key] = await Promise.all([tls.ca, tls.cert, tls.key].map(textOf));
      const options = { rejectUnauthorized: !tls.skipVerify, ...(ca && { ca }) };
      const own = cert && key ? { cert, key } : {};
      const { host, port } = address;
      return openStream(
        connectTls({ host, port, servername: host, ...options, ...own }),
        signal,
        'secureConnect',
      );
    }
  }
}

async function textOf(path: string): Promise<string> {
  if (path === '') return '';
  try {
    return await readFile(path, 'utf8');
  } catch (cause) {
    throw new SkepError('invalid-argument', `log: read ${path}`, { cause });
  }
}

/** The name is looked up once: for each datagram it would keep a thread of those that files are read by. */
async function openUdp(host: string, port: number, signal: AbortSignal): Promise<LogTransport> {
  const { address } = await abortable(lookup(host), signal); // resolvers may be long in saying nothing
  const socket: DatagramSocket = createSocket(isIPv6(address) ? 'udp6' : 'udp4');
  socket.on('error', () => {}); // what one datagram met is told to its send
  socket.unref();
  return {
    send: (message) =>
      new Promise((resolve, reject) => {
        socket.send(message, port, address, (err) => (err ? reject(err) : resolve()));
      }),
    close: () => socket.close(),
  };
}

function openUnixDatagram(path: string): LogTransport {
  const socket = UnixDatagramSocket.connect(path);
  return {
    send: async (message) => socket.send(message),
    close: () => socket.close(),
  };
}

function openStream(socket: Socket, signal: AbortSignal, ready = 'connect'): Promise<LogTransport> {
  addAbortSignal(signal, socket); // also what a receiver that does not read keeps waiting
  return new Promise((resolve, reject) => {
    let failure: Error | null = null;
    const failed = (err: Error): void => {
      failure ??= err;
      reject(err);
    };
    socket.once('error', failed);
    socket.once('close', () => failed(new SkepError('unavailable', 'the other end closed')));
    socket.setTimeout(OPEN_LIMIT_MS, () =>
      socket.destroy(new SkepError('deadline-exceeded', 'the other end does not answer')),
    );
    socket.resume(); // nothing is said to us; the end must be seen
    socket.once(ready, () => {
      socket.setTimeout(0);
      socket.setKeepAlive(true);
      resolve({
        send: (message) =>
          new Promise((sent, lost) => {
            if (failure) lost(failure);
            else socket.write(message, (err) => (err ? lost(err) : sent()));
          }),
        close: () => socket.destroy(),
      });
    });
  });
}

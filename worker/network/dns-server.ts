/**
 * The resolver at 127.0.0.11 inside one task's namespace, over UDP and TCP. Owns the sockets; what
 * to answer is given as a function.
 */
import { createSocket, type Socket as DatagramSocket } from 'node:dgram';
import { createServer, type Server, type Socket } from 'node:net';
import { type NetnsStep, visitNetns } from '../../native/ffi/net/sockets.ts';
import { DnsFrames, frameOf } from './dns-asker.ts';
import { emptyAnswer, isQuery, RCODE, readQuestion } from './dns-message.ts';
import { RESOLVER_ADDRESS } from './name-files.ts';

const DNS_PORT = 53;
const TCP_IDLE_MS = 10_000;
const TCP_CONNECTIONS_MAX = 64;

/** Where it is asked, in the namespace; its loopback link must be up. */
export const RESOLVER_SOCKETS: readonly NetnsStep[] = [
  { kind: 'udp', address: RESOLVER_ADDRESS, port: DNS_PORT },
  { kind: 'tcp', address: RESOLVER_ADDRESS, port: DNS_PORT },
];

/**
 * The response to what `isQuery`; null = none is sent. Of a failure the client is told as one of the server.
 * @param nsPath namespace of who asks
 */
export type AnswerQuery = (
  query: Buffer,
  transport: 'udp' | 'tcp',
  nsPath: string,
) => Promise<Buffer> | Buffer | null;

export class DnsServer {
  readonly #answer: AnswerQuery;
  readonly #connections = new Set<Socket>();
  #nsPath = '';
  #udp: DatagramSocket | null = null;
  #tcp: Server | null = null;

  constructor(answer: AnswerQuery) {
    this.#answer = answer;
  }

  /** The namespace's loopback link must be up. */
  async open(nsPath: string): Promise<void> {
    await this.listen(nsPath, await visitNetns(nsPath, RESOLVER_SOCKETS));
  }

  /** @param fds of the sockets that `RESOLVER_SOCKETS` made, its own from now on */
  async listen(nsPath: string, [udp, tcp]: readonly number[]): Promise<void> {
    this.#nsPath = nsPath;
    const listening = [this.#listenUdp(udp!), this.#listenTcp(tcp!)];
    const failed = (await Promise.allSettled(listening)).find(
      ({ status }) => status === 'rejected',
    );
    if (!failed) return;
    await this.close();
    throw (failed as PromiseRejectedResult).reason;
  }

  async close(): Promise<void> {
    const { promise: udpClosed, resolve: onUdpClosed } = deferred();
    if (this.#udp) this.#udp.close(onUdpClosed);
    else onUdpClosed();
    const { promise: tcpClosed, resolve: onTcpClosed } = deferred();
    for (const connection of this.#connections) connection.destroy();
    if (this.#tcp) this.#tcp.close(() => onTcpClosed());
    else onTcpClosed();
    this.#udp = null;
    this.#tcp = null;
    await Promise.all([udpClosed, tcpClosed]);
  }

  #listenUdp(fd: number): Promise<void> {
    const socket = createSocket('udp4');
    this.#udp = socket;
    socket.on('message', (query, from) => {
      void this.#reply(query, 'udp', (response) => {
        if (this.#udp === socket) socket.send(response, from.port, from.address, () => {});
      });
    });
    return new Promise((resolve, reject) => {
      socket.once('error', reject);
      socket.bind({ fd, exclusive: true }, () => {
        socket.off('error', reject);
        // ICMP errors of clients that went away; the socket goes on.
        socket.on('error', () => {});
        resolve();
      });
    });
  }

  #listenTcp(fd: number): Promise<void> {
    const server = createServer((connection) => this.#serve(connection));
    server.maxConnections = TCP_CONNECTIONS_MAX;
    this.#tcp = server;
    return new Promise((resolve, reject) => {
      server.once('error', reject);
      server.listen({ fd, exclusive: true }, () => {
        server.off('error', reject);
        server.on('error', () => {}); // accept failures (descriptor limit): the client retries
        resolve();
      });
    });
  }

  #serve(connection: Socket): void {
    const frames = new DnsFrames();
    this.#connections.add(connection);
    connection.setTimeout(TCP_IDLE_MS, () => connection.destroy());
    connection.on('close', () => this.#connections.delete(connection));
    connection.on('error', () => connection.destroy());
    connection.on('data', (chunk) => {
      for (const query of frames.push(chunk)) {
        void this.#reply(query, 'tcp', (response) => {
          if (!connection.destroyed) connection.write(frameOf(response));
        });
      }
    });
  }

  /** What is no query has no answer; of what cannot be answered the client is told so. Never rejects. */
  async #reply(
    query: Buffer,
    transport: 'udp' | 'tcp',
    send: (response: Buffer) => void,
  ): Promise<void> {
    if (!isQuery(query)) return;
    let response: Buffer | null;
    try {
      const answer = this.#answer(query, transport, this.#nsPath);
      response = answer instanceof Promise ? await answer : answer;
    } catch {
      response = emptyAnswer(query, readQuestion(query), RCODE.serverFailure);
    }
    if (response) send(response);
  }
}

function deferred(): { promise: Promise<void>; resolve: () => void } {
  let resolve: () => void = () => {};
  const promise = new Promise<void>((done) => {
    resolve = done;
  });
  return { promise, resolve };
}

/**
 * TLS listener of a node: asks for a certificate, does not insist on one, and knows for each
 * connection whose certificate verified. Hands the sockets on; knows no RPC.
 */

import type { X509Certificate } from 'node:crypto';
import { constants } from 'node:crypto';
import { createServer as createTcpServer, type Socket, type Server as TcpServer } from 'node:net';
import { createServer, type Server, type TLSSocket } from 'node:tls';
import type { Clock } from '../base/clock.ts';
import { SkepError } from '../base/errors.ts';
import { parseNodeCertificate } from '../pki/certificate.ts';
import type { CredentialsSource } from './credentials.ts';
import { HandshakeTurns } from './handshake-turns.ts';
import {
  CONNECTIONS_MAX,
  HANDSHAKE_TIMEOUT_MS,
  KEEPALIVE_PERIOD_MS,
  LISTEN_BACKLOG,
} from './limits.ts';
import { anonymousPeer, type ConnectionIdentity } from './peer.ts';

export interface TlsListenerOptions {
  readonly credentials: CredentialsSource;
  readonly clock: Clock;
  /** a connection after its handshake; `socket.alpnProtocol` is one of `protocols`, or false */
  readonly onConnection: (socket: TLSSocket, identity: ConnectionIdentity) => void;
  /** Names for the TLS handshake (ALPN). */
  readonly protocols: readonly string[];
  /** a handshake that failed; for debug logs */
  readonly onHandshakeError: (err: unknown, remoteAddress: string) => void;
}

/** Started by `listen`, ended by `close`. New certificates apply to connections made after a change. */
export class TlsListener {
  readonly #options: TlsListenerOptions;
  readonly #listening: TcpServer;
  /** Listens to nothing: it is given connections when it is their turn. */
  readonly #tls: Server;
  readonly #turns: HandshakeTurns<Socket>;
  /** In their handshake, by the address of the other end. */
  readonly #handshakes = new Map<string, Socket>();
  /** Those in their handshake as well: the server's end waits for every one. */
  readonly #connections = new Set<Socket>();
  readonly #sockets = new Map<TLSSocket, ConnectionIdentity>();
  #releaseListener: (() => void) | null = null;

  constructor(options: TlsListenerOptions) {
    this.#options = options;
    this.#tls = createServer({
      ...secureContextOptions(options.credentials),
      requestCert: true,
      // Joining nodes have none. A bad certificate is refused per call, with words.
      rejectUnauthorized: false,
      ALPNProtocols: [...options.protocols],
      minVersion: 'TLSv1.3',
      // No session tickets: gRPC never resumes, and each ticket costs the handshake a signature.
      secureOptions: constants.SSL_OP_NO_TICKET,
      handshakeTimeout: HANDSHAKE_TIMEOUT_MS,
    });
    this.#tls.on('secureConnection', (socket) => this.#accept(socket));
    this.#tls.on('tlsClientError', (err, socket) =>
      options.onHandshakeError(err, socket.remoteAddress ?? ''),
    );
    this.#turns = new HandshakeTurns({
      clock: options.clock,
      begin: (connection) => {
        this.#handshakes.set(otherEnd(connection), connection);
        this.#tls.emit('connection', connection);
      },
    });
    this.#listening = createTcpServer({ noDelay: true }, (connection) => this.#take(connection));
    this.#listening.maxConnections = CONNECTIONS_MAX;
  }

  /** Address in use, `IP:port`; the port is the kernel's choice when 0 was asked for. */
  get address(): string {
    const address = this.#listening.address();
    if (address === null || typeof address === 'string') return '';
    return joinHostPort(address.address, address.port);
  }

  /** Throws `unavailable` naming the address when it cannot be had. */
  async listen(host: string, port: number): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      const onError = (cause: Error): void => {
        reject(new SkepError('unavailable', `listen on ${joinHostPort(host, port)}`, { cause }));
      };
      this.#listening.once('error', onError);
      this.#listening.listen({ host, port, backlog: LISTEN_BACKLOG }, () => {
        this.#listening.off('error', onError);
        resolve();
      });
    });
    this.#releaseListener = this.#options.credentials.onChange(() => {
      this.#tls.setSecureContext(secureContextOptions(this.#options.credentials));
    });
  }

  /** Cuts every connection of a node off, e.g. when it was removed. @param protocol of ALPN: those alone */
  disconnect(nodeId: string, protocol: string | null = null): void {
    for (const [socket, identity] of this.#sockets) {
      if (protocol !== null && socket.alpnProtocol !== protocol) continue;
      if (identity.peer.nodeId === nodeId) socket.destroy();
    }
  }

  /** Idempotent. Destroys what is still connected. */
  async close(): Promise<void> {
    this.#releaseListener?.();
    this.#releaseListener = null;
    const closed = new Promise<void>((resolve) => this.#listening.close(() => resolve()));
    for (const socket of this.#sockets.keys()) socket.destroy();
    for (const connection of this.#connections) connection.destroy();
    await closed;
  }

  #take(connection: Socket): void {
    const from = otherEnd(connection);
    this.#connections.add(connection);
    connection.once('close', () => {
      this.#connections.delete(connection);
      if (this.#handshakes.get(from) === connection) this.#handshakes.delete(from);
    });
    this.#turns.add(connection);
  }

  #accept(socket: TLSSocket): void {
    const from = otherEnd(socket);
    const connection = this.#handshakes.get(from);
    if (connection) this.#turns.over(connection);
    this.#handshakes.delete(from);
    const identity = identityOfSocket(socket, this.#options.credentials.current.clusterId);
    this.#sockets.set(socket, identity);
    socket.setKeepAlive(true, KEEPALIVE_PERIOD_MS); // an end without power says nothing
    socket.once('close', () => this.#sockets.delete(socket));
    socket.on('error', (err) => this.#options.onHandshakeError(err, identity.peer.address));
    this.#options.onConnection(socket, identity);
  }
}

/** The same of a connection and of what TLS makes of it. */
function otherEnd({
  remoteAddress,
  remotePort,
}: Pick<Socket, 'remoteAddress' | 'remotePort'>): string {
  return `${remoteAddress} ${remotePort}`;
}

/** The identity comes from a certificate only if OpenSSL verified it against the cluster's root. */
function identityOfSocket(socket: TLSSocket, clusterId: string): ConnectionIdentity {
  const address = socket.remoteAddress?.replace(/^::ffff:/, '') ?? '';
  const certificate = socket.getPeerX509Certificate();
  if (!certificate) return { peer: anonymousPeer(address), refusal: null };
  if (!socket.authorized) {
    const reason = String(socket.authorizationError);
    return {
      peer: anonymousPeer(address),
      refusal: `it was not issued by this cluster: ${reason}`,
    };
  }
  return identityOfCertificate(certificate, clusterId, address);
}

function identityOfCertificate(
  certificate: X509Certificate,
  clusterId: string,
  address: string,
): ConnectionIdentity {
  const subject = parseNodeCertificate(certificate);
  if (!subject) {
    return { peer: anonymousPeer(address), refusal: 'it does not name a node and its role' };
  }
  if (subject.clusterId !== clusterId) {
    const refusal = `it is for cluster ${subject.clusterId}, this is cluster ${clusterId}`;
    return { peer: anonymousPeer(address), refusal };
  }
  const { nodeId, role } = subject;
  return { peer: { nodeId, role, clusterId, address }, refusal: null };
}

function secureContextOptions(source: CredentialsSource) {
  const { certPem, keyPem, rootPem } = source.current;
  return { cert: certPem, key: keyPem, ca: rootPem };
}

/** `10.0.0.1:2377`, `[fd00::1]:2377`. */
export function joinHostPort(host: string, port: number): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

export interface HostPort {
  readonly host: string;
  readonly port: number;
}

/** The parts of `IP:port` or `name:port`; null = it is neither. */
export function hostPortOf(address: string): HostPort | null {
  const match = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(address);
  const port = Number(match?.[3]);
  return match && port <= 65_535 ? { host: (match[1] ?? match[2])!, port } : null;
}

/** The same of an address that must be one. Throws `invalid-argument`. */
export function splitHostPort(address: string): HostPort {
  const parts = hostPortOf(address);
  if (parts) return parts;
  throw new SkepError(
    'invalid-argument',
    `parse address ${JSON.stringify(address)}: want host:port`,
  );
}

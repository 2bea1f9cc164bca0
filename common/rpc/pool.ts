/**
 * Clients to the other nodes of the cluster, one per address and expectation, with this node's
 * certificate; and the two clients that a joining node needs before it has one.
 */
import { createSecureContext, type PeerCertificate, type SecureContext } from 'node:tls';
import type { ChannelCredentials } from '@grpc/grpc-js';
import type { Clock } from '../base/clock.ts';
import type { NodeRole } from '../model/node.ts';
import { type NodeSubject, nodeSubject, ROLE_UNITS } from '../pki/certificate.ts';
import { type Grpc, RpcClient, type RpcClientOptions } from './client.ts';
import type { Credentials, CredentialsSource } from './credentials.ts';
import { LEADER_HANDSHAKE_TIMEOUT_MS, PEER_LIMITS, SESSION_LIMITS } from './limits.ts';
import type { Link } from './link.ts';
import { type LinkClientOptions, openLink, openLinkStream } from './link-client.ts';
import type { DuplexMethod, LinkMethod } from './method.ts';
import { refusesConnections } from './refusal.ts';
import type { RpcStream } from './stream.ts';

/** What the server's certificate must say, beside being of our cluster. */
export type ExpectedPeer = { readonly role: NodeRole } | { readonly nodeId: string };

/** Calls to one address. */
export type RpcCalls = Pick<RpcClient, 'unary' | 'serverStream' | 'clientStream'>;

/** Conversations with one address, each on a connection of its own. */
export interface RpcSessions {
  /** Resolves when connected; whether the server takes the call is known by its first message, or its end. */
  duplex<Req, Res>(
    method: DuplexMethod<Req, Res>,
    options: {
      /** breaks off connecting */
      readonly signal: AbortSignal;
      /** Another manager says that this one leads: it is waited for longer, for it may have thousands to take. */
      readonly isNamedLeader?: boolean;
    },
  ): Promise<RpcStream<Res, Req>>;
}

/** The other nodes, for those who call them: an `RpcClientPool`, or the simulator's. */
export interface RpcClients {
  client(address: string, expected?: ExpectedPeer): RpcCalls;
  peer(address: string): RpcCalls;
  session(address: string, expected?: ExpectedPeer): RpcSessions;
  /** Opens a link to a manager; see `openLink`. It lives until one end ends it. */
  link<In, Out>(
    method: LinkMethod<Out, In>,
    address: string,
    receive: (message: In) => void,
    signal: AbortSignal,
  ): Promise<Link<Out>>;
  /** See `refusesConnections`. */
  refuses(address: string, signal: AbortSignal): Promise<boolean>;
  /** The node at `address` was heard: connections to it need not wait after those that failed. */
  heard(address: string): void;
}

export interface RpcClientPoolOptions {
  readonly credentials: CredentialsSource;
  readonly clock: Clock;
}

type ConnectionLimits = Pick<
  RpcClientOptions,
  'connectTimeoutMs' | 'keepalivePeriodMs' | 'keepaliveTimeoutMs'
>;

/** Clients live until `close`; a client without calls holds no connection after a minute. */
export class RpcClientPool implements RpcClients {
  readonly #options: RpcClientPoolOptions;
  readonly #clients = new Map<string, RpcClient>();
  readonly #releaseListener: () => void;
  /** One for all clients, until the credentials change: it takes a millisecond or two to make. */
  #context: { readonly of: Credentials; readonly secure: SecureContext } | null = null;

  constructor(options: RpcClientPoolOptions) {
    this.#options = options;
    this.#releaseListener = options.credentials.onChange(() => {
      for (const client of this.#clients.values()) client.reconnect();
    });
  }

  /** The client for `address` (`IP:port`); the same one for the same question. */
  client(address: string, expected: ExpectedPeer = { role: 'manager' }): RpcClient {
    return this.#client(address, expected, {});
  }

  /**
   * The client for what managers tell each other in small messages, on a connection of its own: one
   * that is cut is noticed and made again much sooner (see PEER_LIMITS).
   */
  peer(address: string): RpcClient {
    return this.#client(address, { role: 'manager' }, PEER_LIMITS);
  }

  /** For conversations that tell by themselves whether the other end lives. They are not ended by `close`. */
  session(address: string, expected: ExpectedPeer = { role: 'manager' }): RpcSessions {
    return {
      duplex: (method, { signal, isNamedLeader }) => {
        const limits = isNamedLeader
          ? { ...SESSION_LIMITS, handshakeTimeoutMs: LEADER_HANDSHAKE_TIMEOUT_MS }
          : SESSION_LIMITS;
        return openLinkStream(method, this.#linkOptions(address, expected, signal, limits));
      },
    };
  }

  refuses(address: string, signal: AbortSignal): Promise<boolean> {
    return refusesConnections(address, { clock: this.#options.clock, signal });
  }

  heard(address: string): void {
    this.#clients.get(clientKey(address, { role: 'manager' }, PEER_LIMITS))?.retryNow();
  }

  /** Is not ended by `close`. */
  link<In, Out>(
    method: LinkMethod<Out, In>,
    address: string,
    receive: (message: In) => void,
    signal: AbortSignal,
  ): Promise<Link<Out>> {
    const expected: ExpectedPeer = { role: 'manager' };
    const { connectTimeoutMs } = PEER_LIMITS;
    return openLink(
      method,
      receive,
      this.#linkOptions(address, expected, signal, { connectTimeoutMs }),
    );
  }

  #linkOptions(
    address: string,
    expected: ExpectedPeer,
    signal: AbortSignal,
    limits: Pick<LinkClientOptions, 'connectTimeoutMs' | 'handshakeTimeoutMs'>,
  ): LinkClientOptions {
    const { clusterId } = this.#options.credentials.current;
    return {
      ...{ address, signal, ...limits, clock: this.#options.clock },
      secureContext: this.#secureContext(),
      serverName: expectedName(expected),
      checkServer: (certificate) => checkPeer(certificate, expected, clusterId),
    };
  }

  #client(address: string, expected: ExpectedPeer, limits: ConnectionLimits): RpcClient {
    const key = clientKey(address, expected, limits);
    let client = this.#clients.get(key);
    if (!client) {
      client = new RpcClient({
        address,
        clock: this.#options.clock,
        serverName: expectedName(expected),
        credentials: (grpc) => this.#channelCredentials(grpc, expected),
        ...limits,
      });
      this.#clients.set(key, client);
    }
    return client;
  }

  /** Forgets an address that is no longer used. */
  drop(address: string): void {
    for (const [key, client] of this.#clients) {
      if (client.address !== address) continue;
      client.close();
      this.#clients.delete(key);
    }
  }

  close(): void {
    this.#releaseListener();
    for (const client of this.#clients.values()) client.close();
    this.#clients.clear();
  }

  #channelCredentials(grpc: Grpc, expected: ExpectedPeer): ChannelCredentials {
    const { clusterId } = this.#options.credentials.current;
    return grpc.ChannelCredentials.createFromSecureContext(this.#secureContext(), {
      checkServerIdentity: (_host, certificate) => checkPeer(certificate, expected, clusterId),
    });
  }

  #secureContext(): SecureContext {
    const { current } = this.#options.credentials;
    if (this.#context?.of !== current) {
      const { certPem, keyPem, rootPem } = current;
      const secure = createSecureContext({
        cert: certPem,
        key: keyPem,
        ca: rootPem,
        minVersion: 'TLSv1.3',
      });
      this.#context = { of: current, secure };
    }
    return this.#context.secure;
  }
}

/**
 * A client without a certificate of its own, for joining. With a root it accepts managers whose
 * certificate that root issued; without one it accepts anybody: the caller must check what it is
 * told (the digest of the root in the join token).
 */
export function anonymousClient(options: {
  readonly address: string;
  readonly rootPem: string | null;
  readonly clock: Clock;
}): RpcClient {
  const { address, rootPem, clock } = options;
  const expected: ExpectedPeer = { role: 'manager' };
  return new RpcClient({
    address,
    clock,
    serverName: expectedName(expected),
    credentials: ({ ChannelCredentials }) =>
      rootPem === null
        ? ChannelCredentials.createFromSecureContext(
            createSecureContext({ ca: [], minVersion: 'TLSv1.3' }),
            { rejectUnauthorized: false, checkServerIdentity: () => undefined },
          )
        : ChannelCredentials.createFromSecureContext(
            createSecureContext({ ca: rootPem, minVersion: 'TLSv1.3' }),
            { checkServerIdentity: (_host, certificate) => checkPeer(certificate, expected, null) },
          ),
  });
}

function clientKey(address: string, expected: ExpectedPeer, limits: ConnectionLimits): string {
  return `${expectedName(expected)} ${address} ${JSON.stringify(limits)}`;
}

function expectedName(expected: ExpectedPeer): string {
  return 'role' in expected ? ROLE_UNITS[expected.role] : expected.nodeId;
}

/** Runs after OpenSSL verified the chain. Returns what is wrong, or nothing. */
function checkPeer(
  certificate: PeerCertificate,
  expected: ExpectedPeer,
  clusterId: string | null,
): Error | undefined {
  const { CN, OU, O } = certificate.subject;
  const subject = nodeSubject({ cn: single(CN), ou: single(OU), o: single(O) });
  const complaint = peerComplaint(subject, expected, clusterId);
  return complaint === null ? undefined : new Error(`the server's certificate ${complaint}`);
}

function peerComplaint(
  subject: NodeSubject | null,
  expected: ExpectedPeer,
  clusterId: string | null,
): string | null {
  if (!subject) return 'does not name a node and its role';
  if (clusterId !== null && subject.clusterId !== clusterId) {
    return `is for cluster ${subject.clusterId}, not ${clusterId}`;
  }
  if ('role' in expected && subject.role !== expected.role) {
    return `is that of a ${subject.role}, not of a ${expected.role}`;
  }
  if ('nodeId' in expected && subject.nodeId !== expected.nodeId) {
    return `is that of node ${subject.nodeId}, not of ${expected.nodeId}`;
  }
  return null;
}

function single(value: string | string[] | undefined): string | undefined {
  return Array.isArray(value) ? undefined : value;
}

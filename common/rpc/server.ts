/**
 * The RPC server of a node. Authentication is the listener's; here each call is checked against the
 * roles of its method before its message is decoded.
 */
import {
  type Metadata,
  Server,
  ServerCredentials,
  type ServerDuplexStream,
  ServerInterceptingCall,
  type ServerInterceptingCallInterface,
  type ServerReadableStream,
  type ServerUnaryCall,
  type ServerWritableStream,
  type sendUnaryData,
} from '@grpc/grpc-js';
import type { Clock } from '../base/clock.ts';
import { SkepError } from '../base/errors.ts';
import { CancelledError, type OnFailure } from '../base/lifecycle.ts';
import type { Logger } from '../base/log.ts';
import type { CredentialsSource } from './credentials.ts';
import {
  FLOW_CONTROL_WINDOW_BYTES,
  KEEPALIVE_RARE_PERIOD_MS,
  KEEPALIVE_TIMEOUT_MS,
  MESSAGE_BYTES_MAX,
} from './limits.ts';
import { LINK_PROTOCOL } from './link.ts';
import { type LinkHandler, LinkServer } from './link-server.ts';
import { joinHostPort, TlsListener } from './listener.ts';
import type {
  ClientStreamMethod,
  Codec,
  DuplexMethod,
  LinkMethod,
  Method,
  ServerStreamMethod,
  UnaryMethod,
} from './method.ts';
import {
  type Caller,
  type ConnectionIdentity,
  type Peer,
  requireRole,
  resolveCaller,
} from './peer.ts';
import { isFatal, isUnexpected, statusOfError } from './status.ts';
import {
  asBuffer,
  MessageStream,
  type ReceiveStream,
  type RpcStream,
  type SendStream,
} from './stream.ts';

export interface CallContext {
  /** who asks: for a forwarded call the original caller, else the other end of the connection */
  readonly peer: Peer;
  /** true = a manager passed it on; pass it on again and it is refused */
  readonly forwarded: boolean;
  /** aborted when the caller cancels or is gone, at its deadline, and when the server stops */
  readonly signal: AbortSignal;
  readonly metadata: ReadonlyMap<string, string>;
}

export type UnaryHandler<Req, Res> = (request: Req, context: CallContext) => Promise<Res>;
export type ServerStreamHandler<Req, Res> = (
  request: Req,
  out: SendStream<Res>,
  context: CallContext,
) => Promise<void>;
export type ClientStreamHandler<Req, Res> = (
  requests: ReceiveStream<Req>,
  context: CallContext,
) => Promise<Res>;
export type DuplexHandler<Req, Res> = (
  stream: RpcStream<Req, Res>,
  context: CallContext,
) => Promise<void>;

export interface RpcServerOptions {
  readonly credentials: CredentialsSource;
  readonly clock: Clock;
  readonly logger: Logger;
  /** told of broken invariants in handlers */
  readonly onFailure: OnFailure;
  /** true for nodes that were removed from the cluster: all their calls are refused */
  readonly isBlocked?: (nodeId: string) => boolean;
}

/** A server for those who serve methods by it: an `RpcServer`, or the simulator's. */
export type RpcService = Pick<
  RpcServer,
  | 'handleUnary'
  | 'handleServerStream'
  | 'handleClientStream'
  | 'handleDuplex'
  | 'handleLink'
  | 'disconnect'
>;

type State = 'new' | 'listening' | 'stopped';

type AuthContext = ReturnType<ServerInterceptingCallInterface['getAuthContext']>;
/** What calls of all four kinds have in common. */
interface ServerSurfaceCall {
  readonly metadata: Metadata;
  getAuthContext(): AuthContext;
  on(event: 'cancelled', listener: () => void): unknown;
  emit(event: 'error', status: unknown): boolean;
}

/** What the interceptor adds to a call: whose connection it came by. */
interface ConnectionAuthContext extends AuthContext {
  readonly identity: ConnectionIdentity | undefined;
}

/**
 * Methods may be added and withdrawn at any time (a worker becomes a manager); calls to absent ones
 * fail with `unimplemented`.
 */
export class RpcServer {
  readonly #options: RpcServerOptions;
  readonly #grpc: Server;
  readonly #links: LinkServer;
  readonly #listener: TlsListener;
  /** by 4-tuple, which names a live TCP connection; each value is removed when its socket closes */
  readonly #connections = new Map<string, ConnectionIdentity>();
  readonly #running = new Set<Promise<void>>();
  readonly #aborts = new Set<CallAbort>();
  #state: State = 'new';

  constructor(options: RpcServerOptions) {
    this.#options = options;
    this.#grpc = new Server({
      'grpc.max_receive_message_length': MESSAGE_BYTES_MAX,
      'grpc.max_send_message_length': MESSAGE_BYTES_MAX,
      'grpc.keepalive_time_ms': KEEPALIVE_RARE_PERIOD_MS,
      'grpc.keepalive_timeout_ms': KEEPALIVE_TIMEOUT_MS,
      'grpc-node.flow_control_window': FLOW_CONTROL_WINDOW_BYTES,
      'grpc.enable_channelz': 0,
      interceptors: [
        (_method: unknown, call: ServerInterceptingCallInterface) =>
          new IdentifiedCall(call, this.#connections.get(connectionKey(call.getConnectionInfo()))),
      ],
    });
    const injector = this.#grpc.createConnectionInjector(ServerCredentials.createInsecure());
    this.#links = new LinkServer({
      ...options,
      admit: (method, { peer, refusal }) => this.#admit(method, { peer, refusal }, new Map()),
    });
    this.#listener = new TlsListener({
      credentials: options.credentials,
      protocols: ['h2', LINK_PROTOCOL],
      onHandshakeError: (err, from) => options.logger.debug({ err, from }, 'connection failed'),
      onConnection: (socket, identity) => {
        if (socket.alpnProtocol === LINK_PROTOCOL) {
          this.#links.accept(socket, identity);
          return;
        }
        const key = connectionKey(socket);
        this.#connections.set(key, identity);
        socket.once('close', () => {
          if (this.#connections.get(key) === identity) this.#connections.delete(key);
        });
        injector.injectConnection(socket);
      },
    });
  }

  /** `IP:port` listened on. */
  get address(): string {
    return this.#listener.address;
  }

  async listen(host: string, port: number): Promise<void> {
    await this.#listener.listen(host, port);
    this.#state = 'listening';
  }

  /** Idempotent. Calls in flight are aborted; resolves when no handler runs. */
  async stop(): Promise<void> {
    if (this.#state === 'stopped') return;
    this.#state = 'stopped';
    for (const abort of this.#aborts) abort.abort();
    this.#grpc.forceShutdown();
    await this.#listener.close();
    await Promise.all(this.#running);
  }

  /** Cuts a node's connections off. It may connect again; see `isBlocked`. */
  disconnect(nodeId: string): void {
    this.#listener.disconnect(nodeId);
  }

  /** Serves a method; returns the release. Throws when the path is served already. */
  handleUnary<Req, Res>(method: UnaryMethod<Req, Res>, handler: UnaryHandler<Req, Res>) {
    const serve = (call: ServerUnaryCall<Buffer, Buffer>, reply: sendUnaryData<Buffer>): void =>
      this.#run(method, call, {
        serve: async (context) => {
          const request = decodeRequest(method, call.request);
          const response = await handler(request, context);
          reply(null, asBuffer(method.response.encode(response)));
        },
        fail: (status) => reply(status),
      });
    return this.#register(method, 'unary', serve);
  }

  /** As `handleUnary`. The stream ends when the handler does. */
  handleServerStream<Req, Res>(
    method: ServerStreamMethod<Req, Res>,
    handler: ServerStreamHandler<Req, Res>,
  ) {
    const serve = (call: ServerWritableStream<Buffer, Buffer>): void => {
      const out = new MessageStream<never, Res>({
        ...streamParts(method.path, call),
        readable: null,
        writable: call,
        decode: null,
        encode: method.response.encode,
      });
      this.#run(method, call, {
        serve: async (context) => {
          await handler(decodeRequest(method, call.request), out, context);
          out.end();
        },
        fail: (status) => call.emit('error', status),
        cancelled: (reason) => out.fail(reason),
      });
    };
    return this.#register(method, 'serverStream', serve);
  }

  /** As `handleUnary`. */
  handleClientStream<Req, Res>(
    method: ClientStreamMethod<Req, Res>,
    handler: ClientStreamHandler<Req, Res>,
  ) {
    const serve = (
      call: ServerReadableStream<Buffer, Buffer>,
      reply: sendUnaryData<Buffer>,
    ): void => {
      const requests = new MessageStream<Req, never>({
        ...streamParts(method.path, call),
        readable: call,
        writable: null,
        decode: method.request.decode,
        encode: null,
      });
      this.#run(method, call, {
        serve: async (context) => {
          const response = await handler(requests, context);
          reply(null, asBuffer(method.response.encode(response)));
        },
        fail: (status) => reply(status),
        cancelled: (reason) => requests.fail(reason),
      });
    };
    return this.#register(method, 'clientStream', serve);
  }

  /** As `handleUnary`. The stream ends when the handler does. */
  handleDuplex<Req, Res>(method: DuplexMethod<Req, Res>, handler: DuplexHandler<Req, Res>) {
    const serve = (call: ServerDuplexStream<Buffer, Buffer>): void => {
      const stream = new MessageStream<Req, Res>({
        ...streamParts(method.path, call),
        readable: call,
        writable: call,
        decode: method.request.decode,
        encode: method.response.encode,
      });
      this.#run(method, call, {
        serve: async (context) => {
          await handler(stream, context);
          stream.end();
        },
        fail: (status) => call.emit('error', status),
        cancelled: (reason) => stream.fail(reason),
      });
    };
    return this.#register(method, 'bidi', serve);
  }

  /** As `handleUnary`. */
  handleLink<In, Out>(method: LinkMethod<In, Out>, handler: LinkHandler<In, Out>): () => void {
    return this.#links.handle(method, handler);
  }

  #register(
    method: { readonly path: string },
    type: 'unary' | 'serverStream' | 'clientStream' | 'bidi',
    serve: (...args: never[]) => void,
  ): () => void {
    // Encoding and decoding happen in handlers, where a failure has our code and words.
    const asIs = (bytes: Buffer): Buffer => bytes;
    const added = this.#grpc.register(method.path, serve as never, asIs, asIs, type);
    if (!added) throw new SkepError('already-exists', `serve ${method.path}: it is served already`);
    return () => {
      this.#grpc.unregister(method.path);
    };
  }

  #run(method: Method<never, never> | AnyMethod, call: ServerSurfaceCall, parts: RunParts): void {
    const abort = new CallAbort((reason) => parts.cancelled?.(reason));
    this.#aborts.add(abort);
    call.on('cancelled', () => abort.abort());
    const running = this.#supervise(method, call, parts, abort);
    this.#running.add(running);
    void running.finally(() => {
      // #supervise never rejects
      this.#running.delete(running);
      this.#aborts.delete(abort);
      abort.end();
    });
  }

  async #supervise(
    method: { readonly path: string; readonly roles: AnyMethod['roles'] },
    call: ServerSurfaceCall,
    parts: RunParts,
    abort: CallAbort,
  ): Promise<void> {
    try {
      await parts.serve(this.#contextOf(method, call, abort));
    } catch (err) {
      if (isFatal(err)) this.#options.onFailure(err);
      if (abort.aborted) return; // nobody is left to be told
      if (isUnexpected(err)) {
        this.#options.logger.error({ err, method: method.path }, 'call failed unexpectedly');
      }
      parts.fail(statusOfError(err));
    }
  }

  #contextOf(method: AnyMethod, call: ServerSurfaceCall, abort: CallAbort): CallContext {
    const { identity } = call.getAuthContext() as ConnectionAuthContext;
    if (!identity) throw new SkepError('unauthenticated', 'the connection is gone');
    const metadata = metadataMap(call.metadata);
    const caller = this.#admit(method, identity, metadata);
    return {
      ...caller,
      metadata,
      get signal() {
        return abort.signal;
      },
    };
  }

  /** On whose behalf the method is called. Throws when that one may not. */
  #admit(
    method: AnyMethod,
    { peer, refusal }: ConnectionIdentity,
    metadata: ReadonlyMap<string, string>,
  ): Caller {
    if (refusal !== null) {
      throw new SkepError(
        'unauthenticated',
        `call ${method.path}: the certificate is refused: ${refusal}`,
      );
    }
    const caller = resolveCaller(peer, metadata);
    for (const { nodeId } of [peer, caller.peer]) {
      if (nodeId !== null && this.#options.isBlocked?.(nodeId)) {
        throw new SkepError('permission-denied', `node ${nodeId} was removed from swarm`);
      }
    }
    requireRole(method.path, method.roles, caller.peer);
    return caller;
  }
}

/**
 * The end of a call before its time. Most calls end by themselves and most handlers never ask, so the
 * signal is made for those that do: making and ending one costs as much as decoding a small request.
 */
class CallAbort {
  readonly #onAbort: (reason: unknown) => void;
  #controller: AbortController | null = null;
  #aborted = false;
  #ended = false;

  constructor(onAbort: (reason: unknown) => void) {
    this.#onAbort = onAbort;
  }

  get aborted(): boolean {
    return this.#aborted;
  }

  get signal(): AbortSignal {
    this.#controller ??= new AbortController();
    if (this.#aborted) this.#controller.abort(new CancelledError());
    return this.#controller.signal;
  }

  /** gRPC also tells of the end of calls that ended well: that is no news. */
  abort(): void {
    if (this.#aborted || this.#ended) return;
    this.#aborted = true;
    const reason = new CancelledError();
    this.#controller?.abort(reason);
    this.#onAbort(reason);
  }

  /** The handler is done. */
  end(): void {
    this.#ended = true;
  }
}

/** What `#supervise` needs of a method of any kind. */
type AnyMethod = { readonly path: string; readonly roles: Method<unknown, unknown>['roles'] };

interface RunParts {
  readonly serve: (context: CallContext) => Promise<void>;
  readonly fail: (status: ReturnType<typeof statusOfError>) => void;
  readonly cancelled?: (reason: unknown) => void;
}

/** Carries the connection's identity to the handler in place of gRPC's own auth context. */
class IdentifiedCall extends ServerInterceptingCall {
  readonly #identity: ConnectionIdentity | undefined;

  constructor(call: ServerInterceptingCallInterface, identity: ConnectionIdentity | undefined) {
    super(call);
    this.#identity = identity;
  }

  override getAuthContext(): ConnectionAuthContext {
    return { identity: this.#identity };
  }
}

function connectionKey(connection: {
  readonly localAddress?: string | undefined;
  readonly localPort?: number | undefined;
  readonly remoteAddress?: string | undefined;
  readonly remotePort?: number | undefined;
}): string {
  const { localAddress = '', localPort = 0, remoteAddress = '', remotePort = 0 } = connection;
  return `${joinHostPort(localAddress, localPort)} ${joinHostPort(remoteAddress, remotePort)}`;
}

function decodeRequest<Req>(
  method: { readonly path: string; readonly request: Codec<Req> },
  bytes: Uint8Array,
): Req {
  try {
    return method.request.decode(bytes);
  } catch (cause) {
    throw new SkepError('invalid-argument', `call ${method.path}: decode the request`, { cause });
  }
}

function streamParts(path: string, call: ServerSurfaceCall) {
  return {
    action: `serve ${path}`,
    endMark: 'expected' as const,
    cancel: () => {
      call.emit('error', statusOfError(new SkepError('cancelled', `call ${path}: cut off`)));
    },
    failureOf: (err: unknown) => (err instanceof Error ? err : new CancelledError()),
  };
}

function metadataMap(metadata: Metadata): ReadonlyMap<string, string> {
  const map = new Map<string, string>();
  for (const [key, value] of Object.entries(metadata.getMap())) {
    if (typeof value === 'string') map.set(key, value);
  }
  return map;
}

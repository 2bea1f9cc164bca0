/**
 * The RPC server of a node: methods of all kinds on one port. Authentication is the listener's, and who may
 * make a call the `CallRunner`'s, which asks before the message is decoded.
 */
import type { Clock } from '../base/clock.ts';
import { SkepError } from '../base/errors.ts';
import { CancelledError } from '../base/lifecycle.ts';
import {
  type CallContext,
  CallRunner,
  type CallRunnerOptions,
  type ServedCall,
} from './call-runner.ts';
import type { CredentialsSource } from './credentials.ts';
import type { GrpcCall } from './grpc-call.ts';
import { GrpcServer } from './grpc-server.ts';
import { LINK_PROTOCOL } from './link.ts';
import { type LinkHandler, LinkServer } from './link-server.ts';
import { LinkStream } from './link-stream.ts';
import { TlsListener } from './listener.ts';
import type {
  ClientStreamMethod,
  Codec,
  DuplexMethod,
  LinkMethod,
  ServerStreamMethod,
  UnaryMethod,
} from './method.ts';
import type { Caller } from './peer.ts';
import { MessageStream, type ReceiveStream, type RpcStream, type SendStream } from './stream.ts';

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

export interface RpcServerOptions extends CallRunnerOptions {
  readonly credentials: CredentialsSource;
  readonly clock: Clock;
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
  | 'disconnectCalls'
>;

const NO_METADATA: ReadonlyMap<string, string> = new Map();

/** Name of HTTP/2 in the TLS handshake. */
const GRPC_PROTOCOL = 'h2';

type State = 'new' | 'listening' | 'stopped';

/**
 * Methods may be added and withdrawn at any time (a worker becomes a manager); calls to absent ones
 * fail with `unimplemented`.
 */
export class RpcServer {
  readonly #grpc: GrpcServer;
  readonly #links: LinkServer;
  readonly #listener: TlsListener;
  readonly #calls: CallRunner;
  #state: State = 'new';

  constructor(options: RpcServerOptions) {
    this.#calls = new CallRunner(options);
    this.#grpc = new GrpcServer(options.clock);
    this.#links = new LinkServer({
      ...options,
      admit: (method, identity) => void this.#calls.admit(method, identity, NO_METADATA),
    });
    this.#listener = new TlsListener({
      credentials: options.credentials,
      clock: options.clock,
      protocols: [GRPC_PROTOCOL, LINK_PROTOCOL],
      onHandshakeError: (err, from) => options.logger.debug({ err, from }, 'connection failed'),
      onConnection: (socket, identity) => {
        if (socket.alpnProtocol === LINK_PROTOCOL) this.#links.accept(socket, identity);
        else this.#grpc.accept(socket, identity);
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
    this.#calls.abortAll();
    this.#grpc.destroy();
    await this.#listener.close();
    await this.#calls.ended();
  }

  /** Cuts a node's connections off. It may connect again; see `isBlocked`. */
  disconnect(nodeId: string): void {
    this.#listener.disconnect(nodeId);
  }

  /** Cuts its gRPC calls off. Its links are for those who serve them to end. */
  disconnectCalls(nodeId: string): void {
    this.#listener.disconnect(nodeId, GRPC_PROTOCOL);
  }

  /** Serves a method; returns the release. Throws when the path is served already. */
  handleUnary<Req, Res>(
    method: UnaryMethod<Req, Res>,
    handler: UnaryHandler<Req, Res>,
  ): () => void {
    return this.#register(method, (call, caller) =>
      receiveRequest(call, (bytes) =>
        this.#calls.run(method, call, caller, {
          serve: async (context) => {
            const response = await handler(decodeRequest(method, bytes), context);
            call.reply(method.response.encode(response));
          },
        }),
      ),
    );
  }

  /** As `handleUnary`. The stream ends when the handler does. */
  handleServerStream<Req, Res>(
    method: ServerStreamMethod<Req, Res>,
    handler: ServerStreamHandler<Req, Res>,
  ): () => void {
    return this.#register(method, (call, caller) =>
      receiveRequest(call, (bytes) => {
        const out = new MessageStream<never, Res>({
          ...streamParts(method.path, call),
          readable: null,
          writable: call,
          decode: null,
          encode: method.response.encode,
        });
        this.#calls.run(method, call, caller, {
          serve: async (context) => {
            await handler(decodeRequest(method, bytes), out, context);
            out.end();
          },
          cancelled: (reason) => out.fail(reason),
        });
      }),
    );
  }

  /** As `handleUnary`. */
  handleClientStream<Req, Res>(
    method: ClientStreamMethod<Req, Res>,
    handler: ClientStreamHandler<Req, Res>,
  ): () => void {
    return this.#register(method, (call, caller) => {
      const requests = new MessageStream<Req, never>({
        ...streamParts(method.path, call),
        readable: call,
        writable: null,
        decode: method.request.decode,
        encode: null,
      });
      this.#calls.run(method, call, caller, {
        serve: async (context) => {
          const response = await handler(requests, context);
          call.reply(method.response.encode(response));
        },
        cancelled: (reason) => requests.fail(reason),
      });
    });
  }

  /** As `handleUnary`. The stream ends when the handler does. */
  handleDuplex<Req, Res>(
    method: DuplexMethod<Req, Res>,
    handler: DuplexHandler<Req, Res>,
  ): () => void {
    return this.#links.handleStream(method, (link, identity) => {
      const stream = new LinkStream<Req, Res>({
        action: `serve ${method.path}`,
        ...{ link, incoming: method.request, outgoing: method.response },
        failureOf: () => new CancelledError(),
      });
      const caller: Caller = { peer: identity.peer, forwarded: false }; // the link was admitted
      const call: ServedCall = {
        identity,
        metadata: NO_METADATA,
        onCancelled: (listener) => void link.ended.then(listener, listener),
        fail: (err) => link.refuse(err),
      };
      this.#calls.run(method, call, caller, {
        serve: async (context) => {
          await handler(stream, context);
          link.end();
        },
        cancelled: (reason) => stream.fail(reason),
      });
      return stream;
    });
  }

  /** As `handleUnary`. */
  handleLink<In, Out>(method: LinkMethod<In, Out>, handler: LinkHandler<In, Out>): () => void {
    return this.#links.handle(method, handler);
  }

  /** Who may not call is told before anything is received of the call. */
  #register(
    method: Pick<UnaryMethod<never, never>, 'path' | 'roles'>,
    serve: (call: GrpcCall, caller: Caller) => void,
  ): () => void {
    const { path } = method;
    const added = this.#grpc.register(path, (call) => {
      let caller: Caller;
      try {
        caller = this.#calls.admit(method, call.identity, call.metadata);
      } catch (err) {
        call.fail(err);
        return;
      }
      serve(call, caller);
    });
    if (!added) throw new SkepError('already-exists', `serve ${path}: it is served already`);
    return () => this.#grpc.unregister(path);
  }
}

/** The request of a call that has one. What cannot be one ends the call. */
function receiveRequest(call: GrpcCall, take: (bytes: Buffer) => void): void {
  call.receiveOne(take, (err) => call.fail(err));
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

function streamParts(path: string, call: GrpcCall) {
  return {
    action: `serve ${path}`,
    endMark: 'expected' as const,
    cancel: () => call.fail(new SkepError('cancelled', `call ${path}: cut off`)),
    failureOf: () => new CancelledError(),
  };
}

/**
 * The RPC server of a node: methods of all kinds on one port. Authentication is the listener's, and who may
 * make a call the `CallRunner`'s, which asks before the message is decoded.
 */
import {
  Server,
  ServerCredentials,
  type ServerDuplexStream,
  type ServerInterceptingCallInterface,
  type ServerReadableStream,
  type ServerUnaryCall,
  type ServerWritableStream,
  type sendUnaryData,
} from '@grpc/grpc-js';
import type { Clock } from '../base/clock.ts';
import { SkepError } from '../base/errors.ts';
import { CancelledError } from '../base/lifecycle.ts';
import {
  type CallContext,
  CallRunner,
  type CallRunnerOptions,
  IdentifiedCall,
  type ServerSurfaceCall,
} from './call-runner.ts';
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
  ServerStreamMethod,
  UnaryMethod,
} from './method.ts';
import type { ConnectionIdentity } from './peer.ts';
import { statusOfError } from './status.ts';
import {
  asBuffer,
  MessageStream,
  type ReceiveStream,
  type RpcStream,
  type SendStream,
} from './stream.ts';

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
>;

type State = 'new' | 'listening' | 'stopped';

/**
 * Methods may be added and withdrawn at any time (a worker becomes a manager); calls to absent ones
 * fail with `unimplemented`.
 */
export class RpcServer {
  readonly #grpc: Server;
  readonly #links: LinkServer;
  readonly #listener: TlsListener;
  /** by 4-tuple, which names a live TCP connection; each value is removed when its socket closes */
  readonly #connections = new Map<string, ConnectionIdentity>();
  readonly #calls: CallRunner;
  #state: State = 'new';

  constructor(options: RpcServerOptions) {
    this.#calls = new CallRunner(options);
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
      admit: (method, identity) => void this.#calls.admit(method, identity, new Map()),
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
    this.#calls.abortAll();
    this.#grpc.forceShutdown();
    await this.#listener.close();
    await this.#calls.ended();
  }

  /** Cuts a node's connections off. It may connect again; see `isBlocked`. */
  disconnect(nodeId: string): void {
    this.#listener.disconnect(nodeId);
  }

  /** Serves a method; returns the release. Throws when the path is served already. */
  handleUnary<Req, Res>(method: UnaryMethod<Req, Res>, handler: UnaryHandler<Req, Res>) {
    const serve = (call: ServerUnaryCall<Buffer, Buffer>, reply: sendUnaryData<Buffer>): void =>
      this.#calls.run(method, call, {
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
      this.#calls.run(method, call, {
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
      this.#calls.run(method, call, {
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
      this.#calls.run(method, call, {
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

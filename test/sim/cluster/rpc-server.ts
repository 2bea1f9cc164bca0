/** Serves calls that come over simulated connections, in place of `RpcServer`. Knows nothing of who calls and why. */
import { SkepError } from '../../../common/base/errors.ts';
import { CancelledError } from '../../../common/base/lifecycle.ts';
import type { NodeId } from '../../../common/model/ids.ts';
import type { NodeRole } from '../../../common/model/node.ts';
import type { CallContext } from '../../../common/rpc/call-runner.ts';
import { dispatcherSession } from '../../../common/rpc/dispatcher-method.ts';
import type { LinkHandler } from '../../../common/rpc/link-server.ts';
import type {
  ClientStreamMethod,
  DuplexMethod,
  LinkMethod,
  ServerStreamMethod,
  UnaryMethod,
} from '../../../common/rpc/method.ts';
import {
  type Peer,
  requireNotDemoted,
  requireRole,
  resolveCaller,
} from '../../../common/rpc/peer.ts';
import type {
  ClientStreamHandler,
  DuplexHandler,
  RpcService,
  ServerStreamHandler,
  UnaryHandler,
} from '../../../common/rpc/server.ts';
import { isFatal, isUnexpected, statusOfError } from '../../../common/rpc/status.ts';
import type { ReceiveStream } from '../../../common/rpc/stream.ts';
import { CallStream } from './call-stream.ts';
import { type CallFrame, type Directory, HEAD_BYTES } from './rpc.ts';
import type { Connection, Process } from './wires.ts';

export interface SimRpcServerOptions {
  readonly directory: Directory;
  readonly process: Process;
  readonly isBlocked: (nodeId: string) => boolean;
  readonly isWorker: (nodeId: NodeId) => boolean;
  /** as the certificate says at this moment */
  readonly role: () => NodeRole;
  /** A handler failed by a fault of ours. */
  readonly onFailure: (err: unknown) => void;
}

type Serve = (stream: CallStream<unknown, unknown>, context: CallContext) => Promise<void>;

interface ServedConnection {
  readonly connection: Connection<CallFrame>;
  readonly peer: Peer;
  readonly calls: Map<number, ServedCall>;
}

interface ServedCall {
  readonly path: string;
  readonly stream: CallStream<unknown, unknown>;
  readonly abort: AbortController;
}

export class SimRpcServer implements RpcService {
  readonly #options: SimRpcServerOptions;
  readonly #methods = new Map<string, Serve>();
  readonly #connections = new Set<ServedConnection>();

  constructor(options: SimRpcServerOptions) {
    this.#options = options;
  }

  role(): NodeRole {
    return this.#options.role();
  }

  get process(): Process {
    return this.#options.process;
  }

  handleUnary<Req, Res>(method: UnaryMethod<Req, Res>, handler: UnaryHandler<Req, Res>) {
    return this.#register(method, async (stream, context) => {
      const request = (await stream.next(context.signal)) as Req;
      stream.write(await handler(request, context));
    });
  }

  handleServerStream<Req, Res>(
    method: ServerStreamMethod<Req, Res>,
    handler: ServerStreamHandler<Req, Res>,
  ) {
    return this.#register(method, async (stream, context) => {
      const request = (await stream.next(context.signal)) as Req;
      await handler(request, stream, context);
    });
  }

  handleClientStream<Req, Res>(
    method: ClientStreamMethod<Req, Res>,
    handler: ClientStreamHandler<Req, Res>,
  ) {
    return this.#register(method, async (stream, context) => {
      stream.write(await handler(stream as ReceiveStream<Req>, context));
    });
  }

  handleDuplex<Req, Res>(method: DuplexMethod<Req, Res>, handler: DuplexHandler<Req, Res>) {
    return this.#register(method, (stream, context) =>
      handler(stream as unknown as Parameters<typeof handler>[0], context),
    );
  }

  handleLink<In, Out>(method: LinkMethod<In, Out>, handler: LinkHandler<In, Out>) {
    return this.#register(method, async (stream, context) => {
      let isEnded = false;
      const end = (): void => {
        isEnded = true;
      };
      const link = { write: (message: Out) => stream.write(message), end };
      const { receive, ended } = handler(link, context.peer);
      try {
        while (!isEnded) {
          const message = await stream.next(context.signal);
          if (message === null || isEnded) return;
          receive(message as In);
        }
      } finally {
        ended();
      }
    });
  }

  disconnect(nodeId: string): void {
    for (const { connection, peer } of this.#connections) {
      if (peer.nodeId === nodeId) connection.reset();
    }
  }

  disconnectCalls(nodeId: string): void {
    for (const { connection, peer, calls } of this.#connections) {
      // As on a real one, an agent's session has a connection of its own.
      const isSession = [...calls.values()].some(({ path }) => path === dispatcherSession.path);
      if (peer.nodeId === nodeId && !isSession) connection.reset();
    }
  }

  /** A connection was made to this server. */
  accept(connection: Connection<CallFrame>, client: Process, peer: Peer): void {
    const served: ServedConnection = { connection, peer, calls: new Map() };
    this.#connections.add(served);
    connection.ends[1].side = {
      receive: (frame) => this.#receive(served, client, frame),
      broken: () => {
        this.#connections.delete(served);
        for (const call of served.calls.values()) cutOff(call);
        served.calls.clear();
      },
    };
  }

  #register(method: { readonly path: string }, serve: Serve): () => void {
    if (this.#methods.has(method.path)) {
      throw new SkepError('already-exists', `serve ${method.path}: it is served already`);
    }
    this.#methods.set(method.path, serve);
    return () => this.#methods.delete(method.path);
  }

  #receive(served: ServedConnection, client: Process, frame: CallFrame): void {
    if (frame.kind === 'message') frame.arrived();
    if (frame.kind === 'open') {
      void this.#run(served, client, frame); // never rejects
      return;
    }
    const call = served.calls.get(frame.call);
    if (call === undefined) return;
    if (frame.kind === 'message') {
      call.stream.push(frame.data);
    } else if (frame.kind === 'half-close') {
      call.stream.pushEnd();
    } else if (frame.kind === 'reset') {
      served.calls.delete(frame.call);
      cutOff(call);
    }
  }

  async #run(
    served: ServedConnection,
    client: Process,
    { call: id, method, metadata }: Extract<CallFrame, { kind: 'open' }>,
  ): Promise<void> {
    const { connection, calls } = served;
    const abort = new AbortController();
    const { directory, process } = this.#options;
    const stream = new CallStream<unknown, unknown>({
      action: `serve ${method.path}`,
      decode: (data) => {
        const message = method.request.decode(data);
        return directory.deliver({ method, client, server: process, toServer: true, message });
      },
      encode: (message) => method.response.encode(message),
      ...(method.path === dispatcherSession.path && {
        highWaterBytes: directory.agentHighWaterBytes,
        written: (message, pendingBytes, isFull) =>
          directory.written({ method, client, message, pendingBytes, isFull }),
      }),
      transmit: (data, arrived) =>
        connection.send(1, { kind: 'message', call: id, data, arrived, bytes: data.length }),
      halfClose: () => {},
      cancel: () => end(new SkepError('cancelled', `call ${method.path}: cut off`)),
    });
    const end = (err: unknown): void => {
      if (!calls.delete(id)) return;
      const status = err === null ? null : statusOfError(err);
      connection.send(1, { kind: 'status', call: id, status, bytes: HEAD_BYTES });
    };
    calls.set(id, { path: method.path, stream, abort });
    try {
      const serve = this.#methods.get(method.path);
      if (!serve) throw new SkepError('unimplemented', `call ${method.path}: not served here`);
      const caller = resolveCaller(served.peer, metadata);
      for (const { nodeId } of [served.peer, caller.peer]) {
        if (nodeId !== null && this.#options.isBlocked(nodeId)) {
          throw new SkepError('permission-denied', `node ${nodeId} was removed from swarm`);
        }
      }
      requireRole(method.path, method.roles, caller.peer);
      const { isWorker } = this.#options;
      if (!method.certificateIsEnough) {
        requireNotDemoted(method.path, method.roles, caller, served.peer, isWorker);
      }
      await serve(stream, { ...caller, metadata, signal: abort.signal });
      end(null);
    } catch (err) {
      if (isFatal(err) || (isUnexpected(err) && !abort.signal.aborted)) {
        this.#options.onFailure(err);
      }
      end(err);
    }
  }
}

function cutOff({ stream, abort }: ServedCall): void {
  const reason = new CancelledError();
  abort.abort(reason);
  stream.fail(reason);
}

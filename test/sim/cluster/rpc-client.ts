/** Makes calls over simulated connections, in place of `RpcClientPool`. Knows nothing of who calls whom and why. */
import { EFFECT, SkepError } from '../../../common/base/errors.ts';
import type { CallOptions, ClientStreamCall } from '../../../common/rpc/client.ts';
import { CONNECT_TIMEOUT_MS, PEER_LIMITS, UNARY_TIMEOUT_MS } from '../../../common/rpc/limits.ts';
import type { Link } from '../../../common/rpc/link.ts';
import type {
  ClientStreamMethod,
  DuplexMethod,
  LinkMethod,
  Method,
  ServerStreamMethod,
  UnaryMethod,
} from '../../../common/rpc/method.ts';
import { forwardingMetadata, type Peer } from '../../../common/rpc/peer.ts';
import type { ExpectedPeer, RpcCalls, RpcClients, RpcSessions } from '../../../common/rpc/pool.ts';
import { errorOfStatus } from '../../../common/rpc/status.ts';
import type { ReceiveStream } from '../../../common/rpc/stream.ts';
import { CallStream } from './call-stream.ts';
import { type AnyMethod, type CallFrame, type Directory, HEAD_BYTES, KEEPALIVE } from './rpc.ts';
import type { Connection, Patience, Process } from './wires.ts';

const PEER_KEEPALIVE: Patience = {
  periodMs: PEER_LIMITS.keepalivePeriodMs,
  timeoutMs: PEER_LIMITS.keepaliveTimeoutMs,
};

export interface SimRpcPoolOptions {
  readonly directory: Directory;
  readonly process: Process;
  /** as the certificate says at this moment */
  readonly self: () => Peer;
}

export class SimRpcPool implements RpcClients {
  readonly #options: SimRpcPoolOptions;
  readonly #clients = new Map<string, SimRpcClient>();

  constructor(options: SimRpcPoolOptions) {
    this.#options = options;
  }

  client(address: string, expected: ExpectedPeer = { role: 'manager' }): RpcCalls {
    return this.#client(address, CONNECT_TIMEOUT_MS, KEEPALIVE, expected);
  }

  session(address: string): RpcSessions {
    return this.#client(address, CONNECT_TIMEOUT_MS, KEEPALIVE);
  }

  peer(address: string): RpcCalls {
    return this.#client(address, PEER_LIMITS.connectTimeoutMs, PEER_KEEPALIVE);
  }

  async link<In, Out>(
    method: LinkMethod<Out, In>,
    address: string,
    receive: (message: In) => void,
    signal: AbortSignal,
  ): Promise<Link<Out>> {
    const { connectTimeoutMs } = PEER_LIMITS;
    const stream = await this.#client(address, connectTimeoutMs, PEER_KEEPALIVE).link(
      method,
      signal,
    );
    const listen = async (): Promise<void> => {
      for (;;) {
        const message = await stream.next();
        if (message === null) return;
        receive(message);
      }
    };
    const ended = listen();
    ended.catch(() => {}); // for those who ask
    return {
      write: (message) => stream.write(message),
      drained: () => stream.drained(),
      ended,
      cancel: () => stream.cancel(),
    };
  }

  /** As `refusesConnections`: what the kernel of the host answers in one round trip, if it can. */
  async refuses(address: string, signal: AbortSignal): Promise<boolean> {
    signal.throwIfAborted();
    const { directory, process } = this.#options;
    const { wires, serverAt, hostAt } = directory;
    const here = process.host;
    const there = hostAt(address);
    await abortable(wires.clock.sleep(wires.delayMs() + wires.delayMs(), here, 'deliver'), signal);
    const isSilent = wires.isCut(here, there) || wires.isCut(there, here) || wires.isDown(there);
    return !isSilent && serverAt(address) === null;
  }

  /** This node has another certificate: what is called from now on is called with it. */
  rotate(): void {
    this.#clients.clear();
  }

  /** Clients here connect when they are called: nothing waits after failures. */
  heard(_address: string): void {}

  #client(
    address: string,
    connectTimeoutMs: number,
    patience: Patience,
    expected: ExpectedPeer = { role: 'manager' },
  ): SimRpcClient {
    const key = `${address} ${connectTimeoutMs} ${Object.values(expected)[0]}`;
    let client = this.#clients.get(key);
    if (client === undefined) {
      client = new SimRpcClient({
        ...this.#options,
        address,
        connectTimeoutMs,
        patience,
        expected,
      });
      this.#clients.set(key, client);
    }
    return client;
  }
}

interface SimRpcClientOptions extends SimRpcPoolOptions {
  readonly address: string;
  readonly connectTimeoutMs: number;
  readonly patience: Patience;
  readonly expected: ExpectedPeer;
}

interface OpenConnection {
  readonly connection: Connection<CallFrame>;
  readonly server: Process;
  readonly calls: Map<number, ClientCall>;
}

interface ClientCall {
  readonly stream: CallStream<unknown, unknown>;
}

class SimRpcClient implements RpcCalls {
  readonly #options: SimRpcClientOptions;
  #open: OpenConnection | null = null;
  #connecting: Promise<OpenConnection> | null = null;
  #nextCall = 1;

  constructor(options: SimRpcClientOptions) {
    this.#options = options;
  }

  async unary<Req, Res>(
    method: UnaryMethod<Req, Res>,
    request: Req,
    options: CallOptions = {},
  ): Promise<Res> {
    const { wires } = this.#options.directory;
    const limitMs = options.timeoutMs ?? UNARY_TIMEOUT_MS;
    const { stream, release } = await this.#call(method, options);
    const deadline = wires.clock.schedule(limitMs, this.#options.process.host, 'timer', () => {
      stream.cancel(
        new SkepError('deadline-exceeded', `call ${method.path}: no answer within ${limitMs} ms`),
      );
    });
    try {
      stream.write(request);
      stream.end();
      const response = await stream.take();
      if (response === null) throw new SkepError('internal', `call ${method.path}: no answer`);
      return response.message as Res;
    } finally {
      deadline.cancelled = true;
      release();
    }
  }

  async serverStream<Req, Res>(
    method: ServerStreamMethod<Req, Res>,
    request: Req,
    options: CallOptions = {},
  ): Promise<ReceiveStream<Res>> {
    const { stream } = await this.#call(method, options);
    stream.write(request);
    stream.end();
    return stream as ReceiveStream<Res>;
  }

  async clientStream<Req, Res>(
    method: ClientStreamMethod<Req, Res>,
    options: CallOptions = {},
  ): Promise<ClientStreamCall<Req, Res>> {
    const { stream } = await this.#call(method, options);
    return {
      write: (message) => stream.write(message),
      drained: (signal) => stream.drained(signal),
      send: (message, signal) => stream.send(message, signal),
      finish: async () => {
        stream.end();
        return (await stream.next()) as Res;
      },
      cancel: (reason) => stream.cancel(reason),
    };
  }

  async duplex<Req, Res>(method: DuplexMethod<Req, Res>, options: CallOptions = {}) {
    const { stream } = await this.#call(method, options);
    return stream as unknown as CallStream<Res, Req>;
  }

  async link<Req, Res>(method: LinkMethod<Req, Res>, signal: AbortSignal) {
    const { stream } = await this.#call(method, { signal });
    return stream as unknown as CallStream<Res, Req>;
  }

  async #call(
    method: AnyMethod | Method<never, never>,
    { signal, forwardedFor, metadata }: CallOptions,
  ): Promise<{ stream: CallStream<unknown, unknown>; release: () => void }> {
    signal?.throwIfAborted();
    const open = await abortable(this.#connect(), signal);
    const { connection, server, calls } = open;
    const call = this.#nextCall++;
    const { directory, process, address } = this.#options;
    const known = method as AnyMethod;
    const onAbort = (): void => stream.cancel(signal?.reason);
    const release = (): void => signal?.removeEventListener('abort', onAbort);
    const stream = new CallStream<unknown, unknown>({
      action: `call ${method.path} at ${address}`,
      decode: (data) => {
        const message = known.response.decode(data);
        return directory.deliver({
          ...{ method: known, client: process, server, toServer: false, message },
        });
      },
      encode: (message) => known.request.encode(message),
      transmit: (data, arrived) =>
        connection.send(0, { kind: 'message', call, data, arrived, bytes: data.length }),
      halfClose: () => connection.send(0, { kind: 'half-close', call, bytes: HEAD_BYTES }),
      cancel: () => {
        release();
        if (calls.delete(call)) connection.send(0, { kind: 'reset', call, bytes: HEAD_BYTES });
      },
    });
    calls.set(call, { stream });
    const all = { ...metadata, ...(forwardedFor ? forwardingMetadata(forwardedFor) : {}) };
    connection.send(0, {
      ...{ kind: 'open', call, method: known, bytes: HEAD_BYTES },
      metadata: new Map(Object.entries(all)),
    });
    signal?.addEventListener('abort', onAbort, { once: true });
    return { stream, release };
  }

  #connect(): Promise<OpenConnection> {
    if (this.#open !== null) return Promise.resolve(this.#open);
    this.#connecting ??= this.#establish().finally(() => {
      this.#connecting = null;
    });
    return this.#connecting;
  }

  /** SYN, handshake: two round trips. */
  async #establish(): Promise<OpenConnection> {
    const { directory, address, process, connectTimeoutMs, patience, self, expected } =
      this.#options;
    const { wires, serverAt, hostAt } = directory;
    const here = process.host;
    const there = hostAt(address);
    const endMs = wires.clock.nowMs + connectTimeoutMs;
    const nothing = (why: string): SkepError =>
      new SkepError('unavailable', `connect to ${address}: ${why}`, {
        details: { [EFFECT]: 'none' },
      });
    for (let trip = 0; trip < 2; trip++) {
      await wires.clock.sleep(wires.delayMs() + wires.delayMs(), here, 'deliver');
      const isSilent =
        wires.isCut(here, there) ||
        wires.isCut(there, here) ||
        wires.isDown(there) ||
        (trip > 0 && wires.isStopped(there));
      if (!isSilent) continue;
      await wires.clock.sleep(endMs - wires.clock.nowMs, here, 'timer');
      throw nothing(`no answer within ${connectTimeoutMs} ms`);
    }
    const server = serverAt(address);
    if (server === null) throw nothing('connection refused');
    if ('role' in expected && server.role() !== expected.role)
      throw nothing('the certificate of the other end is no manager’s');
    const peer = self();
    const connection = wires.connect(
      { process, patience },
      { process: server.process, patience: KEEPALIVE },
    );
    const open: OpenConnection = { connection, server: server.process, calls: new Map() };
    connection.ends[0].side = {
      receive: (frame) => this.#receive(open, frame),
      broken: (why) => {
        if (this.#open === open) this.#open = null;
        const calls = [...open.calls.values()];
        open.calls.clear();
        for (const { stream } of calls) {
          stream.fail(new SkepError('unavailable', `call at ${address}: ${why}`));
        }
      },
    };
    server.accept(connection, process, peer);
    this.#open = open;
    return open;
  }

  #receive({ calls }: OpenConnection, frame: CallFrame): void {
    if (frame.kind === 'message') frame.arrived();
    const call = calls.get(frame.call);
    if (call === undefined) return;
    if (frame.kind === 'message') {
      call.stream.push(frame.data);
    } else if (frame.kind === 'status') {
      calls.delete(frame.call);
      const { status } = frame;
      if (status === null) call.stream.pushEnd();
      else call.stream.fail(errorOfStatus(`call at ${this.#options.address}`, status));
    }
  }
}

function abortable<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return work;
  return new Promise((resolve, reject) => {
    const onAbort = (): void => reject(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });
}

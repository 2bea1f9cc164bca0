/**
 * Calls to one address. A client owns at most one connection, makes it when first needed, and makes
 * a new one after a certificate change or when connecting hangs.
 */
import type {
  ChannelCredentials,
  Client,
  CallOptions as GrpcCallOptions,
  ServiceError,
  ClientUnaryCall as SurfaceCall,
} from '@grpc/grpc-js';
import type { Clock } from '../base/clock.ts';
import { EFFECT, SkepError } from '../base/errors.ts';
import {
  CONNECT_TIMEOUT_MS,
  FLOW_CONTROL_WINDOW_BYTES,
  IDLE_TIMEOUT_MS,
  KEEPALIVE_PERIOD_MS,
  KEEPALIVE_TIMEOUT_MS,
  MESSAGE_BYTES_MAX,
  RECONNECT_BASE_MS,
  RECONNECT_MAX_MS,
  UNARY_TIMEOUT_MS,
} from './limits.ts';
import { splitHostPort } from './listener.ts';
import type { ClientStreamMethod, Codec, ServerStreamMethod, UnaryMethod } from './method.ts';
import { forwardingMetadata, type Peer } from './peer.ts';
import { errorOfStatus } from './status.ts';
import { asBuffer, MessageStream, type ReceiveStream, type SendStream } from './stream.ts';

/** With the first connection: a node alone makes none, and what it would load takes megabytes. */
const loadGrpc = () => import('@grpc/grpc-js');

export type Grpc = Awaited<ReturnType<typeof loadGrpc>>;

export interface CallOptions {
  readonly signal?: AbortSignal;
  /** unary: default 5,000; streams: default none */
  readonly timeoutMs?: number;
  readonly metadata?: Readonly<Record<string, string>>;
  /** the call is passed on for this caller; only managers may */
  readonly forwardedFor?: Peer;
}

/** A stream of requests whose one response comes at its end. */
export interface ClientStreamCall<Req, Res> extends SendStream<Req> {
  /** Ends the stream and resolves with the response. */
  finish(): Promise<Res>;
  cancel(reason?: unknown): void;
}

export interface RpcClientOptions {
  /** `IP:port` or `name:port` */
  readonly address: string;
  readonly clock: Clock;
  /** made anew for each connection, so that a rotated certificate is used */
  readonly credentials: (grpc: Grpc) => ChannelCredentials;
  /** name sent by SNI and given to the certificate check, e.g. `swarm-manager` */
  readonly serverName: string;
  readonly connectTimeoutMs?: number;
  /** A connection with calls on it is pinged after this, */
  readonly keepalivePeriodMs?: number;
  /** and given up with its calls when no answer comes within this. */
  readonly keepaliveTimeoutMs?: number;
}

/** All calls reject with SkepErrors (those of the server come out as they went in) or `signal.reason`. */
export class RpcClient {
  readonly #options: RpcClientOptions;
  #grpc: Grpc | null = null;
  #client: Client | null = null;
  #closed = false;

  constructor(options: RpcClientOptions) {
    this.#options = options;
    splitHostPort(options.address);
  }

  get address(): string {
    return this.#options.address;
  }

  /** Later calls use a new connection with the credentials of then; calls in flight go on. */
  reconnect(): void {
    this.#client?.close();
    this.#client = null;
  }

  /** What waits after a connection that failed waits no longer: the next call tries at once. */
  retryNow(): void {
    const state = this.#client?.getChannel().getConnectivityState(false);
    if (state === this.#grpc?.connectivityState.TRANSIENT_FAILURE) this.reconnect();
  }

  /** Idempotent. Calls in flight go on until they end by themselves; new ones fail. */
  close(): void {
    this.#closed = true;
    this.reconnect();
  }

  async unary<Req, Res>(
    method: UnaryMethod<Req, Res>,
    request: Req,
    options: CallOptions = {},
  ): Promise<Res> {
    const prepared = await this.#prepare(method.path, options, UNARY_TIMEOUT_MS);
    const bytes = asBuffer(method.request.encode(request));
    return new Promise<Res>((resolve, reject) => {
      const call: SurfaceCall = prepared.client.makeUnaryRequest<Buffer, Buffer>(
        method.path,
        asIs,
        asIs,
        bytes,
        prepared.metadata,
        prepared.options,
        (err, value) => {
          release();
          if (err) reject(failureOf(prepared.action, err));
          else
            settle(resolve, reject, () => this.#decode(method.response, value!, prepared.action));
        },
      );
      const release = onAbort(options.signal, (reason) => {
        reject(reason);
        call.cancel();
      });
    });
  }

  async serverStream<Req, Res>(
    method: ServerStreamMethod<Req, Res>,
    request: Req,
    options: CallOptions = {},
  ): Promise<ReceiveStream<Res>> {
    const prepared = await this.#prepare(method.path, options, null);
    const call = prepared.client.makeServerStreamRequest<Buffer, Buffer>(
      method.path,
      asIs,
      asIs,
      asBuffer(method.request.encode(request)),
      prepared.metadata,
      prepared.options,
    );
    const stream = new MessageStream<Res, never>({
      ...streamParts(prepared.action, call),
      readable: call,
      writable: null,
      decode: method.response.decode,
      encode: null,
    });
    call.on(
      'close',
      onAbort(options.signal, (reason) => stream.cancel(reason)),
    );
    return stream;
  }

  async clientStream<Req, Res>(
    method: ClientStreamMethod<Req, Res>,
    options: CallOptions = {},
  ): Promise<ClientStreamCall<Req, Res>> {
    const prepared = await this.#prepare(method.path, options, null);
    let onResponse: (err: ServiceError | null, value?: Buffer) => void = () => {};
    const response = new Promise<Res>((resolve, reject) => {
      onResponse = (err, value) => {
        if (err) reject(failureOf(prepared.action, err));
        else settle(resolve, reject, () => this.#decode(method.response, value!, prepared.action));
      };
    });
    response.catch(() => {}); // told again by finish() and by the failing write
    const call = prepared.client.makeClientStreamRequest<Buffer, Buffer>(
      method.path,
      asIs,
      asIs,
      prepared.metadata,
      prepared.options,
      (err, value) => {
        release();
        if (err) stream.fail(failureOf(prepared.action, err));
        onResponse(err, value);
      },
    );
    const stream = new MessageStream<never, Req>({
      ...streamParts(prepared.action, call),
      readable: null,
      writable: call,
      decode: null,
      encode: method.request.encode,
    });
    let aborted: { readonly reason: unknown } | null = null;
    const cancel = (reason?: unknown): void => {
      aborted ??= { reason: reason ?? new SkepError('cancelled', `${prepared.action}: cancelled`) };
      stream.cancel(aborted.reason);
    };
    const release = onAbort(options.signal, cancel);
    return {
      write: (message) => stream.write(message),
      drained: (signal) => stream.drained(signal),
      send: (message, signal) => stream.send(message, signal),
      cancel,
      finish: async () => {
        stream.end();
        try {
          return await response;
        } catch (err) {
          if (aborted) throw aborted.reason;
          throw err;
        }
      },
    };
  }

  /** A connected client and the call's parameters; the time spent connecting counts. */
  async #prepare(path: string, options: CallOptions, defaultTimeoutMs: number | null) {
    const { clock, address } = this.#options;
    options.signal?.throwIfAborted();
    const timeoutMs = options.timeoutMs ?? defaultTimeoutMs;
    const deadlineMs = timeoutMs === null ? null : clock.wallMs() + timeoutMs;
    const grpc = this.#grpc ?? (await loadGrpc());
    this.#grpc = grpc;
    const client = await this.#connect(grpc, timeoutMs, options.signal);
    const metadata = new grpc.Metadata();
    const forwarded = options.forwardedFor ? forwardingMetadata(options.forwardedFor) : {};
    for (const [key, value] of Object.entries({ ...options.metadata, ...forwarded })) {
      metadata.set(key, value);
    }
    const grpcOptions: GrpcCallOptions = deadlineMs === null ? {} : { deadline: deadlineMs };
    const action = `call ${path} at ${address}`;
    return { client, metadata, options: grpcOptions, action };
  }

  /**
   * Resolves when connected, or when gRPC knows why it cannot be (the call then fails at once with
   * the reason). grpc-js sets no limit to connecting: a SYN into a dead network would hold the
   * channel for two minutes, so that a hanging attempt is thrown away here.
   */
  async #connect(
    grpc: Grpc,
    timeoutMs: number | null,
    signal: AbortSignal | undefined,
  ): Promise<Client> {
    const { address, clock } = this.#options;
    const { IDLE, CONNECTING } = grpc.connectivityState;
    if (this.#closed) throw new SkepError('unavailable', `connect to ${address}: client is closed`);
    this.#client ??= this.#createClient(grpc);
    const client = this.#client;
    const connectMs = this.#options.connectTimeoutMs ?? CONNECT_TIMEOUT_MS;
    const limitMs = Math.min(connectMs, timeoutMs ?? Number.POSITIVE_INFINITY);
    const deadlineMs = clock.wallMs() + limitMs;
    for (;;) {
      const channel = client.getChannel();
      const state = channel.getConnectivityState(true);
      if (state !== IDLE && state !== CONNECTING) return client;
      const changed = await new Promise<boolean>((resolve, reject) => {
        const release = onAbort(signal, reject);
        channel.watchConnectivityState(state, deadlineMs, (err) => {
          release();
          resolve(err === undefined || err === null);
        });
      });
      if (!changed) {
        if (this.#client === client) this.reconnect();
        throw new SkepError(
          'unavailable',
          `connect to ${address}: no answer within ${limitMs} ms`,
          {
            details: { [EFFECT]: 'none' },
          },
        );
      }
    }
  }

  #createClient(grpc: Grpc): Client {
    const { address, credentials, serverName } = this.#options;
    const { keepalivePeriodMs = KEEPALIVE_PERIOD_MS } = this.#options;
    const { keepaliveTimeoutMs = KEEPALIVE_TIMEOUT_MS } = this.#options;
    return new grpc.Client(grpcTarget(address), credentials(grpc), {
      'grpc.ssl_target_name_override': serverName,
      'grpc.default_authority': serverName,
      'grpc.max_receive_message_length': MESSAGE_BYTES_MAX,
      'grpc.max_send_message_length': MESSAGE_BYTES_MAX,
      'grpc.keepalive_time_ms': keepalivePeriodMs,
      'grpc.keepalive_timeout_ms': keepaliveTimeoutMs,
      'grpc.initial_reconnect_backoff_ms': RECONNECT_BASE_MS,
      'grpc.max_reconnect_backoff_ms': RECONNECT_MAX_MS,
      'grpc.client_idle_timeout_ms': IDLE_TIMEOUT_MS,
      'grpc-node.flow_control_window': FLOW_CONTROL_WINDOW_BYTES,
      // Connections belong to this client alone, retries are our callers', proxies are for the web.
      'grpc.use_local_subchannel_pool': 1,
      'grpc.enable_retries': 0,
      'grpc.enable_http_proxy': 0,
      'grpc.service_config_disable_resolution': 1,
      'grpc.enable_channelz': 0,
    });
  }

  #decode<T>(codec: Codec<T>, bytes: Uint8Array, action: string): T {
    try {
      return codec.decode(bytes);
    } catch (cause) {
      throw new SkepError('internal', `${action}: decode the response`, { cause });
    }
  }
}

const asIs = (bytes: Buffer): Buffer => bytes;

/** What a call of grpc-js ended with, as the SkepError that it is. */
function failureOf(action: string, { code, details, metadata }: ServiceError): SkepError {
  const texts: Record<string, string> = {};
  for (const [name, value] of Object.entries(metadata?.getMap() ?? {})) texts[name] = String(value);
  return errorOfStatus(action, { code, details, metadata: texts });
}

function streamParts(action: string, call: SurfaceCall) {
  return {
    action,
    endMark: 'sent' as const,
    cancel: () => call.cancel(),
    failureOf: (err: unknown) => failureOf(action, err as ServiceError),
  };
}

function settle<T>(
  resolve: (value: T) => void,
  reject: (reason: unknown) => void,
  compute: () => T,
): void {
  try {
    resolve(compute());
  } catch (err) {
    reject(err);
  }
}

/** Calls `listener` with the reason on abort (also if aborted already); returns the release. */
function onAbort(signal: AbortSignal | undefined, listener: (reason: unknown) => void): () => void {
  if (!signal) return () => {};
  const abort = (): void => listener(signal.reason);
  if (signal.aborted) queueMicrotask(abort);
  else signal.addEventListener('abort', abort, { once: true });
  return () => signal.removeEventListener('abort', abort);
}

function grpcTarget(address: string): string {
  const { host } = splitHostPort(address);
  if (host.includes(':')) return `ipv6:${address}`;
  return /^\d+\.\d+\.\d+\.\d+$/.test(host) ? `ipv4:${address}` : `dns:${address}`;
}

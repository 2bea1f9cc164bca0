/**
 * The server's half of gRPC on HTTP/2 connections that others have accepted: which method a stream calls,
 * and whether the other end of a connection still lives. Calls are `GrpcCall`s.
 *
 * It takes the place of grpc-js's server, which makes a call cost half as much again: see
 * docs/decisions/0053.
 */
import {
  createServer,
  type Http2Server,
  type IncomingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2';
import type { TLSSocket } from 'node:tls';
import type { Clock } from '../base/clock.ts';
import { SkepError } from '../base/errors.ts';
import { GrpcCall, isGrpc } from './grpc-call.ts';
import {
  CALLS_PER_CONNECTION_MAX,
  FLOW_CONTROL_WINDOW_BYTES,
  KEEPALIVE_RARE_PERIOD_MS,
  KEEPALIVE_TIMEOUT_MS,
  SESSION_MEMORY_MB_MAX,
} from './limits.ts';
import type { ConnectionIdentity } from './peer.ts';

const UNSUPPORTED_MEDIA_TYPE = 415;
/** Of one block of headers: details of errors travel in the last one. */
const HEADER_BLOCK_BYTES_MAX = 1024 * 1024;

type ServeCall = (call: GrpcCall) => void;

export class GrpcServer {
  readonly #clock: Clock;
  readonly #http2: Http2Server;
  readonly #methods = new Map<string, ServeCall>();
  readonly #sessions = new Set<ServerHttp2Session>();

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#http2 = createServer({
      settings: {
        initialWindowSize: FLOW_CONTROL_WINDOW_BYTES,
        maxConcurrentStreams: CALLS_PER_CONNECTION_MAX,
      },
      maxSessionMemory: SESSION_MEMORY_MB_MAX,
      maxSendHeaderBlockLength: HEADER_BLOCK_BYTES_MAX,
    });
  }

  /** False when the path is served already. */
  register(path: string, serve: ServeCall): boolean {
    if (this.#methods.has(path)) return false;
    this.#methods.set(path, serve);
    return true;
  }

  unregister(path: string): void {
    this.#methods.delete(path);
  }

  /**
   * Serves the calls that come by a connection. One that is none of HTTP/2 is closed: it makes no session, and what
   * waited for it would take the next one's.
   */
  accept(socket: TLSSocket, identity: ConnectionIdentity): void {
    if (socket.alpnProtocol !== 'h2') {
      socket.destroy();
      return;
    }
    const begin = (session: ServerHttp2Session): void => this.#begin(session, identity);
    this.#http2.once('session', begin);
    this.#http2.emit('connection', socket); // makes the session, and tells of it, before it returns
    this.#http2.off('session', begin);
  }

  /** Breaks off every connection with its calls. */
  destroy(): void {
    for (const session of this.#sessions) session.destroy();
  }

  #begin(session: ServerHttp2Session, identity: ConnectionIdentity): void {
    this.#sessions.add(session);
    session.setLocalWindowSize(FLOW_CONTROL_WINDOW_BYTES);
    session.on('stream', (stream, headers) => this.#serve(stream, headers, identity));
    session.on('error', () => {}); // it closes, and its calls with it
    const pings = this.#clock.setPeriodic(KEEPALIVE_RARE_PERIOD_MS, () => this.#ping(session));
    session.on('close', () => {
      pings.cancel();
      this.#sessions.delete(session);
    });
  }

  #serve(
    stream: ServerHttp2Stream,
    headers: IncomingHttpHeaders,
    identity: ConnectionIdentity,
  ): void {
    if (!isGrpc(headers)) {
      stream.on('error', () => {});
      stream.respond({ ':status': UNSUPPORTED_MEDIA_TYPE }, { endStream: true });
      return;
    }
    const path = headers[':path'] ?? '';
    const call = new GrpcCall({ stream, headers, identity, clock: this.#clock });
    const serve = this.#methods.get(path);
    if (serve) serve(call);
    else call.fail(new SkepError('unimplemented', `call ${path}: it is not served`));
  }

  /** A connection whose other end does not answer is given up. */
  #ping(session: ServerHttp2Session): void {
    if (session.destroyed || session.closed) return;
    const timer = this.#clock.setTimer(KEEPALIVE_TIMEOUT_MS, () => session.destroy());
    const isSent = session.ping(() => timer.cancel());
    if (!isSent) timer.cancel(); // too many are under way, or it is closing
  }
}

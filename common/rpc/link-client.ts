/** The client's end of links: connects, checks the server's certificate, opens. */
import { connect, type PeerCertificate, type SecureContext, type TLSSocket } from 'node:tls';
import type { Clock, Timer } from '../base/clock.ts';
import { SkepError } from '../base/errors.ts';
import type { Frame } from './frames.ts';
import { KEEPALIVE_PERIOD_MS } from './limits.ts';
import { decodeMessage, LINK_PROTOCOL, type Link, LinkSocket } from './link.ts';
import { LinkStream } from './link-stream.ts';
import { splitHostPort } from './listener.ts';
import type { DuplexMethod, LinkMethod } from './method.ts';
import type { RpcStream } from './stream.ts';

export interface LinkClientOptions {
  /** `IP:port` or `name:port` */
  readonly address: string;
  readonly clock: Clock;
  readonly secureContext: SecureContext;
  /** name sent by SNI */
  readonly serverName: string;
  /** Runs after OpenSSL verified the chain. Returns what is wrong, or nothing. */
  readonly checkServer: (certificate: PeerCertificate) => Error | undefined;
  /** TCP, and TLS as well when it has no limit of its own */
  readonly connectTimeoutMs: number;
  /** TLS, once there is a TCP connection */
  readonly handshakeTimeoutMs?: number;
  /** breaks off connecting */
  readonly signal: AbortSignal;
}

/** Resolves when connected; whether the server takes the link is known by its end only. */
export async function openLink<In, Out>(
  method: LinkMethod<Out, In>,
  receive: (message: In) => void,
  options: LinkClientOptions,
): Promise<Link<Out>> {
  const { address, clock } = options;
  const action = `link ${method.path} to ${address}`;
  const take = (socket: TLSSocket): LinkSocket =>
    new LinkSocket({
      ...{ socket, clock, action },
      receive: ({ kind, body }) => {
        if (kind === 'message') receive(decodeMessage(method.response, body, action));
      },
    });
  const link = await connected(action, options, take);
  link.allowMessages();
  link.write('open', Buffer.from(method.path));
  return {
    write: (message) => link.write('message', method.request.encode(message)),
    drained: () => link.drained(),
    ended: link.ended,
    cancel: () => link.cancel(),
  };
}

/** As `openLink`; the other end's silence is for those who converse to judge, see `LinkSocket.stopWatch`. */
export async function openLinkStream<Req, Res>(
  method: DuplexMethod<Req, Res>,
  options: LinkClientOptions,
): Promise<RpcStream<Res, Req>> {
  const { address, clock } = options;
  const action = `call ${method.path} at ${address}`;
  const take = (socket: TLSSocket): { link: LinkSocket; stream: LinkStream<Res, Req> } => {
    const receive = (frame: Frame): void => stream.receive(frame);
    const link = new LinkSocket({ socket, clock, action, receive });
    const stream = new LinkStream<Res, Req>({
      ...{ action, link, incoming: method.response, outgoing: method.request },
      failureOf: (err) => err,
    });
    return { link, stream };
  };
  const { link, stream } = await connected(action, options, take);
  link.allowMessages();
  link.stopWatch();
  link.write('open', Buffer.from(method.path));
  return stream;
}

/** @param take has the socket at once: it may break right behind the handshake, before a promise settles */
async function connected<T>(
  action: string,
  options: LinkClientOptions,
  take: (socket: TLSSocket) => T,
): Promise<T> {
  const { address, clock, secureContext, serverName, checkServer, signal } = options;
  signal.throwIfAborted();
  const socket = connect({
    ...splitHostPort(address),
    secureContext,
    servername: serverName,
    checkServerIdentity: (_host, certificate) => checkServer(certificate),
    ALPNProtocols: [LINK_PROTOCOL],
  });
  socket.setKeepAlive(true, KEEPALIVE_PERIOD_MS); // where nobody speaks, the kernel finds the end that is gone
  socket.on('error', () => {}); // for good: told by those below, or told already
  return new Promise((resolve, reject) => {
    const limit = (limitMs: number): Timer =>
      clock.setTimer(limitMs, () =>
        fail(new SkepError('unavailable', `${action}: no answer within ${limitMs} ms`)),
      );
    let timer = limit(options.connectTimeoutMs);
    const onTcp = (): void => {
      if (options.handshakeTimeoutMs === undefined) return;
      timer.cancel();
      timer = limit(options.handshakeTimeoutMs);
    };
    const release = (): void => {
      timer.cancel();
      signal.removeEventListener('abort', onAbort);
      socket.off('connect', onTcp);
      socket.off('error', onError);
      socket.off('secureConnect', onConnect);
    };
    const fail = (reason: unknown): void => {
      release();
      socket.destroy();
      reject(reason);
    };
    const onAbort = (): void => fail(signal.reason);
    const onError = (cause: Error): void => fail(new SkepError('unavailable', action, { cause }));
    const onConnect = (): void => {
      if (socket.alpnProtocol === LINK_PROTOCOL) {
        release();
        resolve(take(socket));
      } else fail(new SkepError('unimplemented', `${action}: the other end knows no links`));
    };
    signal.addEventListener('abort', onAbort, { once: true });
    socket.once('error', onError);
    socket.once('connect', onTcp);
    socket.once('secureConnect', onConnect);
  });
}

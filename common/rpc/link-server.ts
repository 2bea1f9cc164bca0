/** The server's end of links: who may open one, and who hears what comes by it. */
import type { TLSSocket } from 'node:tls';
import type { Clock } from '../base/clock.ts';
import { SkepError } from '../base/errors.ts';
import type { OnFailure } from '../base/lifecycle.ts';
import type { Logger } from '../base/log.ts';
import type { Frame } from './frames.ts';
import { decodeMessage, type Link, LinkSocket } from './link.ts';
import type { LinkMethod } from './method.ts';
import type { ConnectionIdentity, Peer } from './peer.ts';
import { isFatal, isUnexpected } from './status.ts';

/** Hears one link. */
export interface LinkReceiver<In> {
  /** Messages in their order. What it throws ends the link, and the other end is told. */
  receive(message: In): void;
  /** The link is over, whoever ended it. */
  ended(): void;
}

export type LinkHandler<In, Out> = (link: ServedLink<Out>, peer: Peer) => LinkReceiver<In>;

export interface ServedLink<Out> extends Pick<Link<Out>, 'write'> {
  /** Ends well, after what was written; nothing more is received. Idempotent. */
  end(): void;
}

export interface LinkServerOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly onFailure: OnFailure;
  /** Throws when a connection may not use a method. */
  readonly admit: (method: LinkMethod<never, never>, identity: ConnectionIdentity) => void;
}

interface Served {
  readonly method: LinkMethod<never, never>;
  readonly open: (socket: LinkSocket, peer: Peer) => LinkReceiver<Buffer>;
}

export class LinkServer {
  readonly #options: LinkServerOptions;
  readonly #served = new Map<string, Served>();

  constructor(options: LinkServerOptions) {
    this.#options = options;
  }

  /** Serves a method; returns the release, after which links that are open go on. Throws when it is served already. */
  handle<In, Out>(method: LinkMethod<In, Out>, handler: LinkHandler<In, Out>): () => void {
    const { path, request, response } = method;
    if (this.#served.has(path)) {
      throw new SkepError('already-exists', `serve ${path}: it is served already`);
    }
    this.#served.set(path, {
      method: method as LinkMethod<never, never>,
      open: (socket, peer) => {
        const link: ServedLink<Out> = {
          write: (message) => socket.write('message', response.encode(message)),
          end: () => socket.end(),
        };
        const { receive, ended } = handler(link, peer);
        return { receive: (body) => receive(decodeMessage(request, body, `serve ${path}`)), ended };
      },
    });
    return () => this.#served.delete(path);
  }

  /** Takes a connection whose protocol is that of links. */
  accept(socket: TLSSocket, identity: ConnectionIdentity): void {
    const { clock, logger, onFailure } = this.#options;
    let receiver: LinkReceiver<Buffer> | null = null;
    const receive = (frame: Frame, link: LinkSocket): void => {
      try {
        if (receiver === null) receiver = this.#open(frame, link, identity);
        else if (frame.kind === 'message') receiver.receive(frame.body);
        else throw new SkepError('invalid-argument', `serve a link: a frame ${frame.kind}`);
      } catch (err) {
        if (isFatal(err)) onFailure(err);
        if (isUnexpected(err)) logger.error({ err }, 'link failed unexpectedly');
        throw err;
      }
    };
    const link = new LinkSocket({ socket, clock, action: 'serve a link', receive });
    const ended = (): void => receiver?.ended();
    void link.ended.then(ended, ended);
  }

  #open(frame: Frame, link: LinkSocket, identity: ConnectionIdentity): LinkReceiver<Buffer> {
    if (frame.kind !== 'open') {
      throw new SkepError('invalid-argument', 'serve a link: it begins without its method');
    }
    const path = frame.body.toString();
    const served = this.#served.get(path);
    if (served === undefined) {
      throw new SkepError('unimplemented', `serve ${path}: this node serves no such link`);
    }
    this.#options.admit(served.method, identity);
    link.allowMessages();
    return served.open(link, identity.peer);
  }
}

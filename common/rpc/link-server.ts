/** The server's end of links: who may open one, and who hears what comes by it. */
import type { TLSSocket } from 'node:tls';
import type { Clock } from '../base/clock.ts';
import { SkepError } from '../base/errors.ts';
import type { OnFailure } from '../base/lifecycle.ts';
import type { Logger } from '../base/log.ts';
import type { Frame } from './frames.ts';
import { decodeMessage, type Link, LinkSocket } from './link.ts';
import type { DuplexMethod, LinkMethod, MethodParts } from './method.ts';
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
  readonly admit: (method: ServedMethod, identity: ConnectionIdentity) => void;
}

type ServedMethod = Pick<
  MethodParts<never, never>,
  'path' | 'roles' | 'needsCurrentManager' | 'certificateIsEnough'
>;

/** Takes the frames of a link that is open. What it throws ends the link, and the other end is told. */
type FrameReceiver = Pick<LinkReceiver<Frame>, 'receive'> & Partial<LinkReceiver<Frame>>;

interface Served {
  readonly method: ServedMethod;
  readonly open: (socket: LinkSocket, identity: ConnectionIdentity) => FrameReceiver;
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
    return this.#serve({
      method,
      open: (socket, { peer }) => {
        const link: ServedLink<Out> = {
          write: (message) => socket.write('message', response.encode(message)),
          end: () => socket.end(),
        };
        const { receive, ended } = handler(link, peer);
        return {
          receive: ({ kind, body }) => {
            if (kind !== 'message') throw unexpected(kind);
            receive(decodeMessage(request, body, `serve ${path}`));
          },
          ended,
        };
      },
    });
  }

  /**
   * The same for conversations that `open` takes up, frame by frame; nobody is given up for silence, see
   * `LinkSocket.stopWatch`.
   */
  handleStream<In, Out>(
    method: DuplexMethod<In, Out>,
    open: (link: LinkSocket, identity: ConnectionIdentity) => FrameReceiver,
  ): () => void {
    return this.#serve({
      method,
      open: (socket, identity) => {
        socket.stopWatch();
        return open(socket, identity);
      },
    });
  }

  #serve(served: Served): () => void {
    const { path } = served.method;
    if (this.#served.has(path)) {
      throw new SkepError('already-exists', `serve ${path}: it is served already`);
    }
    this.#served.set(path, served);
    return () => this.#served.delete(path);
  }

  /** Takes a connection whose protocol is that of links. */
  accept(socket: TLSSocket, identity: ConnectionIdentity): void {
    const { clock, logger, onFailure } = this.#options;
    let receiver: FrameReceiver | null = null;
    const receive = (frame: Frame, link: LinkSocket): void => {
      try {
        if (receiver === null) receiver = this.#open(frame, link, identity);
        else receiver.receive(frame);
      } catch (err) {
        if (isFatal(err)) onFailure(err);
        if (isUnexpected(err)) logger.error({ err }, 'link failed unexpectedly');
        throw err;
      }
    };
    const link = new LinkSocket({ socket, clock, action: 'serve a link', receive });
    const ended = (): void => receiver?.ended?.();
    void link.ended.then(ended, ended);
  }

  #open(frame: Frame, link: LinkSocket, identity: ConnectionIdentity): FrameReceiver {
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
    return served.open(link, identity);
  }
}

function unexpected(kind: Frame['kind']): SkepError {
  return new SkepError('invalid-argument', `serve a link: a frame ${kind}`);
}

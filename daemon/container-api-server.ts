/**
 * This node's end of connections to its Engine API that come from other nodes: from managers, for its containers, and at a
 * manager from workers, for what they may read. Each is served with the routes for that and no others. Knows nothing of HTTP.
 */
import type { Duplex } from 'node:stream';
import { SkepError } from '../common/base/errors.ts';
import { containerApi } from '../common/rpc/node-methods.ts';
import type { RpcService } from '../common/rpc/server.ts';
import type { RpcStream } from '../common/rpc/stream.ts';
import { StreamDuplex } from '../common/rpc/stream-duplex.ts';
import { CONNECTIONS_MAX } from './engineapi/server.ts';

export interface ContainerApiServerOptions {
  /** Serves a connection until it is closed. */
  readonly accept: (connection: Duplex) => void;
  /** default: what managers call */
  readonly method?: typeof containerApi;
}

export class ContainerApiServer {
  readonly #options: ContainerApiServerOptions;
  #open = 0;

  constructor(options: ContainerApiServerOptions) {
    this.#options = options;
  }

  /** Returns the release, after which connections that are open go on. */
  register(server: Pick<RpcService, 'handleDuplex'>): () => void {
    const method = this.#options.method ?? containerApi;
    return server.handleDuplex(method, (stream, { signal }) => this.#serve(stream, signal));
  }

  async #serve(stream: RpcStream<Uint8Array, Uint8Array>, signal: AbortSignal): Promise<void> {
    if (this.#open >= CONNECTIONS_MAX) {
      throw new SkepError(
        'resource-exhausted',
        `connect to the Engine API of this node: ${CONNECTIONS_MAX} connections are open, which is the most`,
      );
    }
    const connection = new StreamDuplex(stream);
    const cut = (): void => void connection.destroy();
    const closed = new Promise<void>((resolve) => connection.once('close', () => resolve()));
    this.#open++;
    signal.addEventListener('abort', cut, { once: true });
    try {
      this.#options.accept(connection);
      await closed;
    } finally {
      signal.removeEventListener('abort', cut);
      this.#open--;
    }
  }
}

/** Which nodes have an image, as far as the store knows, and the order to all of them to take one. */
import { describeError } from '../common/base/errors.ts';
import type { TakeImageRequest } from '../common/model/blob.ts';
import { type ImageReference, parseImageReference } from '../common/model/image-reference.ts';
import type { Node } from '../common/model/node.ts';
import { takeImage, wantedImages } from '../common/rpc/image-methods.ts';
import type { RpcClients } from '../common/rpc/pool.ts';
import type { RpcService } from '../common/rpc/server.ts';
import type { Store } from './store/types.ts';

export interface ImageDistributionOptions {
  readonly store: Pick<Store, 'view'>;
  /** resolves when the store has what was written before the call */
  readonly readBarrier: (signal?: AbortSignal) => Promise<unknown>;
  readonly pool: Pick<RpcClients, 'client'>;
  /** this node */
  readonly nodeId: string;
  /** `IP:port` where the others reach it */
  readonly address: string;
}

export interface NodeAddress {
  readonly nodeId: string;
  readonly address: string;
}

/** What became of one node's order. */
export interface Distributed {
  readonly nodeId: string;
  readonly hostname: string;
  /** null = it has the image */
  readonly failure: string | null;
}

/** Nodes that take an image at once: each reads it from this node's disk. */
const NODES_AT_ONCE = 3;

export class ImageDistribution {
  readonly #options: ImageDistributionOptions;

  constructor(options: ImageDistributionOptions) {
    this.#options = options;
  }

  /** Serves what nodes ask of managers about images; returns the release. */
  register(server: Pick<RpcService, 'handleUnary'>): () => void {
    return server.handleUnary(wantedImages, async (_, { signal }) => ({
      images: await this.wanted(signal),
    }));
  }

  /**
   * Images of the services' specs, and of those that a rollback would bring back. Rejects (`no-leader`, `unavailable`) when
   * this manager may not know them all: who is not told of an image removes it.
   */
  async wanted(signal?: AbortSignal): Promise<string[]> {
    await this.#options.readBarrier(signal);
    const services = this.#options.store.view((view) => view.list('service'));
    const specs = services.flatMap(({ spec, previousSpec }) => [spec, previousSpec ?? spec]);
    return [...new Set(specs.map(({ task }) => task.container.image))];
  }

  /** Other nodes on which tasks with an image of this repository run. */
  holders(domain: string, path: string): NodeAddress[] {
    const { store, nodeId: self } = this.#options;
    return store.view((view) => {
      const nodeIds = new Set(
        view
          .list('service')
          .filter(({ spec }) => isOf(spec.task.container.image, domain, path))
          .flatMap(({ id }) => view.tasksByService(id))
          .filter(({ status }) => status.state === 'running')
          .map(({ nodeId }) => nodeId),
      );
      return [...nodeIds].flatMap((nodeId) => {
        const node = nodeId === null ? undefined : view.get('node', nodeId);
        return node && node.id !== self ? addressOf(node) : [];
      });
    });
  }

  /** Tells as each other node has the image, or why not. Nodes that are not ready are told of as such. */
  async *distribute(
    image: Pick<TakeImageRequest, 'manifestDigest' | 'tags'>,
    signal: AbortSignal,
  ): AsyncGenerator<Distributed> {
    const { store, nodeId } = this.#options;
    const nodes = store.view((view) => view.list('node')).filter(({ id }) => id !== nodeId);
    const waiting = [...nodes];
    const running = new Map<string, Promise<Distributed>>();
    for (;;) {
      while (running.size < NODES_AT_ONCE && waiting.length > 0) {
        const node = waiting.shift()!;
        running.set(node.id, this.#give(node, image, signal)); // never rejects
      }
      if (running.size === 0) return;
      const done = await Promise.race(running.values());
      running.delete(done.nodeId);
      signal.throwIfAborted();
      yield done;
    }
  }

  async #give(
    node: Node,
    image: Pick<TakeImageRequest, 'manifestDigest' | 'tags'>,
    signal: AbortSignal,
  ): Promise<Distributed> {
    const { pool, nodeId, address } = this.#options;
    const outcome = (failure: string | null): Distributed => {
      return { nodeId: node.id, hostname: node.description?.hostname ?? node.id, failure };
    };
    const [target] = addressOf(node);
    if (target === undefined || node.status.state !== 'ready') return outcome('node is not ready');
    try {
      const request = { ...image, source: { nodeId, address } };
      const stream = await pool
        .client(target.address, { nodeId: node.id })
        .serverStream(takeImage, request, { signal });
      const taken = await stream.next(signal);
      stream.cancel();
      return outcome(taken === null ? 'the node did not say that it has the image' : null);
    } catch (err) {
      return outcome(describeError(err));
    }
  }
}

function addressOf({ id, description }: Node): NodeAddress[] {
  return description?.address ? [{ nodeId: id, address: description.address }] : [];
}

function isOf(image: string, domain: string, path: string): boolean {
  let reference: ImageReference;
  try {
    reference = parseImageReference(image);
  } catch {
    return false; // the node will say so
  }
  return reference.domain === domain && reference.path === path;
}

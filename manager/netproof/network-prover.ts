/**
 * Whether the network of every node is as its tables say: asks each node to compare, and gathers the
 * answers. Runs on every manager; reads the store, writes nothing.
 */
import { describeError } from '../../common/base/errors.ts';
import type { NetworkProof } from '../../common/model/network-proof.ts';
import type { Node } from '../../common/model/node.ts';
import { verifyNetwork } from '../../common/rpc/node-methods.ts';
import type { RpcClients } from '../../common/rpc/pool.ts';
import type { Store } from '../store/types.ts';

/** A node with 500 tasks that are all wrong takes some seconds. */
const NODE_TIMEOUT_MS = 30_000;
/** Nodes that are asked at once. */
const ASKED_MAX = 16;

export type NodeProof =
  | { readonly node: Node; readonly kind: 'proof'; readonly proof: NetworkProof }
  /** it is not up, so it was not asked */
  | { readonly node: Node; readonly kind: 'down' }
  | { readonly node: Node; readonly kind: 'failed'; readonly reason: string };

export interface NetworkProverOptions {
  readonly store: Store;
  readonly pool: RpcClients;
}

export class NetworkProver {
  readonly #options: NetworkProverOptions;

  constructor(options: NetworkProverOptions) {
    this.#options = options;
  }

  /** Of all nodes, in the order of their host names. Rejects only when `signal` aborts. */
  async verify(repair: boolean, signal: AbortSignal): Promise<NodeProof[]> {
    const nodes = [...this.#options.store.view((view) => view.list('node'))].sort(byHostname);
    const proofs: NodeProof[] = [];
    for (let at = 0; at < nodes.length; at += ASKED_MAX) {
      const some = nodes.slice(at, at + ASKED_MAX);
      proofs.push(...(await Promise.all(some.map((node) => this.#ask(node, repair, signal)))));
    }
    return proofs;
  }

  async #ask(node: Node, repair: boolean, signal: AbortSignal): Promise<NodeProof> {
    const address = node.description?.address;
    if (node.status.state !== 'ready' || !address) return { node, kind: 'down' };
    try {
      const client = this.#options.pool.client(address, { nodeId: node.id });
      const options = { signal, timeoutMs: NODE_TIMEOUT_MS };
      return { node, kind: 'proof', proof: await client.unary(verifyNetwork, { repair }, options) };
    } catch (err) {
      signal.throwIfAborted();
      return { node, kind: 'failed', reason: describeError(err) };
    }
  }
}

function byHostname(a: Node, b: Node): number {
  const names = [a, b].map(({ id, description }) => description?.hostname ?? id);
  return (names[0] as string) < (names[1] as string) ? -1 : 1;
}

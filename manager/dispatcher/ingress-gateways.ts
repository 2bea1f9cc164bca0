/**
 * By which nodes connections to published ports enter with their client's address. In a cluster of very many nodes each
 * task would need a way back to every one of them: then some are chosen, by label. Kept by increments.
 */
import { INGRESS_LABEL } from '../../common/model/balancing.ts';
import type { NodeId } from '../../common/model/ids.ts';
import type { Node } from '../../common/model/node.ts';
import type { StoreChange } from '../store/types.ts';

/** Value of the label `com.skep.ingress` of a node that is chosen. */
const GATEWAY = 'gateway';

export class IngressGateways {
  /** empty = every node is one */
  readonly #chosen = new Set<NodeId>();

  constructor(nodes: readonly Node[]) {
    for (const node of nodes) this.#set(node);
  }

  /** Others are chosen: what enters by it gets its own address. */
  masquerades(nodeId: NodeId): boolean {
    return this.#chosen.size > 0 && !this.#chosen.has(nodeId);
  }

  /** True when nodes that did not change are gateways now, or no longer: with the first that is chosen, and the last. */
  follow(changes: readonly StoreChange[]): boolean {
    const anyBefore = this.#chosen.size > 0;
    for (const change of changes) {
      if (change.kind !== 'node') continue;
      if (change.action === 'remove') this.#chosen.delete(change.object.id);
      else this.#set(change.object);
    }
    return anyBefore !== this.#chosen.size > 0;
  }

  #set({ id, spec }: Node): void {
    if (spec.labels[INGRESS_LABEL] === GATEWAY) this.#chosen.add(id);
    else this.#chosen.delete(id);
  }
}

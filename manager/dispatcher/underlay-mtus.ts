/** What the links between nodes can carry: the lowest of what nodes tell, kept by increments. */
import type { NodeId } from '../../common/model/ids.ts';
import { UNDERLAY_MTU_MIN } from '../../common/model/network.ts';
import type { Node } from '../../common/model/node.ts';

/** Bytes; 0 = it does not tell, or nothing that can be. */
export function underlayMtuOf({ description }: Node): number {
  const told = description?.underlayMtu ?? 0;
  return told < UNDERLAY_MTU_MIN ? 0 : told;
}

export class UnderlayMtus {
  readonly #byNode = new Map<NodeId, number>();
  /** bytes -> how many nodes tell so */
  readonly #counts = new Map<number, number>();

  /** bytes; 0 = no node has told */
  get lowest(): number {
    return this.#counts.size === 0 ? 0 : Math.min(...this.#counts.keys());
  }

  /** @param mtu bytes; 0 = it does not tell, or is gone */
  set(nodeId: NodeId, mtu: number): void {
    const known = this.#byNode.get(nodeId) ?? 0;
    if (known === mtu) return;
    if (known > 0) this.#count(known, -1);
    if (mtu > 0) {
      this.#byNode.set(nodeId, mtu);
      this.#count(mtu, 1);
    } else {
      this.#byNode.delete(nodeId);
    }
  }

  #count(mtu: number, change: number): void {
    const count = (this.#counts.get(mtu) ?? 0) + change;
    if (count > 0) this.#counts.set(mtu, count);
    else this.#counts.delete(mtu);
  }
}

/**
 * Registrations of nodes on their way into the store, many in one transaction: a new leader has those of thousands at once,
 * and each transaction is a round of Raft, and a reaction of every room. Knows not when a node is to be registered.
 */
import type { Clock, Timer } from '../../common/base/clock.ts';
import { SkepError } from '../../common/base/errors.ts';
import type { NodeId } from '../../common/model/ids.ts';
import type { NodeDescription, NodeStatus } from '../../common/model/node.ts';
import type { Store, WriteTx } from '../store/types.ts';

/** What a connected node said of itself last, and from where. */
export interface NodeWords {
  readonly peerAddress: string;
  readonly description: NodeDescription;
}

/**
 * From the end of a write of several to the next one. Who comes alone does not wait; of a herd, 100 in a second at best, five
 * share a write.
 */
export const REST_MS = 50;

interface Waiting {
  readonly nodeId: NodeId;
  readonly words: NodeWords;
  readonly settle: (failure: unknown) => void;
}

/** INVARIANT: one write is under way at most, and of those that wait there is one for each session at most. */
export class Registrations {
  readonly #store: Store;
  readonly #clock: Clock;
  #waiting: Waiting[] = [];
  #rest: Timer | null = null;
  #writing = false;

  constructor(store: Store, clock: Clock) {
    this.#store = store;
    this.#clock = clock;
  }

  /**
   * Resolves when the node is stored as ready, with what it says of itself. Rejects with `not-found` for one that is not in
   * the cluster, or with the store's error.
   */
  write(nodeId: NodeId, words: NodeWords): Promise<void> {
    return new Promise((resolve, reject) => {
      const settle = (failure: unknown): void => (failure === null ? resolve() : reject(failure));
      this.#waiting.push({ nodeId, words, settle });
      this.#next();
    });
  }

  #next(): void {
    if (this.#writing || this.#rest !== null || this.#waiting.length === 0) return;
    const batch = this.#waiting;
    this.#waiting = [];
    this.#writing = true;
    void this.#flush(batch); // never rejects
  }

  async #flush(batch: readonly Waiting[]): Promise<void> {
    const missing = new Set<Waiting>();
    let failure: unknown = null;
    try {
      await this.#store.batch(batch, (tx, waiting) => {
        if (!register(tx, waiting)) missing.add(waiting);
        else missing.delete(waiting); // `batch` may run it again
      });
    } catch (err) {
      failure = err;
    }
    this.#writing = false;
    if (batch.length > 1) {
      this.#rest = this.#clock.setTimer(REST_MS, () => {
        this.#rest = null;
        this.#next();
      });
    }
    this.#next();
    for (const waiting of batch) {
      waiting.settle(missing.has(waiting) ? notRegistered(waiting.nodeId) : failure);
    }
  }
}

/** False when there is no such node. */
function register(tx: WriteTx, { nodeId, words }: Waiting): boolean {
  const node = tx.get('node', nodeId);
  if (!node) return false;
  const { description, peerAddress } = words;
  const status: NodeStatus = { state: 'ready', message: '', address: peerAddress };
  if (sameJson(node.description, description) && sameJson(node.status, status)) return true;
  tx.update('node', { ...node, description, status });
  return true;
}

function notRegistered(nodeId: NodeId): SkepError {
  return new SkepError('not-found', `agent session: node ${nodeId} not registered`);
}

export function sameJson(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}

/**
 * The managers that the leader named in this node's last session. What managers may do here is for these alone: the
 * certificate of one that was removed or demoted stays good for months.
 */
import type { ManagerPeer } from '../common/model/session.ts';

export class KnownManagers {
  readonly #left: (nodeId: string) => void;
  #ids: ReadonlySet<string> | null = null;
  #last: readonly ManagerPeer[] = [];

  /** @param left told of each node that is no manager any more */
  constructor(left: (nodeId: string) => void) {
    this.#left = left;
  }

  /** null until the first session: what an earlier life of the daemon was told may be long untrue. */
  has(nodeId: string): boolean | null {
    return this.#ids?.has(nodeId) ?? null;
  }

  /** Those of the last session; none before the first. */
  list(): readonly ManagerPeer[] {
    return this.#last;
  }

  /** What a session says; later sessions, later truths. */
  learn(managers: readonly ManagerPeer[]): void {
    if (managers.length === 0) return;
    this.#last = managers;
    const before = this.#ids ?? new Set<string>();
    this.#ids = new Set(managers.map(({ nodeId }) => nodeId));
    for (const nodeId of before) if (!this.#ids.has(nodeId)) this.#left(nodeId);
  }
}

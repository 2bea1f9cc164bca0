/**
 * Since when nothing hinders the managers: the same leader, not stopped, who can talk with a majority of
 * the group, and no connection that breaks. Only what goes on in calm can be judged by the clock.
 */
import type { Host } from './host.ts';
import type { ClusterWorld } from './world.ts';

export class Calm {
  readonly #world: ClusterWorld;
  #sinceMs = 0;
  #leader: Host | null = null;
  #leaderLife = 0;

  constructor(world: ClusterWorld) {
    this.#world = world;
  }

  get leader(): Host | null {
    return this.#leader;
  }

  get sinceMs(): number {
    return this.#sinceMs;
  }

  /** To be called before it is asked. True when another one leads now. */
  look(): boolean {
    const { clock, wires } = this.#world;
    const leader = this.#world.leader();
    const isSame = leader === this.#leader && leader?.life === this.#leaderLife;
    const isCalm = isSame && leader !== null && !leader.paused && this.#hasMajority(leader);
    this.#leader = leader;
    this.#leaderLife = leader?.life ?? 0;
    if (!isCalm || wires.brokenMs > this.#sinceMs) this.#sinceMs = clock.nowMs;
    return !isSame;
  }

  #hasMajority(leader: Host): boolean {
    const { wires } = this.#world;
    const members = new Set(leader.daemon?.manager?.members().map(({ nodeId }) => nodeId));
    const isWith = (other: Host): boolean => {
      if (!members.has(other.nodeId) || !other.isUp || other.paused) return false;
      return !wires.isCut(leader.id, other.id) && !wires.isCut(other.id, leader.id);
    };
    return [...this.#world.hosts.values()].filter(isWith).length > members.size / 2;
  }
}

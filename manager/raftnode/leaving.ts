/**
 * How a node learns that it is no member any more, and when it may stop. Knows no log.
 */
import type { Logger } from '../../common/base/log.ts';
import { NO_NODE } from '../raft/types.ts';
import { Departure } from './departure.ts';
import type { Leadership } from './leadership.ts';
import type { MemberView } from './member-view.ts';
import type { NodeLife } from './node-life.ts';

export interface LeavingOptions {
  readonly electionTicks: () => number;
  readonly life: NodeLife;
  readonly view: MemberView;
  readonly leadership: Leadership;
  readonly log: Logger;
  /** Sends every peer an empty batch: one that knows this node as removed says so. */
  readonly greet: () => void;
  /** This node has applied its own removal; it is to go on voting. */
  readonly left: () => void;
  /** Nobody needs this node any more. */
  readonly removed: () => void;
}

export class Leaving {
  readonly #options: LeavingOptions;
  readonly #departure: Departure;
  #ticks = 0;

  constructor(options: LeavingOptions) {
    this.#options = options;
    this.#departure = new Departure({ patienceTicks: () => 5 * options.electionTicks() });
  }

  tick(): void {
    this.#ticks++;
    this.#ask();
    this.#endIfOver();
  }

  /** The peer `by` says that this node was removed. */
  told(by: number): void {
    this.#departure.tell(by, this.#ticks);
    this.#endIfOver();
  }

  /** This node has applied its own removal; others may yet need its vote to do the same. */
  leave(): void {
    const { life, left } = this.#options;
    if (life.state !== 'running') return;
    life.leave();
    left();
    this.#endIfOver();
  }

  /**
   * A learner never campaigns, and one that leaves asks nobody for votes: they would not hear that
   * they were removed.
   */
  #ask(): void {
    const { life, view, leadership, greet } = this.#options;
    const electionTicks = this.#options.electionTicks();
    const isLeaving = life.state === 'leaving' || this.#departure.isTold;
    const periodTicks = isLeaving ? Math.ceil(electionTicks / 2) : 2 * electionTicks;
    if (this.#ticks % periodTicks !== 0) return;
    const { leader } = leadership.soft; // a learner keeps the last one that it knew
    const isAlone = leader === NO_NODE || !view.isReachable(leader);
    if (isLeaving || isAlone) greet();
  }

  #endIfOver(): void {
    const { life, view, log, removed } = this.#options;
    if (!life.isMember || !this.#departure.isOver(view.others, this.#ticks)) return;
    log.warn({}, 'this manager was removed from the cluster');
    life.removed();
    removed();
  }
}

/**
 * A follower whose leader's stream broke off does not wait for an election timeout: it forgets the
 * leader, so that it may vote, and campaigns soon, by a pre-vote. Knows when, not what an election is.
 *
 * Nothing rests on the break meaning what it seems to. While the leader lives, those that still hear it
 * ignore the pre-vote, no term is raised, and its next heartbeat makes this node a follower again.
 * When its process died, all of them lost it at the same moment. A leader that vanished with its host
 * breaks no stream: then the election timeout tells.
 */
import type { Clock, Timer } from '../../common/base/clock.ts';
import type { RawNode } from '../raft/raw-node.ts';
import { NO_NODE } from '../raft/types.ts';
import type { Leadership } from './leadership.ts';
import type { MemberView } from './member-view.ts';
import type { NodeLife } from './node-life.ts';

/** Until the first one campaigns: by then the others know of the loss too. */
const FIRST_MS = 30;
/**
 * From one to the next, in the order of ids: two that campaign at once may split the votes, and then only
 * the election timeout helps. Two rounds of messages and two flushes fit in.
 */
const STEP_MS = 150;

export interface LeaderLossOptions {
  readonly raftId: number;
  readonly raw: RawNode;
  readonly life: NodeLife;
  readonly view: MemberView;
  readonly leadership: Leadership;
  readonly clock: Clock;
  /** A second break within this is not believed: streams that break again and again tell of the link. */
  readonly quietMs: number;
  /** The core has something to do. */
  readonly wake: () => void;
}

/** INVARIANT: at most one leader is given up early in `quietMs`, and none twice in its term. */
export class LeaderLoss {
  readonly #options: LeaderLossOptions;
  #timer: Timer | null = null;
  #believedMs = Number.NEGATIVE_INFINITY;
  #believedTerm = 0;

  constructor(options: LeaderLossOptions) {
    this.#options = options;
  }

  /** The stream of messages from `raftId` broke off. */
  told(raftId: number): void {
    const { raw, view, leadership, clock, wake } = this.#options;
    if (raftId !== leadership.soft.leader || leadership.isLeader) return;
    const now = clock.monotonicMs();
    const { term } = raw.basicStatus();
    if (term === this.#believedTerm || now - this.#believedMs < this.#options.quietMs) return;
    this.#believedMs = now;
    this.#believedTerm = term;
    raw.forgetLeader();
    wake();
    const { voters } = view.confState;
    const order = voters.filter((id) => id !== raftId).sort((a, b) => a - b);
    const rank = order.indexOf(this.#options.raftId);
    if (rank < 0) return; // a learner
    this.#timer?.cancel();
    this.#timer = clock.setTimer(FIRST_MS + rank * STEP_MS, () => this.#campaign());
  }

  stop(): void {
    this.#timer?.cancel();
  }

  #campaign(): void {
    const { raw, life, leadership, wake } = this.#options;
    life.guarded(() => {
      if (leadership.soft.leader !== NO_NODE) return; // it is back, or another leads
      raw.campaign();
      wake();
    });
  }
}

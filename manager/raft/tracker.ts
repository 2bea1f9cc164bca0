/**
 * The membership in force and, per member, the leader's knowledge; plus the votes of the election
 * under way. Decides nothing about sending.
 */
import { type InflightLimits, Progress } from './progress.ts';
import {
  committedIndex,
  type JointVoters,
  sortedIds,
  type VoteResult,
  voteResult,
} from './quorum.ts';
import type { ConfState, NodeId } from './types.ts';

/**
 * Who belongs to the cluster and how.
 *
 * Invariants: learners and voters (of either half) are disjoint; `learnersNext` is part of the
 * outgoing voters; unless joint, the outgoing voters and `learnersNext` are empty and `autoLeave` is
 * false.
 */
export interface Membership {
  readonly voters: JointVoters;
  readonly learners: ReadonlySet<NodeId>;
  /** See `ConfState.learnersNext`. They stay voters until the joint configuration is left. */
  readonly learnersNext: ReadonlySet<NodeId>;
  readonly autoLeave: boolean;
}

export const NO_MEMBERS: Membership = {
  voters: { incoming: new Set(), outgoing: new Set() },
  learners: new Set(),
  learnersNext: new Set(),
  autoLeave: false,
};

export function isJoint(membership: Membership): boolean {
  return membership.voters.outgoing.size > 0;
}

export function confStateOf(membership: Membership): ConfState {
  return {
    voters: sortedIds(membership.voters.incoming),
    learners: sortedIds(membership.learners),
    votersOutgoing: sortedIds(membership.voters.outgoing),
    learnersNext: sortedIds(membership.learnersNext),
    autoLeave: membership.autoLeave,
  };
}

export type ProgressMap = ReadonlyMap<NodeId, Progress>;

export class Tracker {
  readonly limits: InflightLimits;
  #membership: Membership = NO_MEMBERS;
  /** Ascending by id, so that messages go out in a stable order. */
  #progress: Map<NodeId, Progress> = new Map();
  #votes: Map<NodeId, boolean> = new Map();

  constructor(limits: InflightLimits) {
    this.limits = limits;
  }

  get membership(): Membership {
    return this.#membership;
  }

  get progress(): ProgressMap {
    return this.#progress;
  }

  get(id: NodeId): Progress | undefined {
    return this.#progress.get(id);
  }

  switchTo(membership: Membership, progress: ProgressMap): void {
    this.#membership = membership;
    this.#progress = new Map([...progress].sort(([a], [b]) => a - b));
  }

  /** Forgets all that was known of the members; nobody matches anything but ourselves. */
  resetProgress(self: NodeId, lastIndex: number): void {
    for (const [id, { isLearner }] of this.#progress) {
      this.#progress.set(
        id,
        new Progress({
          match: id === self ? lastIndex : 0,
          next: lastIndex + 1,
          isLearner,
          recentActive: false,
          limits: this.limits,
        }),
      );
    }
  }

  isVoter(id: NodeId): boolean {
    const { incoming, outgoing } = this.#membership.voters;
    return incoming.has(id) || outgoing.has(id);
  }

  /** One voter only, thus its word is a quorum. */
  get isSingleton(): boolean {
    const { incoming, outgoing } = this.#membership.voters;
    return incoming.size === 1 && outgoing.size === 0;
  }

  /** Highest index that a quorum holds; Infinity without voters. */
  committedIndex(): number {
    return committedIndex(this.#membership.voters, (id) => this.#progress.get(id)?.match);
  }

  /** A quorum was heard since the last check. */
  quorumActive(): boolean {
    const active = new Map<NodeId, boolean>();
    for (const [id, progress] of this.#progress) {
      if (!progress.isLearner) active.set(id, progress.recentActive);
    }
    return voteResult(this.#membership.voters, active) === 'won';
  }

  resetVotes(): void {
    this.#votes = new Map();
  }

  /** The first vote of a member counts; later ones are ignored. */
  recordVote(id: NodeId, granted: boolean): void {
    if (!this.#votes.has(id)) this.#votes.set(id, granted);
  }

  /** The counts are for people; the result alone decides. */
  tallyVotes(): { granted: number; rejected: number; result: VoteResult } {
    let granted = 0;
    let rejected = 0;
    for (const [id, progress] of this.#progress) {
      if (progress.isLearner) continue;
      const vote = this.#votes.get(id);
      if (vote === true) granted++;
      else if (vote === false) rejected++;
    }
    return { granted, rejected, result: voteResult(this.#membership.voters, this.#votes) };
  }
}

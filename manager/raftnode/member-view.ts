/**
 * The members as this node sees them now: what the log says, and what was heard since. Knows no
 * streams; time is a count of ticks.
 */
import { assert } from '../../common/base/assert.ts';
import { SkepError } from '../../common/base/errors.ts';
import { type AnyConfChange, type ConfState, NO_NODE } from '../raft/types.ts';
import {
  decodeMember,
  type MemberRecord,
  type Membership,
  quorumLoss,
  type RaftMember,
} from './membership.ts';
import { type PeerAddress, RemovedMemberError } from './peer-transport.ts';

export interface MemberViewOptions {
  readonly self: PeerAddress;
  readonly membership: Membership;
  readonly confState: ConfState;
  /** A member that was silent for longer counts as unreachable. */
  readonly silenceTicksMax: () => number;
}

export class MemberView {
  readonly #options: MemberViewOptions;
  #membership: Membership;
  #confState: ConfState;
  #ticks = 0;
  /** Index of each removal applied in this life. */
  readonly #removedAt = new Map<number, number>();
  /** Tick of the last message, by sender. */
  readonly #lastHeard = new Map<number, number>();
  /** Where senders say they are, when membership does not (yet) say the same. */
  readonly #observed = new Map<number, string>();

  constructor(options: MemberViewOptions) {
    this.#options = options;
    this.#membership = options.membership;
    this.#confState = options.confState;
  }

  get membership(): Membership {
    return this.#membership;
  }

  get confState(): ConfState {
    return this.#confState;
  }

  /** True once this node has applied its own removal. */
  get isSelfRemoved(): boolean {
    return this.#membership.removed.has(this.#options.self.raftId);
  }

  /** The only voter, so that there is nobody to wait for. */
  get isSelfAlone(): boolean {
    const { voters } = this.#confState;
    return voters.length === 1 && voters[0] === this.#options.self.raftId;
  }

  /** True while a majority of the voters was heard within `silenceTicksMax`. */
  get hearsMajority(): boolean {
    return quorumLoss(this.#confState.voters, (raftId) => this.isReachable(raftId)) === null;
  }

  get isSelfLearner(): boolean {
    return this.#confState.learners.includes(this.#options.self.raftId);
  }

  /** Voters with lower ids than this node's. */
  get rank(): number {
    return this.#confState.voters.filter((id) => id < this.#options.self.raftId).length;
  }

  /** Voters beside this node; before the first snapshot, whom it was told of. */
  get others(): readonly number[] {
    const { voters } = this.#confState;
    const known = voters.length > 0 ? voters : [...this.#membership.members.keys()];
    return known.filter((raftId) => raftId !== this.#options.self.raftId);
  }

  tick(): void {
    this.#ticks++;
  }

  /** A committed change, in force as `confState`. */
  apply(change: AnyConfChange, index: number, confState: ConfState): void {
    this.#confState = confState;
    for (const { type, nodeId } of change.kind === 'v1' ? [change] : change.changes) {
      if (nodeId === NO_NODE) continue;
      this.#observed.delete(nodeId);
      if (type === 'remove') {
        this.#membership = this.#membership.withoutMember(nodeId);
        this.#removedAt.set(nodeId, index);
      } else if (change.context.length > 0) {
        this.#membership = this.#membership.withMember(decodeMember(change.context));
      }
    }
  }

  /** What a snapshot says. */
  replace(membership: Membership, confState: ConfState): void {
    this.#membership = membership;
    this.#confState = confState;
  }

  /**
   * False for a sender whose messages are to be dropped. Throws `RemovedMemberError` once its removal
   * outlasts a restart of this node: it may rely on that and never vote again.
   */
  admit({ raftId }: PeerAddress, durableCommit: number): boolean {
    if (!this.#membership.removed.has(raftId)) return true;
    const removedAt = this.#removedAt.get(raftId) ?? 0;
    if (removedAt <= durableCommit) throw new RemovedMemberError(raftId);
    return false;
  }

  /** Throws `permission-denied` for a node that says it is the member that another node is. */
  identify({ raftId }: PeerAddress, nodeId: string): void {
    const record = this.#membership.members.get(raftId);
    if (record === undefined || record.nodeId === nodeId) return;
    throw new SkepError(
      'permission-denied',
      `accept raft messages of ${raftId.toString(16)}: that is node ${record.nodeId}, the sender is node ${nodeId}`,
    );
  }

  /** A message came. True when the sender is at an address that was not known. */
  hear({ raftId, address }: PeerAddress): boolean {
    this.#lastHeard.set(raftId, this.#ticks);
    const known = this.#observed.get(raftId) ?? this.#membership.members.get(raftId)?.address;
    if (known === address) return false;
    this.#observed.set(raftId, address);
    return true;
  }

  isReachable(raftId: number): boolean {
    if (raftId === this.#options.self.raftId) return true;
    const heard = this.#lastHeard.get(raftId);
    return heard !== undefined && this.#ticks - heard <= this.#options.silenceTicksMax();
  }

  /** Whom to send to, and where. */
  peers(): PeerAddress[] {
    const addresses = new Map<number, string>();
    for (const { raftId, address } of this.#membership.members.values()) {
      addresses.set(raftId, address);
    }
    for (const [raftId, address] of this.#observed) addresses.set(raftId, address);
    addresses.delete(this.#options.self.raftId);
    return [...addresses].map(([raftId, address]) => ({ raftId, address }));
  }

  /** Members that are somewhere else than membership says, as they should be recorded. */
  moved(): MemberRecord[] {
    const { self } = this.#options;
    const seen = new Map([...this.#observed, [self.raftId, self.address]]);
    return [...this.#membership.members.values()].flatMap((record) => {
      const address = seen.get(record.raftId) ?? record.address;
      return address === record.address ? [] : [{ ...record, address }];
    });
  }

  /** Null for a node that is no member. */
  describe(raftId: number, leader: number): RaftMember | null {
    const record = this.#membership.members.get(raftId);
    if (record === undefined) return null;
    return {
      ...record,
      learner: this.#confState.learners.includes(raftId),
      reachable: this.isReachable(raftId),
      leader: raftId === leader,
    };
  }

  /** Ascending by raft id. */
  list(leader: number): RaftMember[] {
    return [...this.#membership.members.keys()]
      .sort((a, b) => a - b)
      .map((raftId) => {
        const member = this.describe(raftId, leader);
        assert(member !== null, 'a member describes itself');
        return member;
      });
  }
}

/**
 * Changes of membership on the leader: one at a time, refused when the cluster would stand still.
 * Decides and proposes; what is in force it is told. Knows no disk and no streams.
 */
import { SkepError } from '../../common/base/errors.ts';
import { confChange } from '../raft/conf-change.ts';
import type { Status } from '../raft/status.ts';
import type { ConfChange } from '../raft/types.ts';
import type { MemberView } from './member-view.ts';
import { encodeMember, type MemberRecord, quorumLoss } from './membership.ts';

/** A learner that is at most this many entries behind the commit index has caught up. */
const PROMOTE_LAG_ENTRIES = 100;

export interface MemberChangesOptions {
  readonly view: MemberView;
  /** Resolves when the change is applied here; rejects as `RaftNode.propose`. */
  readonly propose: (change: ConfChange, signal?: AbortSignal) => Promise<unknown>;
}

export class MemberChanges {
  readonly #options: MemberChangesOptions;
  /** INVARIANT: one change at a time is proposed and waited for. */
  #last: Promise<unknown> = Promise.resolve();
  #promoting = false;

  constructor(options: MemberChangesOptions) {
    this.#options = options;
  }

  /**
   * Adds a learner; it is promoted later, see `promote`. Resolves at once for a member that is known
   * with the same address. Throws `failed-precondition` for a removed id, `already-exists` when id
   * or node are taken.
   */
  add(member: MemberRecord, signal?: AbortSignal): Promise<void> {
    return this.#inTurn(async () => {
      const { members, removed } = this.#options.view.membership;
      const action = `add manager ${member.nodeId}`;
      const known = members.get(member.raftId);
      if (known?.nodeId === member.nodeId && known.address === member.address) return;
      if (removed.has(member.raftId)) {
        throw new SkepError(
          'failed-precondition',
          `${action}: raft id ${member.raftId.toString(16)} was removed and is not used again`,
        );
      }
      const taken = [...members.values()].find(
        ({ raftId, nodeId }) => raftId === member.raftId || nodeId === member.nodeId,
      );
      if (taken !== undefined) {
        throw new SkepError(
          'already-exists',
          `${action}: ${taken.nodeId} is a manager already, with raft id ${taken.raftId.toString(16)}`,
        );
      }
      await this.#options.propose(
        confChange('add-learner', member.raftId, encodeMember(member)),
        signal,
      );
    });
  }

  /** Throws `not-found`, or `failed-precondition` when no majority would be left. */
  remove(raftId: number, signal?: AbortSignal): Promise<void> {
    return this.#inTurn(async () => {
      const { view, propose } = this.#options;
      const action = `remove manager ${raftId.toString(16)}`;
      if (!view.membership.members.has(raftId)) {
        throw new SkepError('not-found', `${action}: no such member`);
      }
      const { voters: present } = view.confState;
      const voters = present.filter((id) => id !== raftId);
      if (voters.length === 0) {
        throw new SkepError('failed-precondition', `${action}: it is the last manager`);
      }
      const isReachable = (id: number): boolean => view.isReachable(id);
      const loss = present.includes(raftId) ? quorumLoss(voters, isReachable) : null;
      if (loss !== null) {
        throw new SkepError('failed-precondition', `${action}: it would lose the quorum: ${loss}`);
      }
      await propose(confChange('remove', raftId), signal);
    });
  }

  /** Changes address or node id. Throws `not-found`. */
  update(member: MemberRecord, signal?: AbortSignal): Promise<void> {
    return this.#inTurn(async () => {
      const known = this.#options.view.membership.members.get(member.raftId);
      if (known === undefined) {
        throw new SkepError(
          'not-found',
          `update manager ${member.raftId.toString(16)}: no such member`,
        );
      }
      if (known.nodeId === member.nodeId && known.address === member.address) return;
      await this.#options.propose(
        confChange('update', member.raftId, encodeMember(member)),
        signal,
      );
    });
  }

  /**
   * Gives a vote to a learner that has caught up, if the majority is reachable with it counted in.
   * To be called on the leader from time to time; returns a promise only when it proposed.
   * @param status asked again when the turn of the change comes: others before it may take long
   */
  promote(status: () => Status, signal: AbortSignal): Promise<void> | null {
    if (this.#promoting || this.#promotable(status()) === null) return null;
    this.#promoting = true;
    return this.#inTurn(async () => {
      try {
        const record = this.#promotable(status());
        if (record === null) return;
        const change = confChange('add-voter', record.raftId, encodeMember(record));
        await this.#options.propose(change, signal);
      } finally {
        this.#promoting = false;
      }
    });
  }

  /** A learner that may get its vote now. */
  #promotable({ confState, progress, commit }: Status): MemberRecord | null {
    const { view } = this.#options;
    const isReachable = (id: number): boolean => view.isReachable(id);
    const { voters, learners } = confState;
    const ready = learners.find((id) => {
      const one = progress.get(id);
      const caughtUp = one?.state === 'replicate' && one.match + PROMOTE_LAG_ENTRIES >= commit;
      return caughtUp && isReachable(id) && quorumLoss([...voters, id], isReachable) === null;
    });
    return ready === undefined ? null : (view.membership.members.get(ready) ?? null);
  }

  #inTurn(work: () => Promise<void>): Promise<void> {
    const turn = this.#last.then(work);
    this.#last = turn.catch(() => {}); // told to the caller of this turn
    return turn;
  }
}

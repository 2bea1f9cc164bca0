/** What a disk must hold, and what its owner must notice. */
import { SkepError } from '../../../common/base/errors.ts';
import { NO_NODE } from '../../../manager/raft/types.ts';
import { type Checker, expect } from '../checker.ts';
import type { Machine } from '../machine.ts';

export class ReplayIsMemory implements Checker {
  readonly number = 12;
  readonly name = 'after a crash a node knows what was durable';

  restarted({ raftId, node, truth, damage }: Machine): void {
    const { term, vote, commit, lastIndex } = node!.core.basicStatus();
    const { hardState } = truth;
    // A flush that was kept although not synced may hold the vote that nobody heard of.
    const isSameVote = vote === hardState.vote || (hardState.vote === NO_NODE && truth.wasWriting);
    const isVoteKept = term > hardState.term || (term === hardState.term && isSameVote);
    expect(isVoteKept, () => {
      return `${raftId} comes back in term ${term} with vote ${vote}; on disk were ${hardState.term} and ${hardState.vote}`;
    });
    // What a damaged snapshot alone told to be committed has to be heard anew; its entries must be there.
    expect(commit >= hardState.commit || damage === 'snapshot-rot', () => {
      return `${raftId} comes back with commit ${commit}; on disk was ${hardState.commit}`;
    });
    // A flush that was kept although not synced may have replaced what was not committed.
    const replacedFrom = truth.wasWriting ? hardState.commit + 1 : Number.POSITIVE_INFINITY;
    const last = truth.wasWriting ? truth.lastIndex : Math.max(lastIndex, truth.lastIndex);
    for (let index = last; index > truth.mark.index; index--) {
      const own = node!.core.logTerm(index);
      if (own === 'compacted') return;
      const there = truth.term(index);
      expect(own === (there ?? 'unavailable') || index >= replacedFrom, () => {
        return `${raftId} comes back with a log to ${lastIndex}, term ${own} at ${index}; on disk was ${there}`;
      });
    }
  }

  refused({ raftId, damage }: Machine, err: unknown): void {
    expect(damage !== null, () => `${raftId} does not start after a crash: ${String(err)}`);
  }
}

export class DamageIsNoticed implements Checker {
  readonly number = 17;
  readonly name = 'damaged data is refused by name';

  restarted({ raftId, damage }: Machine): void {
    expect(damage !== 'rot', () => `${raftId} starts although its log is damaged`);
  }

  refused({ raftId, damage }: Machine, err: unknown): void {
    if (damage !== 'rot' && damage !== 'snapshot-rot') return;
    const isNamed = err instanceof SkepError && err.code === 'data-loss';
    expect(isNamed, () => `${raftId} refuses its damaged data with: ${String(err)}`);
  }
}

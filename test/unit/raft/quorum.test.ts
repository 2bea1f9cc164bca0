/** Quorums against definitions spelled out by brute force. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  committedIndex,
  EVERYTHING,
  majorityCommittedIndex,
  majorityVoteResult,
  voteResult,
} from '../../../manager/raft/quorum.ts';
import type { NodeId } from '../../../manager/raft/types.ts';

const ids = fc.uniqueArray(fc.integer({ min: 1, max: 9 }), { maxLength: 7 });
const acks = fc.dictionary(fc.constantFrom(...'123456789'), fc.integer({ min: 0, max: 12 }));
const ballots = fc.dictionary(fc.constantFrom(...'123456789'), fc.boolean());

/** The highest index that more than half of the voters have. */
function bruteForceIndex(voters: readonly NodeId[], acked: Record<string, number>): number {
  if (voters.length === 0) return EVERYTHING;
  let best = 0;
  for (let index = 1; index <= 12; index++) {
    const holders = voters.filter((id) => (acked[id] ?? 0) >= index).length;
    if (holders * 2 > voters.length) best = index;
  }
  return best;
}

/** Tries both ends for all who have not voted yet. */
function bruteForceVote(voters: readonly NodeId[], votes: Record<string, boolean>): string {
  const outcome = (missing: boolean): boolean =>
    voters.filter((id) => votes[id] ?? missing).length * 2 > voters.length || voters.length === 0;
  if (outcome(false)) return 'won';
  return outcome(true) ? 'pending' : 'lost';
}

function toVotes(votes: Record<string, boolean>): Map<NodeId, boolean> {
  return new Map(Object.entries(votes).map(([id, vote]) => [Number(id), vote]));
}

describe('raft quorum', () => {
  test('commits what more than half of the voters hold', () => {
    fc.assert(
      fc.property(ids, acks, (voters, acked) => {
        const index = majorityCommittedIndex(new Set(voters), (id) => acked[id]);
        expect(index).toBe(bruteForceIndex(voters, acked));
      }),
    );
  });

  test('a joint quorum commits what both halves commit', () => {
    fc.assert(
      fc.property(ids, ids, acks, (incoming, outgoing, acked) => {
        const voters = { incoming: new Set(incoming), outgoing: new Set(outgoing) };
        const both = [incoming, outgoing].map((half) => bruteForceIndex(half, acked));
        expect(committedIndex(voters, (id) => acked[id])).toBe(Math.min(...both));
      }),
    );
  });

  test('a vote is decided once the missing votes cannot change it', () => {
    fc.assert(
      fc.property(ids, ballots, (voters, votes) => {
        const result = majorityVoteResult(new Set(voters), toVotes(votes));
        expect(result).toBe(bruteForceVote(voters, votes));
      }),
    );
  });

  test('a joint vote is won by winning both halves and lost by losing one', () => {
    fc.assert(
      fc.property(ids, ids, ballots, (incoming, outgoing, votes) => {
        const voters = { incoming: new Set(incoming), outgoing: new Set(outgoing) };
        const halves = [incoming, outgoing].map((half) => bruteForceVote(half, votes));
        const expected = halves.includes('lost')
          ? 'lost'
          : halves.includes('pending')
            ? 'pending'
            : 'won';
        expect(voteResult(voters, toVotes(votes))).toBe(expected);
      }),
    );
  });
});

/**
 * Majorities and pairs of majorities as pure functions of votes and acknowledged indexes. Knows
 * neither logs nor messages.
 */
import type { NodeId } from './types.ts';

/** Who decides by majority. */
export type Voters = ReadonlySet<NodeId>;

/**
 * The voters in force, and those of the configuration being left (empty unless joint). Decisions
 * need both majorities.
 */
export interface JointVoters {
  readonly incoming: Voters;
  readonly outgoing: Voters;
}

export type VoteResult = 'pending' | 'lost' | 'won';

/** The highest index that a voter is known to hold durably; undefined = nothing heard. */
export type AckedIndex = (voter: NodeId) => number | undefined;

/** What an empty majority commits; makes it neutral as one half of a pair. */
export const EVERYTHING = Number.POSITIVE_INFINITY;

/** The highest index that a majority holds; `EVERYTHING` for no voters. */
export function majorityCommittedIndex(voters: Voters, acked: AckedIndex): number {
  if (voters.size === 0) return EVERYTHING;
  const indexes: number[] = [];
  for (const voter of voters) indexes.push(acked(voter) ?? 0);
  indexes.sort((a, b) => b - a);
  return indexes[Math.floor(voters.size / 2)]!;
}

export function committedIndex(voters: JointVoters, acked: AckedIndex): number {
  const incoming = majorityCommittedIndex(voters.incoming, acked);
  if (voters.outgoing.size === 0) return incoming;
  return Math.min(incoming, majorityCommittedIndex(voters.outgoing, acked));
}

/** Votes of ids outside `voters` do not count; no voters have won by convention. */
export function majorityVoteResult(
  voters: Voters,
  votes: ReadonlyMap<NodeId, boolean>,
): VoteResult {
  if (voters.size === 0) return 'won';
  let granted = 0;
  let missing = 0;
  for (const voter of voters) {
    const vote = votes.get(voter);
    if (vote === undefined) missing++;
    else if (vote) granted++;
  }
  const quorum = Math.floor(voters.size / 2) + 1;
  if (granted >= quorum) return 'won';
  return granted + missing >= quorum ? 'pending' : 'lost';
}

export function voteResult(voters: JointVoters, votes: ReadonlyMap<NodeId, boolean>): VoteResult {
  const incoming = majorityVoteResult(voters.incoming, votes);
  const outgoing = majorityVoteResult(voters.outgoing, votes);
  if (incoming === outgoing) return incoming;
  return incoming === 'lost' || outgoing === 'lost' ? 'lost' : 'pending';
}

/** All who vote in either half, ascending. */
export function voterIds(voters: JointVoters): NodeId[] {
  return sortedIds(new Set([...voters.incoming, ...voters.outgoing]));
}

export function sortedIds(ids: Iterable<NodeId>): NodeId[] {
  return [...ids].sort((a, b) => a - b);
}

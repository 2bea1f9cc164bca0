/** Campaigning and voting. */
import { assert } from '../../common/base/assert.ts';
import type { VoteJudgement } from './events.ts';
import { voterIds } from './quorum.ts';
import type { RaftState } from './raft-state.ts';
import { broadcastAppend } from './replication.ts';
import { becomeCandidate, becomeFollower, becomeLeader, becomePreCandidate } from './roles.ts';
import { type Message, type MessageType, NO_BYTES, NO_NODE } from './types.ts';

/** `transfer`: the leader asked for it, so voters must not insist on that leader's lease. */
export type CampaignKind = 'pre-election' | 'election' | 'transfer';

/** Context of vote requests of a leader transfer. */
const TRANSFER_CONTEXT: Uint8Array = new TextEncoder().encode('transfer');

/** Starts an election if this node may hold one. */
export function tryCampaign(raft: RaftState, kind: CampaignKind): void {
  if (raft.role === 'leader') {
    raft.tell({ code: 'campaign-ignored-leading' });
    return;
  }
  if (!raft.promotable) {
    raft.tell({ code: 'campaign-refused-unpromotable' });
    return;
  }
  if (hasUnappliedConfChange(raft)) {
    raft.tell({ code: 'campaign-refused-pending-change', term: raft.term });
    return;
  }
  raft.tell({ code: 'campaign-started', term: raft.term });
  campaign(raft, kind);
}

function campaign(raft: RaftState, kind: CampaignKind): void {
  // Possible between the two rounds, when this node was removed; its requests then win nothing.
  if (!raft.promotable) raft.tell({ code: 'campaign-continued-unpromotable' });
  const isPreVote = kind === 'pre-election';
  const type = isPreVote ? 'pre-vote' : 'vote';
  if (isPreVote) becomePreCandidate(raft);
  else becomeCandidate(raft);
  const term = isPreVote ? raft.term + 1 : raft.term;
  const context = kind === 'transfer' ? TRANSFER_CONTEXT : NO_BYTES;

  for (const to of voterIds(raft.tracker.membership.voters)) {
    if (to === raft.id) {
      // Its own vote too counts only when it is durable.
      raft.send({ type: voteResponseType(type), to, term });
      continue;
    }
    const last = raft.log.lastEntryId();
    raft.tell({ code: 'vote-requested', last, type, to, term: raft.term });
    raft.send({ type, to, term, index: last.index, logTerm: last.term, context });
  }
}

/** A membership change that is committed but not applied makes this node's view of quorums stale. */
function hasUnappliedConfChange(raft: RaftState): boolean {
  const { log, config } = raft;
  const end = log.committed + 1;
  let from = log.applied + 1;
  while (from < end) {
    // In pages, to bound memory.
    const page = log.slice(from, end, config.maxCommittedSizePerReadyBytes);
    assert(page !== 'compacted' && page.length > 0, `raft: unapplied entry ${from} is missing`);
    if (page.some((entry) => entry.type !== 'normal')) return true;
    from += page.length;
  }
  return false;
}

/** A candidate got an answer of the kind that it waits for. */
export function countVote(raft: RaftState, response: Message): void {
  const { type, from } = response;
  const granted = !response.reject;
  raft.tell({ code: 'vote-received', type, from, granted, term: raft.term });
  raft.tracker.recordVote(from, granted);
  const tally = raft.tracker.tallyVotes();
  raft.tell({ code: 'votes-tallied', type, granted: tally.granted, rejected: tally.rejected });
  if (tally.result === 'won') {
    if (raft.role === 'pre-candidate') {
      campaign(raft, 'election');
    } else {
      becomeLeader(raft);
      broadcastAppend(raft);
    }
  } else if (tally.result === 'lost') {
    becomeFollower(raft, raft.term, NO_NODE);
  }
}

/** While a leader is alive as far as this node knows, requests for votes are ignored. */
export function ignoresForLease(raft: RaftState, request: Message): boolean {
  const { electionTicks, checkQuorum } = raft.config;
  const inLease = checkQuorum && raft.leader !== NO_NODE && raft.electionElapsed < electionTicks;
  if (!inLease || bytesEqual(request.context, TRANSFER_CONTEXT)) return false;
  const remainingTicks = electionTicks - raft.electionElapsed;
  raft.tell({ code: 'vote-ignored-lease', remainingTicks, ...judgement(raft, request) });
  return true;
}

/**
 * Answers a vote or pre-vote request. Learners vote too: a learner may have been promoted without
 * knowing it yet, and without its vote the others may be no quorum.
 */
export function answerVoteRequest(raft: RaftState, request: Message): void {
  const { type, from } = request;
  const canVote =
    raft.vote === from || // a repeat
    (raft.vote === NO_NODE && raft.leader === NO_NODE) ||
    (type === 'pre-vote' && request.term > raft.term);
  const candidateLast = { term: request.logTerm, index: request.index };
  if (!canVote || !raft.log.isUpToDate(candidateLast)) {
    rejectVoteRequest(raft, request);
    return;
  }
  raft.tell({ code: 'vote-granted', ...judgement(raft, request) });
  // With the request's term: a pre-candidate that fell behind would ignore an answer in ours.
  raft.send({ type: voteResponseType(type), to: from, term: request.term });
  if (type === 'vote') {
    raft.electionElapsed = 0;
    raft.vote = from;
  }
}

export function rejectVoteRequest(raft: RaftState, request: Message): void {
  raft.tell({ code: 'vote-rejected', ...judgement(raft, request) });
  const type = voteResponseType(request.type);
  raft.send({ type, to: request.from, term: raft.term, reject: true });
}

function judgement(raft: RaftState, request: Message): VoteJudgement {
  return {
    ownLast: raft.log.lastEntryId(),
    vote: raft.vote,
    type: request.type,
    from: request.from,
    candidateLast: { term: request.logTerm, index: request.index },
    term: raft.term,
  };
}

function voteResponseType(type: MessageType): 'vote-response' | 'pre-vote-response' {
  assert(type === 'vote' || type === 'pre-vote', `raft: ${type} asks for no vote`);
  return type === 'vote' ? 'vote-response' : 'pre-vote-response';
}

function bytesEqual(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

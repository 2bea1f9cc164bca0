/**
 * The state machine as a whole: which term a message belongs to, who handles it, what a tick means.
 * Pure: time is a count of ticks, chance comes from the configured `Random`, and effects are queued
 * in the state for `RawNode` to hand out.
 */
import { completeConfig, type RaftConfig } from './config.ts';
import { answerVoteRequest, ignoresForLease, rejectVoteRequest, tryCampaign } from './elections.ts';
import { totalSizeBytes } from './entry-slices.ts';
import { restoreMembershipFrom } from './membership.ts';
import { autoLeaveJoint } from './proposals.ts';
import { voterIds } from './quorum.ts';
import { type MessageHandler, type MessageHandlers, RaftState } from './raft-state.ts';
import { dischargeUncommitted } from './replication.ts';
import { becomeFollower } from './roles.ts';
import { stepCandidate, stepFollower } from './step-follower.ts';
import { stepLeader } from './step-leader.ts';
import { type Message, message, NO_NODE, type Role } from './types.ts';

const IN_ANY_ROLE: MessageHandlers = {
  hup: (raft) => tryCampaign(raft, raft.config.preVote ? 'pre-election' : 'election'),
  'storage-append-response': handleStored,
  'storage-apply-response': handleApplied,
  vote: answerVoteRequest,
  'pre-vote': answerVoteRequest,
};

const IN_ROLE: Readonly<Record<Role, MessageHandler>> = {
  follower: stepFollower,
  'pre-candidate': stepCandidate,
  candidate: stepCandidate,
  leader: stepLeader,
};

/** A node as storage left it: a follower that knows no leader. */
export function startRaft(raftConfig: RaftConfig): RaftState {
  const config = completeConfig(raftConfig);
  const raft = new RaftState(config);
  const { hardState, confState } = config.storage.initialState();
  const last = raft.log.lastEntryId();
  restoreMembershipFrom(raft, confState);
  raft.term = hardState.term;
  raft.vote = hardState.vote;
  // Commit is written without a sync, so it may lie behind: what was applied or compacted was
  // committed too.
  raft.log.commitTo(Math.max(hardState.commit, config.applied));
  if (config.applied > 0) raft.log.appliedTo(config.applied, 0);
  becomeFollower(raft, raft.term, NO_NODE);
  raft.tell({
    code: 'node-started',
    voters: voterIds(raft.tracker.membership.voters),
    term: raft.term,
    commit: raft.log.committed,
    applied: raft.log.applied,
    last,
  });
  return raft;
}

export function tick(raft: RaftState): void {
  raft.electionElapsed++;
  if (raft.role === 'leader') {
    tickLeader(raft);
  } else if (raft.promotable && raft.electionElapsed >= raft.randomizedElectionTicks) {
    raft.electionElapsed = 0;
    step(raft, message({ type: 'hup', from: raft.id }));
  }
}

function tickLeader(raft: RaftState): void {
  const { electionTicks, heartbeatTicks, checkQuorum } = raft.config;
  raft.heartbeatElapsed++;
  if (raft.electionElapsed >= electionTicks) {
    raft.electionElapsed = 0;
    if (checkQuorum) step(raft, message({ type: 'check-quorum', from: raft.id }));
    // A transfer that took this long is given up, so that proposals are accepted again.
    raft.leadTransferee = NO_NODE;
  }
  if (raft.role === 'leader' && raft.heartbeatElapsed >= heartbeatTicks) {
    raft.heartbeatElapsed = 0;
    step(raft, message({ type: 'beat', from: raft.id }));
  }
}

/** Takes one message, local or from the network. May throw `ProposalDroppedError`. */
export function step(raft: RaftState, received: Message): void {
  if (received.term > raft.term) {
    if (!acceptHigherTerm(raft, received)) return;
  } else if (received.term !== 0 && received.term < raft.term) {
    handleLowerTerm(raft, received);
    return;
  }
  const handler = IN_ANY_ROLE[received.type] ?? IN_ROLE[raft.role];
  handler(raft, received);
}

/** Usually steps down into the message's term. False: the message is to be ignored. */
function acceptHigherTerm(raft: RaftState, received: Message): boolean {
  const { type, from } = received;
  const asksForVote = type === 'vote' || type === 'pre-vote';
  if (asksForVote && ignoresForLease(raft, received)) return false;
  // Pre-votes speak of a term that nobody has reached; a granted one is answered in it.
  if (type === 'pre-vote' || (type === 'pre-vote-response' && !received.reject)) return true;
  const { term } = raft;
  raft.tell({ code: 'higher-term-received', type, from, messageTerm: received.term, term });
  const fromLeader = type === 'append' || type === 'heartbeat' || type === 'snapshot';
  becomeFollower(raft, received.term, fromLeader ? from : NO_NODE);
  return true;
}

function handleLowerTerm(raft: RaftState, received: Message): void {
  const { type, from, term: messageTerm } = received;
  const { checkQuorum, preVote } = raft.config;
  if ((checkQuorum || preVote) && (type === 'append' || type === 'heartbeat')) {
    // A leader of the past. Our votes are ignored by nodes in its lease, so this answer, with our
    // term, is what makes it step down and frees a node that is stuck in a higher term.
    raft.send({ type: 'append-response', to: from });
  } else if (type === 'pre-vote') {
    // Silence could deadlock with a candidate of higher term and shorter log.
    rejectVoteRequest(raft, received);
  } else if (type === 'storage-append-response') {
    // The entries may have been replaced since: see `storageAppendResponse`. A snapshot is
    // committed state and valid in any term.
    if (received.index !== 0) {
      raft.tell({ code: 'stale-append-ack-ignored', type, messageTerm, term: raft.term });
    }
    handleStoredSnapshot(raft, received);
  } else {
    raft.tell({ code: 'lower-term-ignored', type, from, messageTerm, term: raft.term });
  }
}

function handleStored(raft: RaftState, response: Message): void {
  if (response.index !== 0) {
    raft.log.unstable.stableTo({ term: response.logTerm, index: response.index });
  }
  handleStoredSnapshot(raft, response);
}

function handleStoredSnapshot(raft: RaftState, response: Message): void {
  if (response.snapshot === null) return;
  const { index } = response.snapshot.metadata;
  raft.log.unstable.stableSnapshotTo(index);
  appliedTo(raft, index, 0);
}

function handleApplied(raft: RaftState, response: Message): void {
  const { entries } = response;
  const last = entries[entries.length - 1];
  if (last === undefined) return;
  appliedTo(raft, last.index, totalSizeBytes(entries));
  dischargeUncommitted(raft, entries);
}

function appliedTo(raft: RaftState, index: number, sizeBytes: number): void {
  // Late news of an older snapshot changes nothing.
  raft.log.appliedTo(Math.max(index, raft.log.applied), sizeBytes);
  autoLeaveJoint(raft);
}

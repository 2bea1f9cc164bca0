/** How a follower and a candidate react to each message of their own term. */
import { countVote, tryCampaign } from './elections.ts';
import { ProposalDroppedError } from './errors.ts';
import { restoreMembershipFrom } from './membership.ts';
import type { MessageHandlers, RaftState } from './raft-state.ts';
import { forwardReadRequest, handleReadResponse } from './reads.ts';
import { becomeFollower } from './roles.ts';
import { Tracker } from './tracker.ts';
import { EMPTY_SNAPSHOT, isMember, type Message, NO_NODE, type Snapshot } from './types.ts';

const FOLLOWER: MessageHandlers = {
  propose: forwardProposal,
  append: followLeader,
  heartbeat: followLeader,
  snapshot: followLeader,
  'transfer-leader': forwardTransfer,
  'forget-leader': forgetLeader,
  'timeout-now': campaignAtOnce,
  'read-index': forwardReadRequest,
  'read-index-response': handleReadResponse,
};

const CANDIDATE: MessageHandlers = {
  propose: dropProposal,
  append: yieldToLeader,
  heartbeat: yieldToLeader,
  snapshot: yieldToLeader,
  'timeout-now': (raft, { from }) =>
    raft.tell({ code: 'timeout-now-ignored', from, term: raft.term, role: raft.role }),
  // Late answers of the first round arrive in the second; they mean nothing there.
  'pre-vote-response': (raft, message) => {
    // A grant speaks of the term asked for; one of an earlier round would raise the term for nothing.
    const isStale = !message.reject && message.term !== raft.term + 1;
    if (raft.role === 'pre-candidate' && !isStale) countVote(raft, message);
  },
  'vote-response': (raft, message) => {
    if (raft.role === 'candidate') countVote(raft, message);
  },
};

/** Types that are not for a follower are ignored. */
export function stepFollower(raft: RaftState, message: Message): void {
  FOLLOWER[message.type]?.(raft, message);
}

/** Both kinds of candidates; they differ in the answers that they wait for. */
export function stepCandidate(raft: RaftState, message: Message): void {
  CANDIDATE[message.type]?.(raft, message);
}

function followLeader(raft: RaftState, message: Message): void {
  raft.electionElapsed = 0;
  raft.leader = message.from;
  handleFromLeader(raft, message);
}

/** Somebody else won the term. */
function yieldToLeader(raft: RaftState, message: Message): void {
  becomeFollower(raft, message.term, message.from);
  handleFromLeader(raft, message);
}

function forwardTransfer(raft: RaftState, message: Message): void {
  if (raft.leader === NO_NODE) {
    raft.tell({ code: 'transfer-dropped-no-leader', term: raft.term });
    return;
  }
  raft.send({ ...message, to: raft.leader });
}

/** Without pre-vote: the leader asked, so we know that we do not come back from a partition. */
function campaignAtOnce(raft: RaftState, { from }: Message): void {
  raft.tell({ code: 'timeout-now-received', from, term: raft.term });
  tryCampaign(raft, 'transfer');
}

function dropProposal(raft: RaftState): never {
  raft.tell({ code: 'proposal-dropped-no-leader', term: raft.term });
  throw new ProposalDroppedError('no-leader');
}

function forwardProposal(raft: RaftState, message: Message): void {
  const { leader, term } = raft;
  if (leader === NO_NODE) dropProposal(raft);
  if (raft.config.disableProposalForwarding) {
    raft.tell({ code: 'proposal-dropped-not-forwarding', leader, term });
    throw new ProposalDroppedError('not-leader');
  }
  raft.send({ ...message, to: leader });
}

function forgetLeader(raft: RaftState): void {
  // A lease stands on followers remembering the leader.
  if (raft.config.readOnlyMode === 'lease-based') {
    raft.tell({ code: 'forget-leader-refused-lease' });
    return;
  }
  if (raft.leader === NO_NODE) return;
  raft.tell({ code: 'leader-forgotten', leader: raft.leader, term: raft.term });
  raft.leader = NO_NODE;
}

function handleFromLeader(raft: RaftState, message: Message): void {
  const { from: to, context } = message;
  if (message.type === 'append') {
    handleAppend(raft, message);
  } else if (message.type === 'snapshot') {
    handleSnapshot(raft, message);
  } else {
    raft.log.commitTo(message.commit);
    raft.send({ type: 'heartbeat-response', to, context });
  }
}

function handleAppend(raft: RaftState, message: Message): void {
  const { from: to, entries } = message;
  const previous = { term: message.logTerm, index: message.index };
  if (previous.index < raft.log.committed) {
    raft.send({ type: 'append-response', to, index: raft.log.committed });
    return;
  }
  const last = raft.log.tryAppend({ previous, entries }, message.commit);
  if (last !== null) {
    raft.send({ type: 'append-response', to, index: last });
    return;
  }
  const ownTerm = raft.log.termOrZero(previous.index);
  raft.tell({ code: 'append-refused', from: to, ownTerm, previous });
  // Entries of higher terms than the leader's at that place cannot match: the hint skips them.
  const index = Math.min(previous.index, raft.log.lastIndex());
  const hint = raft.log.findConflictByTerm({ index, term: previous.term });
  raft.send({
    type: 'append-response',
    to,
    index: previous.index,
    reject: true,
    rejectHint: hint.index,
    logTerm: hint.term,
  });
}

function handleSnapshot(raft: RaftState, message: Message): void {
  const received = message.snapshot ?? EMPTY_SNAPSHOT;
  const snapshot = { term: received.metadata.term, index: received.metadata.index };
  const restored = restore(raft, received);
  const commit = raft.log.committed;
  raft.tell({ code: restored ? 'snapshot-restored' : 'snapshot-ignored', commit, snapshot });
  const index = restored ? raft.log.lastIndex() : commit;
  raft.send({ type: 'append-response', to: message.from, index });
}

/** Replaces log and membership by the snapshot's, unless this node needs or fits it not. */
function restore(raft: RaftState, received: Snapshot): boolean {
  const { confState, index, term } = received.metadata;
  const snapshot = { term, index };
  if (index <= raft.log.committed) return false;
  if (raft.role !== 'follower') {
    // Cannot happen: whoever gets a snapshot of its term follows the sender.
    raft.tell({ code: 'snapshot-refused-not-follower' });
    becomeFollower(raft, raft.term + 1, NO_NODE);
    return false;
  }
  if (!isMember(confState, raft.id)) {
    raft.tell({ code: 'snapshot-refused-not-member', confState });
    return false;
  }
  if (raft.log.matches(snapshot)) {
    // All of it is in the log already.
    const last = raft.log.lastEntryId();
    const commit = raft.log.committed;
    raft.tell({ code: 'snapshot-fast-forwarded', commit, last, snapshot });
    raft.log.commitTo(index);
    return false;
  }
  raft.log.restore(received);
  raft.tracker = new Tracker(raft.config);
  restoreMembershipFrom(raft, confState);
  const last = raft.log.lastEntryId();
  raft.tell({ code: 'state-restored', commit: raft.log.committed, last, snapshot });
  return true;
}

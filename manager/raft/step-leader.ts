/** How a leader reacts to each message of its own term. */
import { assert } from '../../common/base/assert.ts';
import { announceCommit } from './membership.ts';
import type { Progress } from './progress.ts';
import { handleProposal } from './proposals.ts';
import type { MessageHandlers, RaftState } from './raft-state.ts';
import { handleReadAck, handleReadRequest } from './reads.ts';
import { broadcastHeartbeat, sendAppend, tryCommit, trySendAppend } from './replication.ts';
import { becomeFollower } from './roles.ts';
import { type Message, type MessageType, NO_NODE } from './types.ts';

type MemberHandler = (raft: RaftState, progress: Progress, message: Message) => void;

/** Messages whose sender need not be a member. */
const FROM_ANYBODY: MessageHandlers = {
  beat: broadcastHeartbeat,
  'check-quorum': checkQuorum,
  propose: (raft, message) => handleProposal(raft, message.entries),
  'read-index': handleReadRequest,
  'forget-leader': () => {},
};

const FROM_MEMBER: Readonly<Partial<Record<MessageType, MemberHandler>>> = {
  'append-response': handleAppendResponse,
  'heartbeat-response': handleHeartbeatResponse,
  'snapshot-status': handleSnapshotStatus,
  unreachable: handleUnreachable,
  'transfer-leader': handleTransfer,
};

/** Types that are not for a leader are ignored. */
export function stepLeader(raft: RaftState, message: Message): void {
  const { type, from } = message;
  const handler = FROM_ANYBODY[type];
  if (handler !== undefined) {
    handler(raft, message);
    return;
  }
  const progress = raft.tracker.get(from);
  if (progress === undefined) {
    raft.tell({ code: 'no-progress-for-sender', from });
    return;
  }
  FROM_MEMBER[type]?.(raft, progress, message);
}

function handleAppendResponse(raft: RaftState, progress: Progress, message: Message): void {
  progress.recentActive = true;
  if (message.reject) handleRefusedAppend(raft, progress, message);
  else handleAckedAppend(raft, progress, message);
}

function handleHeartbeatResponse(raft: RaftState, progress: Progress, message: Message): void {
  progress.recentActive = true;
  progress.flowPaused = false;
  // A probing member that has everything still needs an empty append to be found replicating.
  if (progress.match < raft.log.lastIndex() || progress.state === 'probe') {
    sendAppend(raft, message.from);
  }
  handleReadAck(raft, message);
}

function handleUnreachable(raft: RaftState, progress: Progress, { from }: Message): void {
  // An optimistic append was probably lost.
  if (progress.state === 'replicate') progress.becomeProbe();
  raft.tell({ code: 'peer-unreachable', from, progress: progress.status() });
}

/** Steps down without word from a quorum, then counts afresh. */
function checkQuorum(raft: RaftState): void {
  if (!raft.tracker.quorumActive()) {
    raft.tell({ code: 'quorum-lost' });
    becomeFollower(raft, raft.term, NO_NODE);
  }
  for (const [id, progress] of raft.tracker.progress) {
    if (id !== raft.id) progress.recentActive = false;
  }
}

/**
 * The member lacks the entry before those sent. Its hint is the end of its log, or the best match
 * that it can tell; ours skips all entries of higher terms than the hint's, which cannot match as
 * terms never fall along a log. So at most one probe per term is needed.
 */
function handleRefusedAppend(raft: RaftState, progress: Progress, message: Message): void {
  const { from, index, logTerm, rejectHint } = message;
  const hint = { index: rejectHint, term: logTerm };
  raft.tell({ code: 'append-refusal-received', from, index, hint });
  const probe = logTerm > 0 ? raft.log.findConflictByTerm(hint).index : rejectHint;
  if (!progress.rejected(index, probe)) return;
  raft.tell({ code: 'progress-decreased', from, progress: progress.status() });
  if (progress.state === 'replicate') progress.becomeProbe();
  sendAppend(raft, from);
}

function handleAckedAppend(raft: RaftState, progress: Progress, message: Message): void {
  const { from, index } = message;
  const last = raft.log.lastIndex();
  // Members acknowledge what this leader sent, or what is committed, which it holds.
  assert(
    index <= last,
    `raft: ${from.toString(16)} has ${index}, its leader only ${last}; was the log damaged?`,
  );
  const news = progress.acked(index);
  // An old acknowledgement still ends probing: it shows where the logs match.
  if (!news && !(progress.match === index && progress.state === 'probe')) return;
  resumeAfterAck(raft, progress, message);

  if (tryCommit(raft)) {
    announceCommit(raft);
  } else if (from !== raft.id && progress.canBumpCommit(raft.log.committed)) {
    // Heartbeats tell the commit index too, only later.
    sendAppend(raft, from);
  }
  // The window may have room for several messages now.
  if (from !== raft.id) while (trySendAppend(raft, from, false));
  if (from === raft.leadTransferee && progress.match === raft.log.lastIndex()) {
    raft.tell({ code: 'timeout-now-sent', to: from, caughtUpLater: true });
    raft.send({ type: 'timeout-now', to: from });
  }
}

function resumeAfterAck(raft: RaftState, progress: Progress, message: Message): void {
  const { from, index } = message;
  if (progress.state === 'probe') {
    progress.becomeReplicate();
  } else if (progress.state === 'replicate') {
    progress.freeInflightsUpTo(index);
  } else if (progress.match + 1 >= raft.log.firstIndex()) {
    // Whichever snapshot it installed, the log now connects. By way of probing, which takes the
    // pending snapshot into account.
    raft.tell({ code: 'snapshot-recovered', from, progress: progress.status() });
    progress.becomeProbe();
    progress.becomeReplicate();
  }
}

function handleSnapshotStatus(raft: RaftState, progress: Progress, message: Message): void {
  if (progress.state !== 'snapshot') return;
  const { from } = message;
  if (message.reject) {
    progress.snapshotFailed();
    raft.tell({ code: 'snapshot-failed', from, progress: progress.status() });
  } else {
    progress.becomeProbe();
    raft.tell({ code: 'snapshot-delivered', from, progress: progress.status() });
  }
  // Delivered: the member's acknowledgement comes first. Failed: try again with the next heartbeat.
  progress.flowPaused = true;
}

function handleTransfer(raft: RaftState, progress: Progress, message: Message): void {
  const to = message.from;
  const { term, leadTransferee: previous } = raft;
  if (progress.isLearner) {
    raft.tell({ code: 'transfer-ignored-learner' });
    return;
  }
  if (previous === to) {
    raft.tell({ code: 'transfer-already-running', to, term });
    return;
  }
  if (previous !== NO_NODE) {
    raft.leadTransferee = NO_NODE;
    raft.tell({ code: 'transfer-replaced', previous, term });
  }
  if (to === raft.id) {
    raft.tell({ code: 'transfer-ignored-self' });
    return;
  }
  raft.tell({ code: 'transfer-started', to, term });
  // One whole election timeout from now on; then it is given up (see tick).
  raft.electionElapsed = 0;
  raft.leadTransferee = to;
  if (progress.match === raft.log.lastIndex()) {
    raft.send({ type: 'timeout-now', to });
    raft.tell({ code: 'timeout-now-sent', to, caughtUpLater: false });
  } else {
    sendAppend(raft, to);
  }
}

/**
 * The words of etcd/raft's log lines for the events of our core, so that traces can be compared with
 * the reference scripts line by line. Test adapter only.
 */
import { assertNever } from '../../common/base/assert.ts';
import type { RaftEvent, VoteJudgement } from '../../manager/raft/events.ts';
import type { ConfChangeRefusal } from '../../manager/raft/status.ts';
import type { EntryId, NodeId } from '../../manager/raft/types.ts';
import {
  formatConfChange,
  formatConfState,
  formatMembership,
  formatProgress,
  MESSAGE_NAMES,
  ROLE_NAMES,
} from './raft-format.ts';

type Words = {
  readonly [Code in RaftEvent['code']]: (
    event: Extract<RaftEvent, { code: Code }>,
    self: string,
  ) => string;
};

const x = (id: NodeId): string => id.toString(16);
const snap = ({ index, term }: EntryId): string => `[index: ${index}, term: ${term}]`;
const log = ({ index, term }: EntryId): string => `[logterm: ${term}, index: ${index}]`;

function judged(self: string, verb: string, preposition: string, event: VoteJudgement): string {
  const { ownLast, vote, type, from, candidateLast, term } = event;
  const own = `[logterm: ${ownLast.term}, index: ${ownLast.index}, vote: ${x(vote)}]`;
  const request = `${MESSAGE_NAMES[type]} ${preposition} ${x(from)} ${log(candidateLast)}`;
  return `${self} ${own} ${verb} ${request} at term ${term}`;
}

function refused(refusal: ConfChangeRefusal): string {
  switch (refusal.reason) {
    case 'unapplied-change':
      return (
        `possible unapplied conf change at index ${refusal.pendingIndex} ` +
        `(applied to ${refusal.applied})`
      );
    case 'leave-joint-first':
      return 'must transition out of joint config first';
    case 'not-joint':
      return 'not in joint state; refusing empty conf change';
    case 'impossible':
      return refusal.why;
    default:
      return assertNever(refusal);
  }
}

const WORDS: Words = {
  'node-started': (e, id) =>
    `newRaft ${id} [peers: [${e.voters.map(x).join(',')}], term: ${e.term}, ` +
    `commit: ${e.commit}, applied: ${e.applied}, ` +
    `lastindex: ${e.last.index}, lastterm: ${e.last.term}]`,
  'became-follower': (e, id) => `${id} became follower at term ${e.term}`,
  'became-pre-candidate': (e, id) => `${id} became pre-candidate at term ${e.term}`,
  'became-candidate': (e, id) => `${id} became candidate at term ${e.term}`,
  'became-leader': (e, id) => `${id} became leader at term ${e.term}`,
  'quorum-lost': (_, id) => `${id} stepped down to follower since quorum is not active`,
  'membership-switched': (e, id) =>
    `${id} switched to configuration ${formatMembership(e.confState)}`,

  'campaign-started': (e, id) => `${id} is starting a new election at term ${e.term}`,
  'campaign-ignored-leading': (_, id) => `${id} ignoring MsgHup because already leader`,
  'campaign-refused-unpromotable': (_, id) => `${id} is unpromotable and can not campaign`,
  'campaign-refused-pending-change': (e, id) =>
    `${id} cannot campaign at term ${e.term} since there are still pending configuration ` +
    'changes to apply',
  'campaign-continued-unpromotable': (_, id) =>
    `${id} is unpromotable; campaign() should have been called`,
  'vote-requested': (e, id) =>
    `${id} ${log(e.last)} sent ${MESSAGE_NAMES[e.type]} request to ${x(e.to)} at term ${e.term}`,
  'vote-received': (e, id) =>
    `${id} received ${MESSAGE_NAMES[e.type]}${e.granted ? '' : ' rejection'} from ${x(e.from)} ` +
    `at term ${e.term}`,
  'votes-tallied': (e, id) =>
    `${id} has received ${e.granted} ${MESSAGE_NAMES[e.type]} votes and ` +
    `${e.rejected} vote rejections`,
  'vote-granted': (e, id) => judged(id, 'cast', 'for', e),
  'vote-rejected': (e, id) => judged(id, 'rejected', 'from', e),
  'vote-ignored-lease': (e, id) =>
    `${judged(id, 'ignored', 'from', e)}: lease is not expired ` +
    `(remaining ticks: ${e.remainingTicks})`,
  'higher-term-received': (e, id) =>
    `${id} [term: ${e.term}] received a ${MESSAGE_NAMES[e.type]} message with higher term ` +
    `from ${x(e.from)} [term: ${e.messageTerm}]`,
  'lower-term-ignored': (e, id) =>
    `${id} [term: ${e.term}] ignored a ${MESSAGE_NAMES[e.type]} message with lower term ` +
    `from ${x(e.from)} [term: ${e.messageTerm}]`,
  'stale-append-ack-ignored': (e, id) =>
    `${id} [term: ${e.term}] ignored entry appends from a ${MESSAGE_NAMES[e.type]} message ` +
    `with lower term [term: ${e.messageTerm}]`,

  'transfer-started': (e, id) =>
    `${id} [term ${e.term}] starts to transfer leadership to ${x(e.to)}`,
  'transfer-already-running': (e, id) =>
    `${id} [term ${e.term}] transfer leadership to ${x(e.to)} is in progress, ` +
    `ignores request to same node ${x(e.to)}`,
  'transfer-replaced': (e, id) =>
    `${id} [term ${e.term}] abort previous transferring leadership to ${x(e.previous)}`,
  'transfer-ignored-self': (_, id) =>
    `${id} is already leader. Ignored transferring leadership to self`,
  'transfer-ignored-learner': (_, id) => `${id} is learner. Ignored transferring leadership`,
  'transfer-dropped-no-leader': (e, id) =>
    `${id} no leader at term ${e.term}; dropping leader transfer msg`,
  'timeout-now-sent': (e, id) =>
    e.caughtUpLater
      ? `${id} sent MsgTimeoutNow to ${x(e.to)} after received MsgAppResp`
      : `${id} sends MsgTimeoutNow to ${x(e.to)} immediately as ${x(e.to)} already has ` +
        'up-to-date log',
  'timeout-now-received': (e, id) =>
    `${id} [term ${e.term}] received MsgTimeoutNow from ${x(e.from)} and starts an election ` +
    'to get leadership.',
  'timeout-now-ignored': (e, id) =>
    `${id} [term ${e.term} state ${ROLE_NAMES[e.role]}] ignored MsgTimeoutNow from ${x(e.from)}`,
  'leader-forgotten': (e, id) => `${id} forgetting leader ${x(e.leader)} at term ${e.term}`,
  'forget-leader-refused-lease': () => 'ignoring MsgForgetLeader due to ReadOnlyLeaseBased',

  'proposal-dropped-no-leader': (e, id) => `${id} no leader at term ${e.term}; dropping proposal`,
  'proposal-dropped-not-forwarding': (e, id) =>
    `${id} not forwarding to leader ${x(e.leader)} at term ${e.term}; dropping proposal`,
  'proposal-dropped-transfer': (e, id) =>
    `${id} [term ${e.term}] transfer leadership to ${x(e.to)} is in progress; dropping proposal`,
  'proposal-dropped-size': (_, id) =>
    `${id} appending new entries to log would exceed uncommitted entry size limit; ` +
    'dropping proposal',
  'conf-change-ignored': (e, id) =>
    `${id} ignoring conf change ${formatConfChange(e.change)} at config ` +
    `${formatMembership(e.confState)}: ${refused(e.refusal)}`,
  'auto-leave-started': (e) =>
    `initiating automatic transition out of joint configuration ${formatMembership(e.confState)}`,
  'auto-leave-refused': (e) =>
    'not initiating automatic transition out of joint configuration ' +
    `${formatMembership(e.confState)}: raft proposal dropped`,

  'no-progress-for-sender': (e, id) => `${id} no progress available for ${x(e.from)}`,
  'append-refusal-received': (e, id) =>
    `${id} received MsgAppResp(rejected, hint: (index ${e.hint.index}, term ${e.hint.term})) ` +
    `from ${x(e.from)} for index ${e.index}`,
  'progress-decreased': (e, id) =>
    `${id} decreased progress of ${x(e.from)} to [${formatProgress(e.progress)}]`,
  'peer-unreachable': (e, id) =>
    `${id} failed to send message to ${x(e.from)} because it is unreachable ` +
    `[${formatProgress(e.progress)}]`,
  'snapshot-skipped-inactive': (e) =>
    `ignore sending snapshot to ${x(e.to)} since it is not recently active`,
  'snapshot-unavailable': (e, id) =>
    `${id} failed to send snapshot to ${x(e.to)} because snapshot is temporarily unavailable`,
  // Ours alone: the reference sends such a snapshot.
  'snapshot-lacks-member': (e, id) =>
    `${id} has no snapshot ${snap(e.snapshot)} with member ${x(e.to)}`,
  'snapshot-sent': (e, id) =>
    `${id} [firstindex: ${e.firstIndex}, commit: ${e.commit}] sent snapshot${snap(e.snapshot)} ` +
    `to ${x(e.to)} [${formatProgress(e.progress)}]`,
  'replication-paused-for-snapshot': (e, id) =>
    `${id} paused sending replication messages to ${x(e.to)} [${formatProgress(e.progress)}]`,
  'snapshot-recovered': (e, id) =>
    `${id} recovered from needing snapshot, resumed sending replication messages to ` +
    `${x(e.from)} [${formatProgress(e.progress)}]`,
  'snapshot-delivered': (e, id) =>
    `${id} snapshot succeeded, resumed sending replication messages to ${x(e.from)} ` +
    `[${formatProgress(e.progress)}]`,
  'snapshot-failed': (e, id) =>
    `${id} snapshot failed, resumed sending replication messages to ${x(e.from)} ` +
    `[${formatProgress(e.progress)}]`,

  'append-refused': (e, id) =>
    `${id} [logterm: ${e.ownTerm}, index: ${e.previous.index}] rejected MsgApp ` +
    `${log(e.previous)} from ${x(e.from)}`,
  'snapshot-restored': (e, id) =>
    `${id} [commit: ${e.commit}] restored snapshot ${snap(e.snapshot)}`,
  'snapshot-ignored': (e, id) => `${id} [commit: ${e.commit}] ignored snapshot ${snap(e.snapshot)}`,
  'snapshot-refused-not-follower': (_, id) =>
    `${id} attempted to restore snapshot as leader; should never happen`,
  'snapshot-refused-not-member': (e, id) =>
    `${id} attempted to restore snapshot but it is not in the ConfState ` +
    `${formatConfState(e.confState)}; should never happen`,
  'snapshot-fast-forwarded': (e, id) =>
    `${id} [commit: ${e.commit}, lastindex: ${e.last.index}, lastterm: ${e.last.term}] ` +
    `fast-forwarded commit to snapshot ${snap(e.snapshot)}`,
  'state-restored': (e, id) =>
    `${id} [commit: ${e.commit}, lastindex: ${e.last.index}, lastterm: ${e.last.term}] ` +
    `restored snapshot ${snap(e.snapshot)}`,

  'log-conflict-found': (e) =>
    `found conflict at index ${e.index} [existing term: ${e.ownTerm}, ` +
    `conflicting term: ${e.term}]`,
  'log-restoring': ({ log: l, snapshot }) =>
    `log [committed=${l.committed}, applied=${l.applied}, applying=${l.applying}, ` +
    `unstable.offset=${l.unstableOffset}, unstable.offsetInProgress=${l.unstableInProgress}, ` +
    `len(unstable.Entries)=${l.unstableCount}] starts to restore snapshot ${snap(snapshot)}`,
  'unstable-replaced': (e) => `replace the unstable entries from index ${e.fromIndex}`,
  'unstable-truncated': (e) => `truncate the unstable entries before index ${e.fromIndex}`,
  'stable-entry-missing': (e) => `entry at index ${e.index} missing from unstable log; ignoring`,
  'stable-entry-is-snapshot': (e) =>
    `entry at index ${e.index} matched unstable snapshot; ignoring`,
  'stable-entry-mismatched': ({ entry, ownTerm }) =>
    `entry at (index,term)=(${entry.index},${entry.term}) mismatched with entry at ` +
    `(${entry.index},${ownTerm}) in unstable log; ignoring`,

  'read-dropped-no-leader': (e, id) =>
    `${id} no leader at term ${e.term}; dropping index reading msg`,
  'read-response-malformed': (e, id) =>
    `${id} invalid format of MsgReadIndexResp from ${x(e.from)}, entries count: ${e.entryCount}`,
  'read-released-too-early': () =>
    'pending MsgReadIndex should be released only after first commit in current term',
};

/** The line for `event` of node `self`, without level and newline. */
export function wordsFor(event: RaftEvent, self: NodeId): string {
  const words = WORDS[event.code] as (event: RaftEvent, self: string) => string;
  return words(event, x(self));
}

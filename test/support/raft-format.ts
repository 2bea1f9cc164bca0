/**
 * Prints the values of the Raft core as etcd/raft prints its own, so that traces can be compared
 * with the reference scripts. Test adapter only: our own logs use our own words.
 */
import { asV2, decodeConfChange } from '../../manager/raft/conf-change.ts';
import type { ProgressState, ProgressStatus } from '../../manager/raft/status.ts';
import {
  type AnyConfChange,
  type ConfChangeSingle,
  type ConfChangeTransition,
  type ConfChangeType,
  type ConfState,
  type Entry,
  type EntryType,
  type HardState,
  isEmptySnapshot,
  LOCAL_APPEND_THREAD,
  LOCAL_APPLY_THREAD,
  type Message,
  type MessageType,
  type NodeId,
  type Ready,
  type Role,
  type Snapshot,
  type SoftState,
} from '../../manager/raft/types.ts';

export const MESSAGE_NAMES: Readonly<Record<MessageType, string>> = {
  hup: 'MsgHup',
  beat: 'MsgBeat',
  propose: 'MsgProp',
  append: 'MsgApp',
  'append-response': 'MsgAppResp',
  vote: 'MsgVote',
  'vote-response': 'MsgVoteResp',
  snapshot: 'MsgSnap',
  heartbeat: 'MsgHeartbeat',
  'heartbeat-response': 'MsgHeartbeatResp',
  unreachable: 'MsgUnreachable',
  'snapshot-status': 'MsgSnapStatus',
  'check-quorum': 'MsgCheckQuorum',
  'transfer-leader': 'MsgTransferLeader',
  'timeout-now': 'MsgTimeoutNow',
  'read-index': 'MsgReadIndex',
  'read-index-response': 'MsgReadIndexResp',
  'pre-vote': 'MsgPreVote',
  'pre-vote-response': 'MsgPreVoteResp',
  'storage-append': 'MsgStorageAppend',
  'storage-append-response': 'MsgStorageAppendResp',
  'storage-apply': 'MsgStorageApply',
  'storage-apply-response': 'MsgStorageApplyResp',
  'forget-leader': 'MsgForgetLeader',
};

export const ROLE_NAMES: Readonly<Record<Role, string>> = {
  follower: 'StateFollower',
  'pre-candidate': 'StatePreCandidate',
  candidate: 'StateCandidate',
  leader: 'StateLeader',
};

const ENTRY_NAMES: Readonly<Record<EntryType, string>> = {
  normal: 'EntryNormal',
  'conf-change': 'EntryConfChange',
  'conf-change-v2': 'EntryConfChangeV2',
};

const PROGRESS_NAMES: Readonly<Record<ProgressState, string>> = {
  probe: 'StateProbe',
  replicate: 'StateReplicate',
  snapshot: 'StateSnapshot',
};

const CHANGE_LETTERS: Readonly<Record<ConfChangeType, string>> = {
  'add-voter': 'v',
  'add-learner': 'l',
  remove: 'r',
  update: 'u',
};

const CHANGE_NAMES: Readonly<Record<ConfChangeType, string>> = {
  'add-voter': 'ConfChangeAddNode',
  'add-learner': 'ConfChangeAddLearnerNode',
  remove: 'ConfChangeRemoveNode',
  update: 'ConfChangeUpdateNode',
};

const TRANSITION_NAMES: Readonly<Record<ConfChangeTransition, string>> = {
  auto: 'ConfChangeTransitionAuto',
  'joint-implicit': 'ConfChangeTransitionJointImplicit',
  'joint-explicit': 'ConfChangeTransitionJointExplicit',
};

const decoder = new TextDecoder();

/** `v1 l2 r3 u4`; throws on anything else. */
export function parseChanges(text: string): ConfChangeSingle[] {
  const words = text.trim().split(' ').filter(Boolean);
  return words.map((word) => {
    const match = /^([vlru])(\d+)$/.exec(word);
    if (match === null) throw new Error(`unknown input: ${word}`);
    const [type] = Object.entries(CHANGE_LETTERS).find(([, letter]) => letter === match[1])!;
    return { type: type as ConfChangeType, nodeId: Number(match[2]) };
  });
}

export function formatIds(ids: Iterable<NodeId>): string {
  return `(${[...ids].map((id) => id.toString(16)).join(' ')})`;
}

/** `voters=(1 2)&&(1) learners=(3) autoleave` */
export function formatMembership(state: ConfState): string {
  let text = `voters=${formatIds(state.voters)}`;
  if (state.votersOutgoing.length > 0) text += `&&${formatIds(state.votersOutgoing)}`;
  if (state.learners.length > 0) text += ` learners=${formatIds(state.learners)}`;
  if (state.learnersNext.length > 0) text += ` learners_next=${formatIds(state.learnersNext)}`;
  return state.autoLeave ? `${text} autoleave` : text;
}

export function formatProgress(progress: ProgressStatus): string {
  let text = `${PROGRESS_NAMES[progress.state]} match=${progress.match} next=${progress.next}`;
  if (progress.isLearner) text += ' learner';
  if (progress.paused) text += ' paused';
  if (progress.pendingSnapshot > 0) text += ` pendingSnap=${progress.pendingSnapshot}`;
  if (!progress.recentActive) text += ' inactive';
  if (progress.inflightMessages > 0) {
    text += ` inflight=${progress.inflightMessages}${progress.inflightFull ? '[full]' : ''}`;
  }
  return text;
}

export function formatConfChange(change: AnyConfChange): string {
  const v2 = asV2(change);
  let text = `transition:${TRANSITION_NAMES[v2.transition]}`;
  for (const { type, nodeId } of v2.changes) {
    text += ` changes:{type:${CHANGE_NAMES[type]} node_id:${nodeId}}`;
  }
  return text;
}

export function formatConfState(state: ConfState): string {
  const list = (ids: readonly NodeId[]): string => `[${ids.join(' ')}]`;
  return (
    `Voters:${list(state.voters)} VotersOutgoing:${list(state.votersOutgoing)} ` +
    `Learners:${list(state.learners)} LearnersNext:${list(state.learnersNext)} ` +
    `AutoLeave:${state.autoLeave}`
  );
}

export function formatEntry(entry: Entry): string {
  const content =
    entry.type === 'normal'
      ? JSON.stringify(decoder.decode(entry.data))
      : asV2(decodeConfChange(entry))
          .changes.map(({ type, nodeId }) => `${CHANGE_LETTERS[type]}${nodeId}`)
          .join(' ');
  const suffix = content === '' ? '' : ` ${content}`;
  return `${entry.term}/${entry.index} ${ENTRY_NAMES[entry.type]}${suffix}`;
}

/** One line each. */
export function formatEntries(entries: readonly Entry[]): string {
  return entries.map((entry) => `${formatEntry(entry)}\n`).join('');
}

export function formatMessage(message: Message, indent = ''): string {
  const { from, to, type, term, logTerm, index, entries } = message;
  let text = `${indent}${formatTarget(from)}->${formatTarget(to)} ${MESSAGE_NAMES[type]}`;
  text += ` Term:${term} Log:${logTerm}/${index}`;
  if (message.reject) text += ` Rejected (Hint: ${message.rejectHint})`;
  if (message.commit !== 0) text += ` Commit:${message.commit}`;
  if (message.vote !== 0) text += ` Vote:${message.vote}`;
  if (entries.length === 1) {
    text += ` Entries:[${formatEntry(entries[0]!)}]`;
  } else if (entries.length > 1) {
    const lines = entries.map((entry) => `\n${indent}  ${formatEntry(entry)}`);
    text += ` Entries:[${lines.join('')}\n${indent}]`;
  }
  if (!isEmptySnapshot(message.snapshot)) {
    text += `\n${indent}  Snapshot: ${formatSnapshot(message.snapshot!)}`;
  }
  if (message.responses.length > 0) {
    const lines = message.responses.map((one) => `\n${formatMessage(one, `${indent}  `)}`);
    text += ` Responses:[${lines.join('')}\n${indent}]`;
  }
  return text;
}

export function formatReady(ready: Ready): string {
  let text = '';
  if (ready.softState !== null) text += `${formatSoftState(ready.softState)}\n`;
  if (ready.hardState !== null) text += `HardState ${formatHardState(ready.hardState)}\n`;
  if (ready.readStates.length > 0) {
    const states = ready.readStates.map(
      ({ index, requestContext }) => `{${index} [${requestContext.join(' ')}]}`,
    );
    text += `ReadStates [${states.join(' ')}]\n`;
  }
  if (ready.entries.length > 0) text += `Entries:\n${formatEntries(ready.entries)}`;
  if (!isEmptySnapshot(ready.snapshot)) text += `Snapshot ${formatSnapshot(ready.snapshot!)}\n`;
  if (ready.committedEntries.length > 0) {
    text += `CommittedEntries:\n${formatEntries(ready.committedEntries)}`;
  }
  if (ready.messages.length > 0) {
    text += `Messages:\n${ready.messages.map((one) => `${formatMessage(one)}\n`).join('')}`;
  }
  return text === '' ? '<empty Ready>' : `Ready MustSync=${ready.mustSync}:\n${text}`;
}

function formatSoftState({ leader, role }: SoftState): string {
  return `Lead:${leader} State:${ROLE_NAMES[role]}`;
}

export function formatHardState({ term, vote, commit }: HardState): string {
  return `Term:${term}${vote === 0 ? '' : ` Vote:${vote}`} Commit:${commit}`;
}

function formatSnapshot({ metadata }: Snapshot): string {
  const { index, term, confState } = metadata;
  return `Index:${index} Term:${term} ConfState:${formatConfState(confState)}`;
}

function formatTarget(id: NodeId): string {
  if (id === 0) return 'None';
  if (id === LOCAL_APPEND_THREAD) return 'AppendThread';
  if (id === LOCAL_APPLY_THREAD) return 'ApplyThread';
  return id.toString(16);
}

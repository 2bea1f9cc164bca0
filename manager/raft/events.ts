/**
 * Notable events of a Raft node, as data: what an operator, a test or a trace may want to know.
 * Words and destinations are the listener's affair. No event changes what the node does.
 */
import type { ConfChangeRefusal, ProgressStatus } from './status.ts';
import type { AnyConfChange, ConfState, EntryId, MessageType, NodeId, Role } from './types.ts';

export type RaftEventListener = (event: RaftEvent) => void;

/** A vote request as it was judged: both logs' ends and the vote already cast in the term. */
export interface VoteJudgement {
  readonly ownLast: EntryId;
  readonly vote: NodeId;
  readonly type: MessageType;
  readonly from: NodeId;
  readonly candidateLast: EntryId;
  readonly term: number;
}

/** `term` is this node's current term; `from` and `to` are the other node. */
export type RaftEvent =
  // Life and roles
  | {
      readonly code: 'node-started';
      readonly voters: readonly NodeId[];
      readonly term: number;
      readonly commit: number;
      readonly applied: number;
      readonly last: EntryId;
    }
  | { readonly code: 'became-follower'; readonly term: number }
  | { readonly code: 'became-pre-candidate'; readonly term: number }
  | { readonly code: 'became-candidate'; readonly term: number }
  | { readonly code: 'became-leader'; readonly term: number }
  | { readonly code: 'quorum-lost' }
  | { readonly code: 'membership-switched'; readonly confState: ConfState }
  // Elections
  | { readonly code: 'campaign-started'; readonly term: number }
  | { readonly code: 'campaign-ignored-leading' }
  | { readonly code: 'campaign-refused-unpromotable' }
  | { readonly code: 'campaign-refused-pending-change'; readonly term: number }
  | { readonly code: 'campaign-continued-unpromotable' }
  | {
      readonly code: 'vote-requested';
      readonly last: EntryId;
      readonly type: MessageType;
      readonly to: NodeId;
      readonly term: number;
    }
  | {
      readonly code: 'vote-received';
      readonly type: MessageType;
      readonly from: NodeId;
      readonly granted: boolean;
      readonly term: number;
    }
  | {
      readonly code: 'votes-tallied';
      readonly type: MessageType;
      readonly granted: number;
      readonly rejected: number;
    }
  | ({ readonly code: 'vote-granted' } & VoteJudgement)
  | ({ readonly code: 'vote-rejected' } & VoteJudgement)
  | ({ readonly code: 'vote-ignored-lease'; readonly remainingTicks: number } & VoteJudgement)
  | {
      readonly code: 'higher-term-received';
      readonly type: MessageType;
      readonly from: NodeId;
      readonly messageTerm: number;
      readonly term: number;
    }
  | {
      readonly code: 'lower-term-ignored';
      readonly type: MessageType;
      readonly from: NodeId;
      readonly messageTerm: number;
      readonly term: number;
    }
  | {
      readonly code: 'stale-append-ack-ignored';
      readonly type: MessageType;
      readonly messageTerm: number;
      readonly term: number;
    }
  // Leader transfer
  | { readonly code: 'transfer-started'; readonly to: NodeId; readonly term: number }
  | { readonly code: 'transfer-already-running'; readonly to: NodeId; readonly term: number }
  | { readonly code: 'transfer-replaced'; readonly previous: NodeId; readonly term: number }
  | { readonly code: 'transfer-ignored-self' }
  | { readonly code: 'transfer-ignored-learner' }
  | { readonly code: 'transfer-dropped-no-leader'; readonly term: number }
  | { readonly code: 'timeout-now-sent'; readonly to: NodeId; readonly caughtUpLater: boolean }
  | { readonly code: 'timeout-now-received'; readonly from: NodeId; readonly term: number }
  | {
      readonly code: 'timeout-now-ignored';
      readonly from: NodeId;
      readonly term: number;
      readonly role: Role;
    }
  | { readonly code: 'leader-forgotten'; readonly leader: NodeId; readonly term: number }
  | { readonly code: 'forget-leader-refused-lease' }
  // Proposals
  | { readonly code: 'proposal-dropped-no-leader'; readonly term: number }
  | {
      readonly code: 'proposal-dropped-not-forwarding';
      readonly leader: NodeId;
      readonly term: number;
    }
  | { readonly code: 'proposal-dropped-transfer'; readonly to: NodeId; readonly term: number }
  | { readonly code: 'proposal-dropped-size' }
  | {
      readonly code: 'conf-change-ignored';
      readonly change: AnyConfChange;
      readonly confState: ConfState;
      readonly refusal: ConfChangeRefusal;
    }
  | { readonly code: 'auto-leave-started'; readonly confState: ConfState }
  | { readonly code: 'auto-leave-refused'; readonly confState: ConfState; readonly err: unknown }
  // Replication, leader's side
  | { readonly code: 'no-progress-for-sender'; readonly from: NodeId }
  | {
      readonly code: 'append-refusal-received';
      readonly from: NodeId;
      readonly index: number;
      readonly hint: EntryId;
    }
  | {
      readonly code: 'progress-decreased';
      readonly from: NodeId;
      readonly progress: ProgressStatus;
    }
  | { readonly code: 'peer-unreachable'; readonly from: NodeId; readonly progress: ProgressStatus }
  | { readonly code: 'snapshot-skipped-inactive'; readonly to: NodeId }
  | { readonly code: 'snapshot-unavailable'; readonly to: NodeId }
  /** Whoever owns storage has to take a newer snapshot, else `to` never catches up. */
  | { readonly code: 'snapshot-lacks-member'; readonly to: NodeId; readonly snapshot: EntryId }
  | {
      readonly code: 'snapshot-sent';
      readonly to: NodeId;
      readonly firstIndex: number;
      readonly commit: number;
      readonly snapshot: EntryId;
      readonly progress: ProgressStatus;
    }
  | {
      readonly code: 'replication-paused-for-snapshot';
      readonly to: NodeId;
      readonly progress: ProgressStatus;
    }
  | {
      readonly code: 'snapshot-recovered';
      readonly from: NodeId;
      readonly progress: ProgressStatus;
    }
  | {
      readonly code: 'snapshot-delivered';
      readonly from: NodeId;
      readonly progress: ProgressStatus;
    }
  | { readonly code: 'snapshot-failed'; readonly from: NodeId; readonly progress: ProgressStatus }
  // Replication, follower's side
  | {
      readonly code: 'append-refused';
      readonly from: NodeId;
      /** Own term at the index; 0 when unknown. */
      readonly ownTerm: number;
      readonly previous: EntryId;
    }
  | { readonly code: 'snapshot-restored'; readonly commit: number; readonly snapshot: EntryId }
  | { readonly code: 'snapshot-ignored'; readonly commit: number; readonly snapshot: EntryId }
  | { readonly code: 'snapshot-refused-not-follower' }
  | { readonly code: 'snapshot-refused-not-member'; readonly confState: ConfState }
  | {
      readonly code: 'snapshot-fast-forwarded';
      readonly commit: number;
      readonly last: EntryId;
      readonly snapshot: EntryId;
    }
  | {
      readonly code: 'state-restored';
      readonly commit: number;
      readonly last: EntryId;
      readonly snapshot: EntryId;
    }
  // Log
  | {
      readonly code: 'log-conflict-found';
      readonly index: number;
      readonly ownTerm: number;
      readonly term: number;
    }
  | { readonly code: 'log-restoring'; readonly log: LogPositions; readonly snapshot: EntryId }
  | { readonly code: 'unstable-replaced'; readonly fromIndex: number }
  | { readonly code: 'unstable-truncated'; readonly fromIndex: number }
  | { readonly code: 'stable-entry-missing'; readonly index: number }
  | { readonly code: 'stable-entry-is-snapshot'; readonly index: number }
  | { readonly code: 'stable-entry-mismatched'; readonly entry: EntryId; readonly ownTerm: number }
  // Reads
  | { readonly code: 'read-dropped-no-leader'; readonly term: number }
  | { readonly code: 'read-response-malformed'; readonly from: NodeId; readonly entryCount: number }
  | { readonly code: 'read-released-too-early' };

export interface LogPositions {
  readonly committed: number;
  readonly applied: number;
  readonly applying: number;
  readonly unstableOffset: number;
  readonly unstableInProgress: number;
  readonly unstableCount: number;
}

export type RaftEventLevel = 'debug' | 'info' | 'warn' | 'error';

/** How much an event matters; codes not listed are `info`. */
const LEVELS: Partial<Record<RaftEvent['code'], RaftEventLevel>> = {
  'campaign-ignored-leading': 'debug',
  'campaign-refused-unpromotable': 'warn',
  'campaign-refused-pending-change': 'warn',
  'campaign-continued-unpromotable': 'warn',
  'quorum-lost': 'warn',
  'transfer-ignored-self': 'debug',
  'transfer-ignored-learner': 'debug',
  'timeout-now-ignored': 'debug',
  'forget-leader-refused-lease': 'error',
  'proposal-dropped-transfer': 'debug',
  'proposal-dropped-size': 'warn',
  'auto-leave-refused': 'debug',
  'no-progress-for-sender': 'debug',
  'append-refusal-received': 'debug',
  'progress-decreased': 'debug',
  'peer-unreachable': 'debug',
  'snapshot-skipped-inactive': 'debug',
  'snapshot-unavailable': 'debug',
  'snapshot-sent': 'debug',
  'replication-paused-for-snapshot': 'debug',
  'snapshot-recovered': 'debug',
  'snapshot-delivered': 'debug',
  'snapshot-failed': 'debug',
  'append-refused': 'debug',
  'snapshot-refused-not-follower': 'warn',
  'snapshot-refused-not-member': 'warn',
  'read-response-malformed': 'error',
  'read-released-too-early': 'error',
};

export function levelOf(code: RaftEvent['code']): RaftEventLevel {
  return LEVELS[code] ?? 'info';
}

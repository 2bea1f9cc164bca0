/** What a Raft node tells about itself. Copies: holding one does not observe later changes. */
import type { ConfState, NodeId, Role } from './types.ts';

export interface BasicStatus {
  readonly id: NodeId;
  readonly term: number;
  readonly vote: NodeId;
  readonly commit: number;
  readonly applied: number;
  readonly lastIndex: number;
  readonly role: Role;
  readonly leader: NodeId;
  /** Whom leadership is being handed to, or `NO_NODE`. */
  readonly leadTransferee: NodeId;
}

/** `probe`: one append at a time; `replicate`: streaming; `snapshot`: waits for its snapshot. */
export type ProgressState = 'probe' | 'replicate' | 'snapshot';

export interface ProgressStatus {
  /** Highest index known to be durable there and equal to ours. */
  readonly match: number;
  readonly next: number;
  readonly state: ProgressState;
  /** Index of the snapshot under way, or 0. */
  readonly pendingSnapshot: number;
  /** Heard from within the last election timeout (kept only with check-quorum). */
  readonly recentActive: boolean;
  readonly paused: boolean;
  readonly inflightMessages: number;
  readonly inflightFull: boolean;
  readonly isLearner: boolean;
}

export interface Status extends BasicStatus {
  readonly confState: ConfState;
  /** Per member including this node, ascending by id; empty unless leader. */
  readonly progress: ReadonlyMap<NodeId, ProgressStatus>;
}

/** Why a leader did not let a membership change into the log. */
export type ConfChangeRefusal =
  /** An earlier change, or the tail that a new leader found, is not applied yet: try again. */
  | { readonly reason: 'unapplied-change'; readonly pendingIndex: number; readonly applied: number }
  | { readonly reason: 'leave-joint-first' }
  | { readonly reason: 'not-joint' }
  /** It cannot be made from the members in force, e.g. it would remove the last voter. */
  | { readonly reason: 'impossible'; readonly why: string };

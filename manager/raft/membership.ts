/** Putting a membership into force on a running node, and what follows from it. */
import { assert } from '../../common/base/assert.ts';
import { leavesJoint, protocolOf } from './conf-change.ts';
import {
  changeSimply,
  confStatesEqual,
  enterJoint,
  leaveJoint,
  type MembershipResult,
  restoreMembership,
} from './membership-change.ts';
import type { RaftState } from './raft-state.ts';
import { answerConfirmedReads, releaseEarlyReads } from './reads.ts';
import { broadcastAppend, tryCommit, trySendAppend } from './replication.ts';
import { becomeFollower } from './roles.ts';
import { confStateOf } from './tracker.ts';
import { type ConfChangeV2, type ConfState, NO_NODE } from './types.ts';

/**
 * Applies a committed change. It must be possible: the leader checked it, and all members apply the
 * same changes in the same order; `MembershipChangeError` therefore means a damaged log or
 * `disableConfChangeValidation` misused.
 */
export function applyMembershipChange(raft: RaftState, change: ConfChangeV2): ConfState {
  return switchMembership(raft, planChange(raft, change));
}

/** Puts the membership of a snapshot (or of storage, at start) into force. */
export function restoreMembershipFrom(raft: RaftState, confState: ConfState): void {
  const restored = restoreMembership(confState, raft.log.lastIndex(), raft.config);
  const inForce = switchMembership(raft, restored);
  assert(
    confStatesEqual(confState, inForce),
    `raft: membership ${JSON.stringify(confState)} became ${JSON.stringify(inForce)}`,
  );
}

/** A leader that appends or acknowledges went past a commit: all who wait for it are told. */
export function announceCommit(raft: RaftState): void {
  releaseEarlyReads(raft);
  broadcastAppend(raft);
}

/** What `change` would lead to. Throws `MembershipChangeError` when it is impossible. */
export function planChange(raft: RaftState, change: ConfChangeV2): MembershipResult {
  const base = {
    membership: raft.tracker.membership,
    progress: raft.tracker.progress,
    lastIndex: raft.log.lastIndex(),
    limits: raft.config,
  };
  if (leavesJoint(change)) return leaveJoint(base);
  const protocol = protocolOf(change);
  if (protocol === 'simple') return changeSimply(base, change.changes);
  return enterJoint(base, protocol === 'joint-left-automatically', change.changes);
}

function switchMembership(raft: RaftState, next: MembershipResult): ConfState {
  raft.tracker.switchTo(next.membership, next.progress);
  const confState = confStateOf(next.membership);
  raft.tell({ code: 'membership-switched', confState });
  if (raft.role !== 'leader') return confState;

  const own = raft.tracker.get(raft.id);
  if (own === undefined || own.isLearner) {
    if (raft.config.stepDownOnRemoval) becomeFollower(raft, raft.term, NO_NODE);
    return confState;
  }
  if (confState.voters.length === 0) return confState;
  if (tryCommit(raft)) {
    // Fewer voters may be needed now.
    announceCommit(raft);
  } else {
    // New members need not wait for the next proposal or heartbeat.
    for (const id of raft.tracker.progress.keys()) {
      if (id !== raft.id) trySendAppend(raft, id, false);
    }
  }
  answerConfirmedReads(raft);
  if (raft.leadTransferee !== NO_NODE && !raft.tracker.isVoter(raft.leadTransferee)) {
    raft.leadTransferee = NO_NODE;
  }
  return confState;
}

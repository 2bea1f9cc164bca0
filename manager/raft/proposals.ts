/** What a leader does with proposals, and what it proposes itself. */
import { asV2, decodeConfChange, encodeConfChange, LEAVE_JOINT } from './conf-change.ts';
import { ProposalDroppedError } from './errors.ts';
import { planChange } from './membership.ts';
import { MembershipChangeError } from './membership-change.ts';
import type { RaftState } from './raft-state.ts';
import { appendToOwnLog, broadcastAppend, type ProposedEntry } from './replication.ts';
import type { ConfChangeRefusal } from './status.ts';
import { confStateOf, isJoint } from './tracker.ts';
import { type AnyConfChange, type ConfChangeV2, type Entry, NO_BYTES, NO_NODE } from './types.ts';

const EMPTY_ENTRY: ProposedEntry = { type: 'normal', data: NO_BYTES };

/** Leader only. Throws `ProposalDroppedError`, and `data-loss` for a damaged conf change. */
export function handleProposal(raft: RaftState, proposed: readonly Entry[]): void {
  if (proposed.length === 0) return;
  // Removed while leading (and not told to step down): its entries could never count.
  if (raft.tracker.get(raft.id) === undefined) throw new ProposalDroppedError('removed');
  if (raft.leadTransferee !== NO_NODE) {
    const { leadTransferee: to, term } = raft;
    raft.tell({ code: 'proposal-dropped-transfer', to, term });
    throw new ProposalDroppedError('transfer-in-progress');
  }
  const changes = proposed.map((entry) =>
    entry.type === 'normal' ? null : decodeConfChange(entry),
  );
  const entries = proposed.map((entry, i): ProposedEntry => {
    const change = changes[i] ?? null;
    return change === null || admitConfChange(raft, change, i) ? entry : EMPTY_ENTRY;
  });
  if (!appendToOwnLog(raft, entries)) throw new ProposalDroppedError('too-much-uncommitted');
  broadcastAppend(raft);
}

/**
 * A membership change may enter the log when no other is unapplied and it is possible from the
 * membership in force. The first rule makes the second exact: no change can come in between, so one
 * that is admitted can be applied. `offset`: place within the entries proposed.
 */
function admitConfChange(raft: RaftState, change: AnyConfChange, offset: number): boolean {
  const refusal = refusalOf(raft, asV2(change));
  if (refusal !== null && !raft.config.disableConfChangeValidation) {
    const confState = confStateOf(raft.tracker.membership);
    raft.tell({ code: 'conf-change-ignored', change, confState, refusal });
    return false;
  }
  raft.pendingConfIndex = raft.log.lastIndex() + offset + 1;
  return true;
}

function refusalOf(raft: RaftState, change: ConfChangeV2): ConfChangeRefusal | null {
  const { applied } = raft.log;
  if (raft.pendingConfIndex > applied) {
    return { reason: 'unapplied-change', pendingIndex: raft.pendingConfIndex, applied };
  }
  const joint = isJoint(raft.tracker.membership);
  const leaving = change.changes.length === 0;
  if (joint && !leaving) return { reason: 'leave-joint-first' };
  if (!joint && leaving) return { reason: 'not-joint' };
  try {
    planChange(raft, change);
  } catch (err) {
    if (!(err instanceof MembershipChangeError)) throw err;
    return { reason: 'impossible', why: err.message };
  }
  return null;
}

/**
 * Entries up to `raft.log.applied` are applied: a leader leaves a joint configuration that was
 * entered for it to leave. Tried again after each applied entry until it succeeds.
 */
export function autoLeaveJoint(raft: RaftState): void {
  const { membership } = raft.tracker;
  if (!membership.autoLeave || raft.role !== 'leader') return;
  if (raft.log.applied < raft.pendingConfIndex) return;
  const confState = confStateOf(membership);
  const data = encodeConfChange(LEAVE_JOINT);
  try {
    handleProposal(raft, [{ index: 0, term: 0, type: 'conf-change-v2', data }]);
  } catch (err) {
    if (!(err instanceof ProposalDroppedError)) throw err;
    raft.tell({ code: 'auto-leave-refused', confState, err });
    return;
  }
  raft.tell({ code: 'auto-leave-started', confState });
}

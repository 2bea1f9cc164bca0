/** What a leader does with proposals, and what it proposes itself. */
import { asV2, decodeConfChange, encodeConfChange, LEAVE_JOINT } from './conf-change.ts';
import { ProposalDroppedError } from './errors.ts';
import type { RaftState } from './raft-state.ts';
import { appendToOwnLog, broadcastAppend, type ProposedEntry } from './replication.ts';
import { confStateOf, isJoint } from './tracker.ts';
import { type AnyConfChange, type Entry, NO_BYTES, NO_NODE } from './types.ts';

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
 * A membership change may enter the log when no other is unapplied and it fits the membership in
 * force. This is checked against what this node applied, so it may be wrong in both directions; the
 * `pendingConfIndex` makes the first rule safe. `offset`: place within the entries proposed.
 */
function admitConfChange(raft: RaftState, change: AnyConfChange, offset: number): boolean {
  const { applied } = raft.log;
  const joint = isJoint(raft.tracker.membership);
  const leaving = asV2(change).changes.length === 0;
  const reason =
    raft.pendingConfIndex > applied
      ? 'unapplied-change'
      : joint && !leaving
        ? 'leave-joint-first'
        : !joint && leaving
          ? 'not-joint'
          : null;
  if (reason !== null && !raft.config.disableConfChangeValidation) {
    const confState = confStateOf(raft.tracker.membership);
    const pendingIndex = raft.pendingConfIndex;
    raft.tell({ code: 'conf-change-ignored', change, confState, reason, pendingIndex, applied });
    return false;
  }
  raft.pendingConfIndex = raft.log.lastIndex() + offset + 1;
  return true;
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

/**
 * Moving the log: what a leader sends (entries, snapshots, heartbeats, commit), and how the
 * acknowledgement of a follower moves commit. Knows nothing of elections.
 */
import { assert } from '../../common/base/assert.ts';
import { payloadBytes } from './entry-slices.ts';
import type { Progress } from './progress.ts';
import type { RaftState } from './raft-state.ts';
import { type Entry, isEmptySnapshot, isMember, type NodeId } from './types.ts';

/** An entry as proposed: its place is given by the leader. */
export type ProposedEntry = Pick<Entry, 'type' | 'data'>;

/** Sends what the member lacks, or at least the commit index, unless sending is paused. */
export function sendAppend(raft: RaftState, to: NodeId): void {
  trySendAppend(raft, to, true);
}

/**
 * Sends one append, or a snapshot when the log no longer goes back far enough. Without `evenIfEmpty`
 * only when there are entries. True when a message was queued.
 */
export function trySendAppend(raft: RaftState, to: NodeId, evenIfEmpty: boolean): boolean {
  const progress = raft.tracker.get(to);
  assert(progress !== undefined, `raft replication: ${to.toString(16)} is no member`);
  if (progress.paused) return false;

  const previousIndex = progress.next - 1;
  const previousTerm = raft.log.term(previousIndex);
  if (typeof previousTerm !== 'number') return trySendSnapshot(raft, to, progress);

  // With a full window an empty append still goes out: if all in the window were lost, only its
  // answer can empty it.
  const windowFull = progress.state === 'replicate' && progress.inflightsFull;
  const entries = windowFull
    ? []
    : raft.log.entriesFrom(progress.next, raft.config.maxSizePerMessageBytes);
  if (entries === 'compacted') return evenIfEmpty && trySendSnapshot(raft, to, progress);
  if (entries.length === 0 && !evenIfEmpty) return false;

  const commit = raft.log.committed;
  raft.send({ type: 'append', to, index: previousIndex, logTerm: previousTerm, entries, commit });
  progress.sentEntries(entries.length, payloadBytes(entries));
  progress.sentCommit(commit);
  return true;
}

function trySendSnapshot(raft: RaftState, to: NodeId, progress: Progress): boolean {
  if (!progress.recentActive) {
    raft.tell({ code: 'snapshot-skipped-inactive', to });
    return false;
  }
  const snapshot = raft.log.snapshot();
  if (snapshot === 'temporarily-unavailable') {
    raft.tell({ code: 'snapshot-unavailable', to });
    return false;
  }
  assert(!isEmptySnapshot(snapshot), 'raft replication: log compacted without a snapshot');
  const { index, term, confState } = snapshot.metadata;
  if (!isMember(confState, to)) {
    // The receiver would refuse it, and we would send it again at once, forever.
    raft.tell({ code: 'snapshot-lacks-member', to, snapshot: { index, term } });
    return false;
  }
  raft.tell({
    code: 'snapshot-sent',
    to,
    firstIndex: raft.log.firstIndex(),
    commit: raft.log.committed,
    snapshot: { index, term },
    progress: progress.status(),
  });
  progress.becomeSnapshot(index);
  raft.tell({ code: 'replication-paused-for-snapshot', to, progress: progress.status() });
  raft.send({ type: 'snapshot', to, snapshot });
  return true;
}

export function broadcastAppend(raft: RaftState): void {
  for (const id of raft.tracker.progress.keys()) if (id !== raft.id) sendAppend(raft, id);
}

/** Heartbeats carry the newest position of waiting reads. */
export function broadcastHeartbeat(raft: RaftState): void {
  const context = raft.readOnly.heartbeatContext();
  for (const [to, progress] of raft.tracker.progress) {
    if (to === raft.id) continue;
    // Never a commit index past what is known to match: it would commit what is not there.
    const commit = Math.min(progress.match, raft.log.committed);
    raft.send({ type: 'heartbeat', to, commit, context });
    progress.sentCommit(commit);
  }
}

/**
 * Appends to the leader's own log; its own acknowledgement follows once the write is durable. False
 * when the uncommitted tail is too large already.
 */
export function appendToOwnLog(raft: RaftState, proposed: readonly ProposedEntry[]): boolean {
  const last = raft.log.lastIndex();
  const entries = proposed.map(
    ({ type, data }, i): Entry => ({ index: last + 1 + i, term: raft.term, type, data }),
  );
  if (!chargeUncommitted(raft, entries)) {
    raft.tell({ code: 'proposal-dropped-size' });
    return false;
  }
  const index = raft.log.append(entries);
  raft.send({ type: 'append-response', to: raft.id, index });
  return true;
}

/**
 * Counts new entries against the limit. An empty tail takes one entry of any size, and entries
 * without payload always pass: a new leader's first entry, the leaving of a joint configuration.
 */
function chargeUncommitted(raft: RaftState, entries: readonly Entry[]): boolean {
  const bytes = payloadBytes(entries);
  const total = raft.uncommittedBytes + bytes;
  const isAlone = raft.uncommittedBytes === 0 && entries.length === 1;
  if (!isAlone && bytes > 0 && total > raft.config.maxUncommittedBytes) return false;
  raft.uncommittedBytes = total;
  return true;
}

/** Entries were applied; only those of its own term were charged to this leader. */
export function dischargeUncommitted(raft: RaftState, entries: readonly Entry[]): void {
  const own = entries.filter(({ term }) => term === raft.term);
  raft.uncommittedBytes = Math.max(0, raft.uncommittedBytes - payloadBytes(own));
}

/** Leader only: moves commit to what a quorum holds. Only entries of its own term count. */
export function tryCommit(raft: RaftState): boolean {
  return raft.log.tryCommit({ term: raft.term, index: raft.tracker.committedIndex() });
}

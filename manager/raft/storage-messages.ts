/**
 * The local messages of async storage writes: what the log writer and the applier are told, and the
 * responses that come back when they are done. Also the same responses for the synchronous form.
 */
import type { RaftState } from './raft-state.ts';
import {
  type Entry,
  type HardState,
  LOCAL_APPEND_THREAD,
  LOCAL_APPLY_THREAD,
  type Message,
  message,
  type Snapshot,
} from './types.ts';

/** What is new and has to be written. */
export interface Unwritten {
  readonly entries: readonly Entry[];
  readonly hardState: HardState | null;
  readonly snapshot: Snapshot | null;
}

/** Null when there is nothing to write and nothing waits for earlier writes. */
export function storageAppend(raft: RaftState, unwritten: Unwritten): Message | null {
  const { entries, hardState, snapshot } = unwritten;
  const waiting = raft.messagesAfterAppend;
  if (entries.length === 0 && hardState === null && snapshot === null && waiting.length === 0) {
    return null;
  }
  // Own acknowledgement last: those before it are handled while the entries are still unstable,
  // where their terms are found fastest.
  const stored = storageAppendResponse(raft, unwritten);
  return message({
    type: 'storage-append',
    to: LOCAL_APPEND_THREAD,
    from: raft.id,
    entries,
    ...hardState,
    snapshot,
    responses: stored === null ? waiting : [...waiting, stored],
  });
}

/**
 * What the node is to hear when all that is unstable now has been written; null when nothing is.
 *
 * It names the last entry of the log, not of this write, and carries the current term, after which
 * it is void. The reason is an ABA problem: entries A are being written; another leader replaces
 * them by B, written next; the first leader returns and replaces them by A again. When the first
 * write ends, (index, term) of A match the log, but storage is about to hold B. Had A been dropped
 * from the unstable log, reads would see B. Each replacement comes with a higher term, and each
 * term change comes with a write of its own, whose response, naming the last entry once more, makes
 * up for the ones that were void.
 */
export function storageAppendResponse(
  raft: RaftState,
  { snapshot }: Pick<Unwritten, 'snapshot'>,
): Message | null {
  const hasUnstable = raft.log.unstable.count > 0;
  if (!hasUnstable && snapshot === null) return null;
  const last = hasUnstable ? raft.log.lastEntryId() : { index: 0, term: 0 };
  return message({
    type: 'storage-append-response',
    to: raft.id,
    from: LOCAL_APPEND_THREAD,
    term: raft.term,
    index: last.index,
    logTerm: last.term,
    snapshot,
  });
}

/** Committed entries belong to no term: neither message carries one. */
export function storageApply(raft: RaftState, entries: readonly Entry[]): Message {
  return message({
    type: 'storage-apply',
    to: LOCAL_APPLY_THREAD,
    from: raft.id,
    entries,
    responses: [storageApplyResponse(raft, entries)],
  });
}

export function storageApplyResponse(raft: RaftState, entries: readonly Entry[]): Message {
  return message({
    type: 'storage-apply-response',
    to: raft.id,
    from: LOCAL_APPLY_THREAD,
    entries,
  });
}

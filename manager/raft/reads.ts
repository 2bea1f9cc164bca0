/** Linearizable reads: at which index a read may be served, and the proof that it is not stale. */
import type { RaftState } from './raft-state.ts';
import { broadcastHeartbeat } from './replication.ts';
import { type Message, NO_NODE } from './types.ts';

/** Leader: a read was asked for, here or by a follower on behalf of its client. */
export function handleReadRequest(raft: RaftState, request: Message): void {
  if (request.entries.length !== 1) return; // nothing to hand back, so nobody waits
  // Until an entry of this term is committed, commit may lie behind what an earlier leader told its
  // clients (paper, section 8). Holds for a single voter too: its commit index is persisted lazily.
  if (!hasCommittedInTerm(raft)) {
    raft.readsBeforeFirstCommit.push(request);
    return;
  }
  confirm(raft, request);
}

/** The first entry of the term was committed: reads that waited for it go on. */
export function releaseEarlyReads(raft: RaftState): void {
  if (raft.readsBeforeFirstCommit.length === 0) return;
  if (!hasCommittedInTerm(raft)) {
    raft.tell({ code: 'read-released-too-early' });
    return;
  }
  const requests = raft.readsBeforeFirstCommit;
  raft.readsBeforeFirstCommit = [];
  for (const request of requests) confirm(raft, request);
}

/** Leader: a member answered a heartbeat, which may confirm reads. */
export function handleReadAck(raft: RaftState, response: Message): void {
  if (raft.config.readOnlyMode !== 'safe' || response.context.length === 0) return;
  raft.readOnly.acked(response.from, response.context);
  answerConfirmedReads(raft);
}

/** Also to be called when the voters change: fewer may be needed now. */
export function answerConfirmedReads(raft: RaftState): void {
  const confirmed = raft.readOnly.takeConfirmed(raft.tracker.membership.voters);
  for (const { request, index } of confirmed) answer(raft, request, index);
}

/** Elsewhere than on the leader: passes the question on. */
export function forwardReadRequest(raft: RaftState, request: Message): void {
  if (raft.leader === NO_NODE) {
    raft.tell({ code: 'read-dropped-no-leader', term: raft.term });
    return;
  }
  raft.send({ ...request, to: raft.leader });
}

/** The leader's answer to a forwarded question. */
export function handleReadResponse(raft: RaftState, response: Message): void {
  const entry = response.entries[0];
  if (entry === undefined || response.entries.length !== 1) {
    const entryCount = response.entries.length;
    raft.tell({ code: 'read-response-malformed', from: response.from, entryCount });
    return;
  }
  raft.readStates.push({ index: response.index, requestContext: entry.data });
}

function confirm(raft: RaftState, request: Message): void {
  const commit = raft.log.committed;
  if (raft.tracker.isSingleton || raft.config.readOnlyMode === 'lease-based') {
    answer(raft, request, commit);
    return;
  }
  raft.readOnly.add(request, commit);
  raft.readOnly.acked(raft.id, raft.readOnly.heartbeatContext());
  broadcastHeartbeat(raft);
}

function answer(raft: RaftState, request: Message, index: number): void {
  if (request.from === NO_NODE || request.from === raft.id) {
    raft.readStates.push({ index, requestContext: request.entries[0]!.data });
    return;
  }
  const { from: to, entries } = request;
  raft.send({ type: 'read-index-response', to, index, entries });
}

/** A leader's term is never 0, so an unknown term never equals it. */
function hasCommittedInTerm(raft: RaftState): boolean {
  return raft.log.termOrZero(raft.log.committed) === raft.term;
}

/** The four roles and the changes between them. What a role does is elsewhere. */
import { assert } from '../../common/base/assert.ts';
import type { RaftState } from './raft-state.ts';
import { appendToOwnLog } from './replication.ts';
import { NO_BYTES, NO_NODE, type NodeId } from './types.ts';

export function becomeFollower(raft: RaftState, term: number, leader: NodeId): void {
  assert(term >= raft.term, `raft: term would fall from ${raft.term} to ${term}`);
  raft.reset(term);
  raft.leader = leader;
  raft.role = 'follower';
  raft.tell({ code: 'became-follower', term: raft.term });
}

export function becomeCandidate(raft: RaftState): void {
  assert(raft.role !== 'leader', 'raft: a leader cannot become candidate');
  raft.reset(raft.term + 1);
  raft.vote = raft.id;
  raft.role = 'candidate';
  raft.tell({ code: 'became-candidate', term: raft.term });
}

/** Changes neither term nor vote: nobody is bound by a pre-vote. */
export function becomePreCandidate(raft: RaftState): void {
  assert(raft.role !== 'leader', 'raft: a leader cannot become pre-candidate');
  raft.tracker.resetVotes();
  raft.leader = NO_NODE;
  raft.role = 'pre-candidate';
  raft.tell({ code: 'became-pre-candidate', term: raft.term });
}

export function becomeLeader(raft: RaftState): void {
  assert(raft.role !== 'follower', 'raft: a follower cannot become leader');
  raft.reset(raft.term);
  raft.leader = raft.id;
  raft.role = 'leader';
  const own = raft.tracker.get(raft.id);
  assert(own !== undefined, 'raft: leader is no member');
  own.becomeReplicate();
  own.recentActive = true;
  // There may be a membership change in the tail. Waiting for the whole tail is cheaper than
  // searching it.
  raft.pendingConfIndex = raft.log.lastIndex();
  // Entries of earlier terms only commit together with one of this term (thesis 3.6.2).
  const appended = appendToOwnLog(raft, [{ type: 'normal', data: NO_BYTES }]);
  assert(appended, 'raft: the empty entry of a new leader was dropped');
  raft.tell({ code: 'became-leader', term: raft.term });
}

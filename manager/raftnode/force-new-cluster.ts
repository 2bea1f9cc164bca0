/**
 * Makes a cluster of one out of what a survivor has, after a majority was lost for good. Pure: the
 * recovered state in, the state to write out.
 */
import { SkepError } from '../../common/base/errors.ts';
import { confChange, decodeConfChange, encodeConfChange } from '../raft/conf-change.ts';
import type { Entry, HardState } from '../raft/types.ts';
import type { RecoveredState } from './durable-state.ts';
import { encodeMember, idsOf, type MemberRecord } from './membership.ts';

export interface ForcedState {
  /** New entries, in the places of all that was not committed. */
  readonly entries: readonly Entry[];
  readonly hardState: HardState;
}

/**
 * Drops what this node does not know to be committed, and adds committed conf changes that make
 * `self` a voter and remove everybody else. Term and vote stay. Throws `failed-precondition` on a
 * node that never got a snapshot: it has no state to save.
 */
export function forceNewCluster(recovered: RecoveredState, self: MemberRecord): ForcedState {
  const { snapshot, hardState } = recovered;
  if (snapshot === null) {
    throw new SkepError(
      'failed-precondition',
      'force a new cluster: this manager never received the state of the old one',
    );
  }
  const committed = recovered.entries.filter(
    ({ index }) => index > snapshot.index && index <= hardState.commit,
  );
  const ids = membersAfter(new Set(idsOf(snapshot.confState)), committed);
  ids.delete(self.raftId);
  // Self first: a configuration without any voter is never in force.
  const changes = [
    confChange('add-voter', self.raftId, encodeMember(self)),
    ...[...ids].sort((a, b) => a - b).map((id) => confChange('remove', id)),
  ];
  const entries = changes.map((change, i): Entry => {
    const index = hardState.commit + 1 + i;
    return { index, term: hardState.term, type: 'conf-change', data: encodeConfChange(change) };
  });
  return { entries, hardState: { ...hardState, commit: hardState.commit + entries.length } };
}

function membersAfter(ids: Set<number>, entries: readonly Entry[]): Set<number> {
  for (const entry of entries) {
    if (entry.type === 'normal') continue;
    const change = decodeConfChange(entry);
    for (const { type, nodeId } of change.kind === 'v1' ? [change] : change.changes) {
      if (type === 'remove') ids.delete(nodeId);
      else if (nodeId !== 0) ids.add(nodeId);
    }
  }
  return ids;
}

/** `recovered` as it will be read after the forced state was written. */
export function withForced(recovered: RecoveredState, forced: ForcedState): RecoveredState {
  const { hardState } = recovered;
  const kept = recovered.entries.filter(({ index }) => index <= hardState.commit);
  return { ...recovered, entries: [...kept, ...forced.entries], hardState: forced.hardState };
}

/**
 * The three ways in which a raft node comes to its durable state: founding a cluster, joining one,
 * restarting. Knows no core and no peers.
 */
import { EMPTY_CONF_STATE, EMPTY_HARD_STATE } from '../raft/types.ts';
import {
  backUp,
  type DurableOptions,
  DurableState,
  dataOf,
  type RecoveredState,
  type SnapshotHead,
} from './durable-state.ts';
import { forceNewCluster, withForced } from './force-new-cluster.ts';
import { type MemberRecord, Membership } from './membership.ts';
import type { RaftNodeOptions } from './node-options.ts';
import { writeFirstSnapshot } from './snapshot-taker.ts';

export interface StartState {
  readonly durable: DurableState;
  readonly recovered: RecoveredState;
}

/**
 * A cluster begins with a snapshot at index 1, term 1, in which the founder is the only voter: every
 * later member gets its state and its membership from a snapshot, never from index 0.
 */
export function bootstrapState(options: RaftNodeOptions): Promise<StartState> {
  return opened(options, 'new', async (durable) => {
    const head: SnapshotHead = {
      index: 1,
      term: 1,
      confState: { ...EMPTY_CONF_STATE, voters: [options.raftId] },
      membership: Membership.EMPTY.withMember(selfOf(options)),
    };
    await writeFirstSnapshot(durable.snapshots, options.stateMachine, head);
    const hardState = { ...EMPTY_HARD_STATE, term: 1, commit: 1 };
    await durable.wal.append([
      { kind: 'mark', mark: { index: 1, term: 1, installed: false } },
      { kind: 'hard-state', hardState },
    ]);
    return { hardState, snapshot: head, entries: [], membership: head.membership };
  });
}

/** An empty log: from now on the directory is one of this node, and knows whom to ask. */
export function joinState(
  options: RaftNodeOptions,
  known: readonly MemberRecord[],
): Promise<StartState> {
  return opened(options, 'new', async (durable) => {
    const membership = known.reduce((all, one) => all.withMember(one), Membership.EMPTY);
    await durable.wal.append([
      { kind: 'members', members: membership.encode() },
      { kind: 'hard-state', hardState: EMPTY_HARD_STATE },
    ]);
    return { ...durable.recovered, membership };
  });
}

export function restartState(options: RaftNodeOptions, force: boolean): Promise<StartState> {
  return opened(options, 'existing', async (durable) => {
    const recovered = force ? await forced(options, durable) : durable.recovered;
    const { snapshot } = recovered;
    if (snapshot !== null) {
      const reader = await durable.snapshots.read(snapshot);
      await options.stateMachine.restore(dataOf(reader), snapshot.index);
    }
    return recovered;
  });
}

async function forced(options: RaftNodeOptions, durable: DurableState): Promise<RecoveredState> {
  const { disk, dir, clock, log } = options;
  const change = forceNewCluster(durable.recovered, selfOf(options));
  const backup = await backUp(disk, dir, `backup-${Math.floor(clock.wallMs())}`);
  log.warn({ backup, raftIndex: change.hardState.commit }, 'forcing a new cluster of one manager');
  await durable.wal.append([
    ...change.entries.map((entry) => ({ kind: 'entry', entry }) as const),
    { kind: 'hard-state', hardState: change.hardState },
  ]);
  return withForced(durable.recovered, change);
}

async function opened(
  options: RaftNodeOptions,
  expectation: 'new' | 'existing',
  prepare: (durable: DurableState) => Promise<RecoveredState>,
): Promise<StartState> {
  const durable = await DurableState.open(durableOptions(options), expectation);
  try {
    return { durable, recovered: await prepare(durable) };
  } catch (err) {
    await durable.close().catch(() => {}); // the failure before is the one to tell
    throw err;
  }
}

/** `RaftNodeOptions` has the same fields, and more. */
function durableOptions(options: RaftNodeOptions): DurableOptions {
  return options;
}

function selfOf({ raftId, nodeId, address }: RaftNodeOptions): MemberRecord {
  return { raftId, nodeId, address };
}

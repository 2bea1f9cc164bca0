/**
 * Has this manager's Raft node do as the cluster says: snapshots, elections, heartbeats. On every manager; writes no
 * objects.
 */
import { type ClusterSpec, DEFAULT_CLUSTER_SPEC } from '../common/model/cluster.ts';
import type { RaftNode } from './raftnode/raft-node.ts';
import type { SnapshotSettings } from './raftnode/snapshot-policy.ts';
import { Follower, type FollowerOptions } from './store/follower.ts';

export interface RaftSettingsFollowerOptions extends FollowerOptions {
  readonly raft: Pick<RaftNode, 'setSnapshotSettings' | 'setTiming'>;
}

export class RaftSettingsFollower {
  readonly #options: RaftSettingsFollowerOptions;
  readonly #follower: Follower;
  /** as it was applied last */
  #applied: ClusterSpec['raft'] | null = null;

  constructor(options: RaftSettingsFollowerOptions) {
    this.#options = options;
    this.#follower = new Follower(options, {
      resync: async () => this.#follow(),
      react: async () => this.#follow(),
    });
  }

  async start(): Promise<void> {
    this.#follower.start();
  }

  /** Idempotent. */
  stop(): Promise<void> {
    return this.#follower.stop();
  }

  #follow(): void {
    const { store, raft } = this.#options;
    const wanted = store.view((view) => view.list('cluster')[0])?.spec.raft;
    if (!wanted || wanted === this.#applied) return;
    const { electionTicks, heartbeatTicks } = wanted;
    raft.setSnapshotSettings(snapshotSettings(wanted));
    // Each time a timeout is drawn anew: only where it is another one.
    const before = this.#applied ?? DEFAULT_CLUSTER_SPEC.raft;
    this.#applied = wanted;
    const isSame =
      before.electionTicks === electionTicks && before.heartbeatTicks === heartbeatTicks;
    if (!isSame) raft.setTiming({ electionTicks, heartbeatTicks });
  }
}

/** Defaults are what each node does by itself: it may know better. */
function snapshotSettings(raft: ClusterSpec['raft']): SnapshotSettings {
  const { snapshotInterval, keepOldSnapshots, logEntriesForSlowFollowers } = raft;
  const defaults = DEFAULT_CLUSTER_SPEC.raft;
  return {
    intervalEntries: snapshotInterval === defaults.snapshotInterval ? null : snapshotInterval,
    keepOld: keepOldSnapshots,
    keepEntries:
      logEntriesForSlowFollowers === defaults.logEntriesForSlowFollowers
        ? null
        : logEntriesForSlowFollowers,
  };
}

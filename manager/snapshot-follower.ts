/** Has this manager's Raft node take and keep snapshots as the cluster says, on every manager. Writes no objects. */
import { type ClusterSpec, DEFAULT_CLUSTER_SPEC } from '../common/model/cluster.ts';
import type { SnapshotSettings } from './raftnode/snapshot-policy.ts';
import { Follower, type FollowerOptions } from './store/follower.ts';

export interface SnapshotFollowerOptions extends FollowerOptions {
  readonly apply: (settings: SnapshotSettings) => void;
}

export class SnapshotFollower {
  readonly #options: SnapshotFollowerOptions;
  readonly #follower: Follower;
  /** as it was applied last */
  #raft: ClusterSpec['raft'] | null = null;

  constructor(options: SnapshotFollowerOptions) {
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
    const cluster = this.#options.store.view((view) => view.list('cluster')[0]);
    if (!cluster || cluster.spec.raft === this.#raft) return;
    this.#raft = cluster.spec.raft;
    this.#options.apply(snapshotSettings(cluster.spec.raft));
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

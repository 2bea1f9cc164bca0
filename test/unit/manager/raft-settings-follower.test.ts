import { afterEach, describe, expect, test } from 'vitest';
import { silentLogger } from '../../../common/base/log.ts';
import { DEFAULT_CLUSTER_SPEC } from '../../../common/model/cluster.ts';
import type { RaftTiming } from '../../../manager/raft/config.ts';
import { RaftSettingsFollower } from '../../../manager/raft-settings-follower.ts';
import type { SnapshotSettings } from '../../../manager/raftnode/snapshot-policy.ts';
import { aCluster } from '../../support/builders.ts';
import { settle } from '../../support/fake-clock.ts';
import { makeStore } from '../../support/store.ts';

let running: RaftSettingsFollower | null = null;
afterEach(() => running?.stop());

async function following() {
  const world = makeStore();
  const applied: SnapshotSettings[] = [];
  const timings: RaftTiming[] = [];
  running = new RaftSettingsFollower({
    ...{ ...world, log: silentLogger },
    onFailure: (err) => {
      throw err;
    },
    raft: {
      setSnapshotSettings: (settings) => void applied.push(settings),
      setTiming: (timing) => void timings.push(timing),
    },
  });
  await running.start();
  await settle();
  return { ...world, applied, timings };
}

describe("the follower of Raft's settings", () => {
  test('passes on what the cluster says, and where that is the default leaves it to the node', async () => {
    const { applied, timings, create, store } = await following();
    expect(applied).toEqual([]);
    const [cluster] = await create('cluster', aCluster());
    await settle();
    expect(applied).toEqual([{ intervalEntries: null, keepOld: 0, keepEntries: null }]);
    const update = async (raft: Partial<typeof DEFAULT_CLUSTER_SPEC.raft>) => {
      await store.update((tx) => {
        const current = tx.require('cluster', cluster!.id);
        const spec = { ...current.spec, raft: { ...DEFAULT_CLUSTER_SPEC.raft, ...raft } };
        tx.update('cluster', { ...current, spec });
      });
      await settle();
    };
    await update({ snapshotInterval: 50, keepOldSnapshots: 3, logEntriesForSlowFollowers: 9 });
    expect(applied.at(-1)).toEqual({ intervalEntries: 50, keepOld: 3, keepEntries: 9 });
    await update({});
    expect(applied.at(-1)).toEqual({ intervalEntries: null, keepOld: 0, keepEntries: null });
    // Times are told when they change: a node draws a new timeout for each.
    expect(timings).toEqual([]);
    await update({ electionTicks: 30 });
    await update({ electionTicks: 30, snapshotInterval: 50 });
    await update({ electionTicks: 30, heartbeatTicks: 3 });
    await update({});
    const told = timings.map((it) => [it.electionTicks, it.heartbeatTicks]);
    expect(told).toEqual([
      [30, 1],
      [30, 3],
      [10, 1],
    ]);
  });
});

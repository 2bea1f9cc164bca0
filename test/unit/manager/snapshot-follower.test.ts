import { afterEach, describe, expect, test } from 'vitest';
import { silentLogger } from '../../../common/base/log.ts';
import { DEFAULT_CLUSTER_SPEC } from '../../../common/model/cluster.ts';
import type { SnapshotSettings } from '../../../manager/raftnode/snapshot-policy.ts';
import { SnapshotFollower } from '../../../manager/snapshot-follower.ts';
import { aCluster } from '../../support/builders.ts';
import { settle } from '../../support/fake-clock.ts';
import { makeStore } from '../../support/store.ts';

let running: SnapshotFollower | null = null;
afterEach(() => running?.stop());

async function following() {
  const world = makeStore();
  const applied: SnapshotSettings[] = [];
  running = new SnapshotFollower({
    ...{ ...world, log: silentLogger },
    onFailure: (err) => {
      throw err;
    },
    apply: (settings) => applied.push(settings),
  });
  await running.start();
  await settle();
  return { ...world, applied };
}

describe('the follower of the snapshot settings', () => {
  test('passes on what the cluster says, and where that is the default leaves it to the node', async () => {
    const { applied, create, store } = await following();
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
  });
});

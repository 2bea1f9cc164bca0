/** A control API on a manager that leads, over a real store. */
import { SkepError } from '../../common/base/errors.ts';
import type { ManagerStatus } from '../../common/rpc/control-methods.ts';
import { LeaderCaller } from '../../common/rpc/leader.ts';
import { anonymousPeer } from '../../common/rpc/peer.ts';
import { ControlApi } from '../../manager/controlapi/control-api.ts';
import type { ExternalAuthorities } from '../../manager/controlapi/trust-root.ts';
import { PlacementExplainer } from '../../manager/scheduler/explain-placement.ts';
import { aCluster } from './builders.ts';
import { InstantClock } from './instant-clock.ts';
import { makeStore, type TestStore } from './store.ts';

export interface TestControlApi extends TestStore {
  readonly api: ControlApi;
  /** raft's members; to be changed by tests */
  readonly managers: ManagerStatus[];
  /** times that a read waited for the barrier */
  readonly barriers: () => number;
}

/** @param made with its cluster object; default: a new store with one */
export async function makeControlApi(
  made?: TestStore,
  external?: ExternalAuthorities,
): Promise<TestControlApi> {
  if (made) return controlApiOver(made, external);
  const fresh = makeStore();
  await fresh.create('cluster', aCluster());
  return controlApiOver(fresh, external);
}

/** None of them answers. */
export const noExternalCas: ExternalAuthorities = {
  check: () => Promise.reject(new SkepError('unavailable', 'nobody answers')),
  crossSign: () => Promise.reject(new SkepError('unavailable', 'nobody answers')),
};

function controlApiOver(made: TestStore, external?: ExternalAuthorities): TestControlApi {
  const managers: ManagerStatus[] = [];
  let barriers = 0;
  const api = new ControlApi({
    store: made.store,
    explainer: new PlacementExplainer(made),
    external: external ?? noExternalCas,
    clock: made.clock,
    random: made.random,
    membership: { members: () => managers },
    readBarrier: async () => {
      barriers++;
    },
    leader: new LeaderCaller({
      clock: new InstantClock(),
      self: () => anonymousPeer(''),
      locator: { isLeader: () => true, leaderAddress: () => null, onChange: () => () => {} },
      pool: {
        client: () => {
          throw new Error('the leader calls nobody');
        },
      },
    }),
  });
  return { ...made, api, managers, barriers: () => barriers };
}

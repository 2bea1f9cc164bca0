/** A manager's API by itself: the routes that a deployment asks, over a control API and a store without Raft. */
import { silentLogger } from '../../common/base/log.ts';
import { LeaderCaller } from '../../common/rpc/leader.ts';
import { anonymousPeer } from '../../common/rpc/peer.ts';
import { EngineServer } from '../../daemon/engineapi/server.ts';
import { ControlApi } from '../../manager/controlapi/control-api.ts';
import { PlacementExplainer } from '../../manager/scheduler/explain-placement.ts';
import { aCluster, aNetwork, aNetworkSpec } from '../../test/support/builders.ts';
import { noExternalCas } from '../../test/support/control-api.ts';
import { addControlRoutes } from '../../test/support/control-routes.ts';
import { localStore } from '../control/local-store.ts';
import { serve } from '../support/helper-process.ts';

function controlOver({ store, clock, random }: ReturnType<typeof localStore>): ControlApi {
  return new ControlApi({
    store,
    clock,
    random,
    external: noExternalCas,
    explainer: new PlacementExplainer({ store, clock }),
    membership: { members: () => [] },
    readBarrier: async () => {},
    leader: new LeaderCaller({
      clock,
      self: () => anonymousPeer(''),
      locator: { isLeader: () => true, leaderAddress: () => null, onChange: () => () => {} },
      pool: {
        client: () => {
          throw new Error('the leader calls nobody');
        },
      },
    }),
  });
}

const operations = {
  /** Resolves when the socket takes connections. */
  async listen(socketPath: string): Promise<null> {
    const local = localStore();
    const ingress = aNetwork({ spec: aNetworkSpec({ name: 'ingress', ingress: true }) });
    await local.store.update((tx) => {
      tx.create('cluster', aCluster());
      tx.create('network', ingress);
    });
    const { clock, random, store } = local;
    const server = new EngineServer({ clock, log: silentLogger, headers: () => ({}) });
    addControlRoutes(server, { control: controlOver(local), store, random }, 'bench');
    await server.listen({ path: socketPath });
    return null;
  },
};

export type EngineOperations = typeof operations;
serve(operations);

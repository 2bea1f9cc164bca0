/** A manager's API by itself: the routes that a deployment asks, over a control API and a store without Raft. */
import { silentLogger } from '../../common/base/log.ts';
import { LeaderCaller } from '../../common/rpc/leader.ts';
import { anonymousPeer } from '../../common/rpc/peer.ts';
import { addNetworkRoutes } from '../../daemon/engineapi/networks.ts';
import type { RouteParts } from '../../daemon/engineapi/parts.ts';
import { addConfigRoutes, addSecretRoutes } from '../../daemon/engineapi/secrets.ts';
import { EngineServer } from '../../daemon/engineapi/server.ts';
import { addServiceRoutes } from '../../daemon/engineapi/services.ts';
import { addStackRoutes } from '../../daemon/engineapi/stacks.ts';
import { ControlApi } from '../../manager/controlapi/control-api.ts';
import { PlacementExplainer } from '../../manager/scheduler/explain-placement.ts';
import { aCluster, aNetwork, aNetworkSpec } from '../../test/support/builders.ts';
import { noExternalCas } from '../../test/support/control-api.ts';
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
    const manager = { control: controlOver(local), store: local.store };
    const parts = {
      swarm: { requireManager: () => manager, manager },
      random: local.random,
      engineId: 'bench',
    } as unknown as RouteParts;
    const server = new EngineServer({ clock: local.clock, log: silentLogger, headers: () => ({}) });
    addServiceRoutes(server, parts);
    addStackRoutes(server, parts);
    addNetworkRoutes(server, parts);
    addSecretRoutes(server, parts);
    addConfigRoutes(server, parts);
    server.add('GET', '/info', (context) =>
      context.send(200, { Name: 'bench', Swarm: { ControlAvailable: true } }),
    );
    await server.listen({ path: socketPath });
    return null;
  },
};

export type EngineOperations = typeof operations;
serve(operations);

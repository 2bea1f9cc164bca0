/** A manager's API by itself: the routes that a deployment asks, over a control API and a store without Raft. */
import { silentLogger } from '../../common/base/log.ts';
import type { Node } from '../../common/model/node.ts';
import type { Service } from '../../common/model/service.ts';
import type { Task } from '../../common/model/task.ts';
import { LeaderCaller } from '../../common/rpc/leader.ts';
import { anonymousPeer } from '../../common/rpc/peer.ts';
import { EngineServer } from '../../daemon/engineapi/server.ts';
import { ControlApi } from '../../manager/controlapi/control-api.ts';
import { PlacementExplainer } from '../../manager/scheduler/explain-placement.ts';
import {
  aCluster,
  aNetwork,
  aNetworkSpec,
  aNode,
  aTaskOf,
  aTaskStatus,
} from '../../test/support/builders.ts';
import { noExternalCas } from '../../test/support/control-api.ts';
import { addControlRoutes } from '../../test/support/control-routes.ts';
import { type LocalStore, localStore } from '../control/local-store.ts';
import { serve } from '../support/helper-process.ts';

function controlOver({ store, clock, random }: LocalStore): ControlApi {
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

let local: LocalStore | null = null;

const operations = {
  /** Resolves when the socket takes connections. */
  async listen(socketPath: string): Promise<null> {
    local = localStore();
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

  /** Nodes, and for each replica of each service a task that runs on one of them. Resolves with the count of tasks. */
  async populate(nodeCount: number): Promise<number> {
    const { prepare, store } = local!;
    const nodes = Array.from({ length: nodeCount }, () => aNode());
    const services = store.view((view) => [...view.list('service')]);
    const tasks = services.flatMap((service) => tasksOf(service, nodes));
    await (await prepare(nodes, (tx, node) => tx.create('node', node)))();
    await (await prepare(tasks, (tx, task) => tx.create('task', task)))();
    return tasks.length;
  },
};

function tasksOf(service: Service, nodes: readonly Node[]): Task[] {
  const { mode } = service.spec;
  const count = mode.kind === 'replicated' ? mode.replicas : 0;
  return Array.from({ length: count }, (_, at) => {
    // Of services with numbers at the end of their names others are elsewhere.
    const place = (Number(/\d+$/.exec(service.spec.name)?.[0] ?? 0) + at) % nodes.length;
    const status = aTaskStatus({ state: 'running' });
    return aTaskOf(service, { slot: at + 1, nodeId: nodes[place]!.id, status });
  });
}

export type EngineOperations = typeof operations;
serve(operations);

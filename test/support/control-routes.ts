/** The routes of the cluster's own objects over a control API alone, without a worker behind them. */
import type { Random } from '../../common/base/random.ts';
import { addMoveRoutes } from '../../daemon/engineapi/moves.ts';
import { addNetworkRoutes } from '../../daemon/engineapi/networks.ts';
import { addNodeRoutes } from '../../daemon/engineapi/nodes.ts';
import type { RouteParts } from '../../daemon/engineapi/parts.ts';
import { addConfigRoutes, addSecretRoutes } from '../../daemon/engineapi/secrets.ts';
import type { Routes } from '../../daemon/engineapi/server.ts';
import { addServiceRoutes } from '../../daemon/engineapi/services.ts';
import { addStackRoutes } from '../../daemon/engineapi/stacks.ts';
import type { ControlApi } from '../../manager/controlapi/control-api.ts';
import type { Store } from '../../manager/store/types.ts';

export interface ControlParts {
  readonly control: ControlApi;
  readonly store: Store;
  readonly random: Random;
}

const ADD = [
  addServiceRoutes,
  addStackRoutes,
  addMoveRoutes,
  addSecretRoutes,
  addConfigRoutes,
  addNetworkRoutes,
  addNodeRoutes,
] as const;

/** The node itself is called `name`, is a manager, and has no container and no network of its own. */
export function addControlRoutes(
  routes: Routes,
  { control, store, random }: ControlParts,
  name: string,
): void {
  const manager = { control, store };
  const parts = {
    swarm: { requireManager: () => manager, manager },
    random,
    engineId: 'engine',
    worker: {
      localNetworks: { list: () => [], usersOf: () => [], find: () => null },
      containers: { list: () => [] },
    },
  } as unknown as RouteParts;
  for (const add of ADD) add(routes, parts, { workerReads: null });
  routes.add('GET', '/info', (context) =>
    context.send(200, { Name: name, Swarm: { ControlAvailable: true } }),
  );
}

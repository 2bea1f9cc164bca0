/** Every route of the Engine API, room by room. */
import { addContainerLifecycleRoutes } from './container-lifecycle.ts';
import { addContainerStreamRoutes } from './container-streams.ts';
import { addContainerRoutes } from './containers.ts';
import { addEventRoutes } from './events.ts';
import { addExecRoutes } from './execs.ts';
import { addImageRoutes } from './images.ts';
import { addNetworkRoutes } from './networks.ts';
import { addNodeRoutes } from './nodes.ts';
import { addNotYetRoutes } from './not-yet.ts';
import type { RouteParts } from './parts.ts';
import { predefinedNetworkId } from './predefined-networks.ts';
import { addConfigRoutes, addSecretRoutes } from './secrets.ts';
import type { Routes } from './server.ts';
import { addServiceLogRoutes } from './service-logs.ts';
import { addServiceRoutes } from './services.ts';
import { addSwarmRoutes } from './swarm.ts';
import { addSystemRoutes } from './system.ts';
import { addVolumeRoutes } from './volumes.ts';
import { addWatchRoutes } from './watch.ts';

export function addRoutes(routes: Routes, parts: RouteParts): void {
  const { worker, clock, execs, events } = parts;
  addSystemRoutes(routes, parts);
  addSwarmRoutes(routes, parts);
  addNodeRoutes(routes, parts);
  addServiceRoutes(routes, parts);
  addServiceLogRoutes(routes, parts);
  addWatchRoutes(routes, parts);
  addNetworkRoutes(routes, parts);
  addSecretRoutes(routes, parts);
  addConfigRoutes(routes, parts);
  addContainerRoutes(routes, {
    containers: worker.containers,
    clock,
    networkIdOf: (name) => predefinedNetworkId(parts.engineId, name),
  });
  addContainerLifecycleRoutes(routes, worker);
  addContainerStreamRoutes(routes, worker);
  addExecRoutes(routes, { containers: worker.containers, execs, events });
  addImageRoutes(routes, { images: worker.images, clock });
  addVolumeRoutes(routes, worker.volumes);
  addEventRoutes(routes, { events, clock });
  addNotYetRoutes(routes);
}

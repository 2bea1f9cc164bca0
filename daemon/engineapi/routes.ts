/** Every route of the Engine API, room by room. */
import { addCommitRoute } from './commit.ts';
import { addContainerFileRoutes } from './container-files.ts';
import { addContainerLifecycleRoutes } from './container-lifecycle.ts';
import { addContainerStreamRoutes } from './container-streams.ts';
import { addContainerUsageRoutes } from './container-usage.ts';
import { addContainerRoutes, type ContainerRoutesOptions } from './containers.ts';
import { addDiskUsageRoute } from './disk-usage.ts';
import { addEventRoutes } from './events.ts';
import { addExecRoutes } from './execs.ts';
import { addImageRoutes } from './images.ts';
import { addMetricsRoute } from './metrics.ts';
import { addMoveRoutes } from './moves.ts';
import { addNetworkConnectRoutes } from './network-connect.ts';
import { workerRef } from './network-lookup.ts';
import { addNetworkProofRoutes } from './network-proof.ts';
import { addNetworkTraceRoutes } from './network-trace.ts';
import { addNetworkRoutes } from './networks.ts';
import { networkIdsOf } from './node-networks.ts';
import { addNodeRoutes } from './nodes.ts';
import { addNotYetRoutes } from './not-yet.ts';
import type { RouteParts } from './parts.ts';
import { onlyContainerRoutes, withRemoteContainers } from './remote-containers.ts';
import { addConfigRoutes, addSecretRoutes } from './secrets.ts';
import type { Routes } from './server.ts';
import { addServiceLogRoutes } from './service-logs.ts';
import { addServiceRoutes } from './services.ts';
import { addStackRoutes } from './stacks.ts';
import { addSwarmRoutes } from './swarm.ts';
import { addSystemRoutes } from './system.ts';
import { addVolumeArchiveRoutes } from './volume-archives.ts';
import { addVolumeRoutes } from './volumes.ts';
import { addWatchRoutes } from './watch.ts';
import { onlyProcessesOfTasks, requireTask, withLeave } from './worker-execs.ts';
import {
  onlyClusterReads,
  onlyNews,
  passOn,
  withWorkerReads,
  withWorkerWatch,
} from './worker-reads.ts';

export function addRoutes(bare: Routes, parts: RouteParts): void {
  const { worker, swarm, clock, execs, events } = parts;
  const asWorker = {
    isWorker: () => swarm.state().local === 'active' && swarm.manager === null,
    nodeId: () => swarm.state().nodeId,
    connect: (signal: AbortSignal) => swarm.connectToManager(signal),
  };
  const workerReads = parts.readOnWorkers ? asWorker : null;
  const routes = workerReads ? withWorkerReads(bare, workerReads) : withWorkerWatch(bare, asWorker);
  addSystemRoutes(routes, parts);
  addSwarmRoutes(routes, parts);
  addNodeRoutes(routes, parts);
  addServiceRoutes(routes, parts);
  addServiceLogRoutes(routes, parts);
  addStackRoutes(routes, parts);
  addMoveRoutes(routes, parts);
  addMetricsRoute(routes, parts);
  addWatchRoutes(routes, parts);
  addNetworkRoutes(routes, parts, { workerReads });
  addNetworkConnectRoutes(routes, parts);
  addNetworkProofRoutes(routes, parts);
  addNetworkTraceRoutes(routes, parts);
  addSecretRoutes(routes, parts);
  addConfigRoutes(routes, parts);
  const anywhere = withRemoteContainers(routes, {
    remote: () => swarm.manager?.containers ?? null,
    requireContainer: (reference) => worker.containers.require(reference),
    requireExec: (id) => execs.require(id),
    far:
      workerReads && parts.execOnWorkers
        ? {
            isAsked: workerReads.isWorker,
            passOn: (context) => passOn(context, workerReads),
          }
        : null,
  });
  addRoutesOfContainers(anywhere, parts, { elsewhere: { swarm, clock }, tellsPaths: true });
  addImageRoutes(routes, { images: worker.images, swarm, clock, events });
  addDiskUsageRoute(routes, {
    ...{ worker, clock },
    networkIdOf: networkIdsOf(parts),
  });
  addVolumeRoutes(routes, { volumes: worker.volumes, events });
  addVolumeArchiveRoutes(routes, { volumes: worker.volumes, clock: parts.clock });
  addEventRoutes(routes, {
    ...{ events, clock },
    far: { isAsked: asWorker.isWorker, connect: asWorker.connect, isVital: workerReads !== null },
  });
  addNotYetRoutes(routes);
}

/** What this node answers for workers while it is a manager: see `withWorkerReads`. */
export function addRoutesForWorkers(routes: Routes, parts: RouteParts): void {
  const reads = parts.readOnWorkers ? onlyClusterReads(routes) : onlyNews(routes);
  addNodeRoutes(reads, parts);
  addServiceRoutes(reads, parts);
  addServiceLogRoutes(reads, parts);
  addWatchRoutes(reads, parts, { inOutline: !parts.readOnWorkers });
  addEventRoutes(reads, { events: parts.events, clock: parts.clock, scope: 'swarm' });
  addNetworkRoutes(reads, parts, { limit: 'swarm', workerReads: null });
  addSecretRoutes(reads, parts);
  addConfigRoutes(reads, parts);
  addProcessRoutesForWorkers(routes, parts);
}

/** Of tasks, on whatever node they are. */
function addProcessRoutesForWorkers(routes: Routes, parts: RouteParts): void {
  const { worker, execs, swarm, execOnWorkers } = parts;
  const containerOf = (reference: string) => worker.containers.require(reference);
  const containerOfExec = (id: string) => containerOf(execs.require(id).containerId);
  const anywhere = withRemoteContainers(withLeave(routes, execOnWorkers), {
    remote: () => swarm.manager?.containers ?? null,
    requireContainer: (reference) => requireTask(containerOf(reference)),
    requireExec: (id) => requireTask(containerOfExec(id)),
  });
  const ofTasks = onlyProcessesOfTasks(anywhere, { containerOf, containerOfExec });
  addRoutesOfContainers(ofTasks, parts, FOR_OTHER_NODES);
}

type ContainerParts = Pick<
  RouteParts,
  'worker' | 'clock' | 'execs' | 'events' | 'engineId' | 'logDriver'
>;

/** Whose clients are on another machine, for all that this node knows. */
const FOR_OTHER_NODES = { elsewhere: null, tellsPaths: false };

/** What this node answers for managers: see `withRemoteContainers`. */
export function addRoutesForManagers(routes: Routes, parts: ContainerParts): void {
  addRoutesOfContainers(onlyContainerRoutes(routes), parts, FOR_OTHER_NODES);
}

function addRoutesOfContainers(
  routes: Routes,
  parts: ContainerParts,
  asked: Pick<ContainerRoutesOptions, 'elsewhere' | 'tellsPaths'>,
): void {
  const { worker, clock, execs, events } = parts;
  const { containers } = worker;
  addContainerRoutes(routes, {
    ...{ containers, clock, execs, ...asked },
    networkIdOf: networkIdsOf(parts),
  });
  addContainerLifecycleRoutes(routes, {
    ...{ containers, clock, events },
    plain: worker.plain,
    tasks: worker.taskContainers,
    images: worker.images,
    logDriver: parts.logDriver,
    networkRef: (reference) => workerRef(parts, reference),
  });
  addContainerStreamRoutes(routes, { containers, events });
  addContainerFileRoutes(routes, { containers, clock, events });
  addCommitRoute(routes, { containers, images: worker.images, events });
  addContainerUsageRoutes(routes, { containers, clock, events });
  addExecRoutes(routes, { containers, execs, events });
}

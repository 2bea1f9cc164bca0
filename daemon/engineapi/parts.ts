/** What the routes are made of: the interfaces of worker, manager and cluster membership. */
import type { Clock } from '../../common/base/clock.ts';
import type { Random } from '../../common/base/random.ts';
import type { LogDriver } from '../../common/model/service.ts';
import type { Manager } from '../../manager/manager.ts';
import type { NodeRuntimes } from '../../worker/executor/oci-runtimes.ts';
import type { RegistrySettings } from '../../worker/images/image-store.ts';
import type { Worker } from '../../worker/worker.ts';
import type { SwarmNode } from '../swarm-node.ts';
import type { EventJournal } from './event-journal.ts';
import type { Execs } from './execs.ts';

export interface RouteParts {
  readonly worker: Pick<
    Worker,
    | 'images'
    | 'volumes'
    | 'containers'
    | 'plain'
    | 'taskContainers'
    | 'localNetworks'
    | 'clusterDrifts'
  >;
  readonly swarm: Pick<
    SwarmNode,
    | 'state'
    | 'init'
    | 'join'
    | 'leave'
    | 'unlock'
    | 'requireManager'
    | 'manager'
    | 'remoteManagers'
    | 'connectToManager'
  >;
  /** of this engine, over restarts */
  readonly engineId: string;
  readonly hostname: string;
  readonly dataDir: string;
  readonly version: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly registries: RegistrySettings;
  /** of containers that name none */
  readonly logDriver: LogDriver;
  readonly runtimes: NodeRuntimes;
  /** containers have user namespaces unless they say otherwise */
  readonly isRemapped: boolean;
  /** On a worker a manager answers what only reads the cluster. */
  readonly readOnWorkers: boolean;
  /** And what concerns processes of tasks; not without `readOnWorkers`. */
  readonly execOnWorkers: boolean;
  readonly clock: Clock;
  readonly random: Random;
  readonly execs: Execs;
  readonly events: EventJournal;
}

/** The control API of the manager on this node; throws with Docker's words when there is none. */
export function controlOf(parts: Pick<RouteParts, 'swarm'>): Manager['control'] {
  return parts.swarm.requireManager().control;
}

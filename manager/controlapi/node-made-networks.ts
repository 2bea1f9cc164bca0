/** Networks of the cluster whose links each node makes itself: what they must obey, and services in them. */
import { configNetworkProblem, operatorFieldsProblem } from '../../common/model/config-networks.ts';
import { isOverlay, type NetworkSpec, NODE_DRIVERS } from '../../common/model/network.ts';
import { checkConfiguration, refuseWayOutOptions } from '../../common/model/node-network.ts';
import type { ServiceSpec } from '../../common/model/service.ts';
import { invalid, notDone } from './refusal.ts';

/** Throws `invalid-argument`, `permission-denied`, or `unimplemented` for what is not done. */
export function checkNodeMadeSpec(spec: NetworkSpec): void {
  const { driver, configFrom } = spec;
  if (!NODE_DRIVERS.includes(driver)) {
    throw notDone(
      `driver "${driver}": swarm networks of others than overlay, ${NODE_DRIVERS.join(', ')} are`,
    );
  }
  const problem = configNetworkProblem(spec);
  if (problem) throw problem;
  if (spec.configOnly) throw operatorFieldsProblem(); // it is of one node: scope swarm is such a field
  if (spec.ingress) throw notDone(`ingress networks of driver ${driver} are`);
  if (spec.attachable) {
    throw notDone(
      `Attachable: swarm networks of driver ${driver} with containers beside tasks are`,
    );
  }
  if (driver === 'bridge') {
    // What is to be alike on each node is told here of what no node can do.
    if (configFrom === '') checkConfiguration(spec);
    refuseWayOutOptions(spec);
    return;
  }
  if (spec.internal) throw notDone(`Internal: networks of driver ${driver} without a way out are`);
  if (configFrom !== '') return;
  throw invalid(
    `driver ${driver}: in a swarm network each node must have its own link and addresses: name a configuration network that every node has (ConfigFrom, --config-from)`,
  );
}

/** Throws `invalid-argument` when the tasks can have no port on their hosts: these links pass the host by. */
export function checkPublishable(
  { endpoint }: ServiceSpec,
  networks: readonly NetworkSpec[],
): void {
  const port = endpoint.ports.find(({ publishMode }) => publishMode === 'host');
  const isPast = (spec: NetworkSpec): boolean => !isOverlay(spec) && spec.driver !== 'bridge';
  if (!port || networks.length === 0 || !networks.every(isPast)) return;
  const [{ name, driver } = { name: '', driver: '' }] = networks;
  throw invalid(
    `port ${port.publishedPort || port.targetPort}: mode host needs a network of driver overlay or bridge: tasks in network ${name} (${driver}) are reached by their own addresses`,
  );
}

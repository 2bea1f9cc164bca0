/** What `network inspect` tells of a network of the cluster beside itself: its nodes, and with `--verbose` its services. */
import { containerIdOf } from '../../../common/model/container-id.ts';
import type { Network } from '../../../common/model/network.ts';
import type { Service } from '../../../common/model/service.ts';
import { addressesIn, type Task, taskName } from '../../../common/model/task.ts';
import type { ReadView } from '../../../manager/store/types.ts';
import { endpointId } from './local-network.ts';
import { ipv6Of } from './network.ts';
import { some } from './some.ts';

type View = Pick<ReadView, 'get' | 'tasksByNetwork'>;

/** Nodes on which tasks of it run. */
export function peersToJson(view: View, { id }: Network): object[] {
  const nodes = new Set(servingTasks(view, id).map(({ nodeId }) => nodeId));
  return [...nodes].map((nodeId) => ({ Name: nodeId, IP: nodeAddress(view, nodeId) }));
}

/** By name: the virtual IP, and where names and load balancing lead. */
export function networkServicesToJson(view: View, network: Network): Record<string, object> {
  const tasksOf = new Map<string, Task[]>();
  for (const task of servingTasks(view, network.id)) {
    const tasks = tasksOf.get(task.serviceId) ?? [];
    tasks.push(task);
    tasksOf.set(task.serviceId, tasks);
  }
  const services: [string, object][] = [];
  for (const tasks of tasksOf.values()) {
    const service = view.get('service', tasks[0]!.serviceId);
    // Of one that was removed tasks may still run.
    if (service) services.push([service.spec.name, serviceToJson(view, network, service, tasks)]);
  }
  return Object.fromEntries(services.sort(([a], [b]) => (a < b ? -1 : 1)));
}

function servingTasks(view: View, networkId: Network['id']): Task[] {
  return view.tasksByNetwork(networkId).filter(({ status }) => status.state === 'running');
}

function serviceToJson(
  view: View,
  network: Network,
  { endpoint }: Service,
  tasks: readonly Task[],
): object {
  const { id, spec } = network;
  const vip = endpoint?.virtualIps.find(({ networkId }) => networkId === id);
  /** With IPv6 there are fields that Docker does not know, for it has one address each. */
  const sixth = (name: string, cidr: string | undefined): object =>
    some(name, bare(ipv6Of(network, cidr ? [cidr] : [])[0] ?? ''));
  const published = (endpoint?.ports ?? []).filter(({ publishMode }) => publishMode === 'ingress');
  return {
    VIP: bare(vip?.address ?? ''),
    ...sixth('VIP6', vip?.address),
    // In other networks nothing is published.
    Ports: spec.ingress
      ? published.map((port) => `Target: ${port.targetPort}, Publish: ${port.publishedPort}`)
      : [],
    LocalLBIndex: 0, // IPVS has such a number
    Tasks: tasks.map((task) => {
      const address = addressesIn(task, id)[0];
      return {
        Name: taskName(task),
        EndpointID: endpointId(containerIdOf(task.id), id),
        EndpointIP: bare(address ?? ''),
        ...sixth('EndpointIP6', address),
        Info: { 'Host IP': nodeAddress(view, task.nodeId) },
      };
    }),
  };
}

function nodeAddress(view: View, nodeId: Task['nodeId']): string {
  return (nodeId && view.get('node', nodeId)?.status.address) || '';
}

/** Without its prefix length. */
const bare = (address: string): string => address.split('/')[0] ?? '';

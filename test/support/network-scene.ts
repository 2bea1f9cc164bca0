/** Builds the assignment changes of a small cluster: networks, services, seats of tasks. */
import type {
  AssignedEndpoint,
  AssignedNetwork,
  AssignedPeer,
  AssignedPort,
  AssignedServiceEntry,
  AssignmentChange,
  AssignmentKind,
  AssignmentsByKind,
} from '../../common/model/assignment.ts';
import { assignmentKey } from '../../common/model/assignment.ts';
import {
  asId,
  type NetworkId,
  type NodeId,
  type ServiceId,
  type TaskId,
} from '../../common/model/ids.ts';
import type { TaskNetworkRequest } from '../../worker/network/task-request.ts';

export function set<K extends AssignmentKind>(
  kind: K,
  item: AssignmentsByKind[K],
): AssignmentChange {
  return { action: 'set', kind, key: assignmentKey(kind, item), item } as AssignmentChange;
}

export function remove<K extends AssignmentKind>(
  kind: K,
  item: AssignmentsByKind[K],
): AssignmentChange {
  return { action: 'remove', kind, key: assignmentKey(kind, item) };
}

export function network(
  name: string,
  vxlanId: number,
  third: number,
  options: Partial<AssignedNetwork> = {},
): AssignedNetwork {
  return {
    id: asId<NetworkId>(`net-${name}`),
    name,
    driver: 'overlay',
    vxlanId,
    subnet: `10.0.${third}.0/24`,
    gateway: `10.0.${third}.1`,
    internal: false,
    ingress: false,
    mtu: 0,
    dataPathPort: 4789,
    encrypted: false,
    subnet6: '',
    local: null,
    underlayMtu: 0,
    ...options,
  };
}

export function endpoint(
  where: AssignedNetwork,
  service: string,
  slot: number,
  node: { readonly nodeId: string; readonly address: string },
  address: string,
  options: Partial<AssignedEndpoint> = {},
): AssignedEndpoint {
  return {
    networkId: where.id,
    taskId: asId<TaskId>(`task-${service}-${slot}`),
    serviceId: asId<ServiceId>(`svc-${service}`),
    serviceName: service,
    slot,
    nodeId: asId<NodeId>(node.nodeId),
    hostAddress: node.address,
    address,
    hostname: '',
    containerName: `${service}.${slot}.task-${service}-${slot}`,
    aliases: [],
    serving: true,
    ...options,
  };
}

export function service(
  where: AssignedNetwork,
  name: string,
  virtualIp: string | null,
  aliases: readonly string[] = [],
  weight: number | null = null,
): AssignedServiceEntry {
  return {
    networkId: where.id,
    serviceId: asId<ServiceId>(`svc-${name}`),
    name,
    aliases,
    mode: virtualIp === null ? 'dnsrr' : 'vip',
    virtualIp,
    clientAffinity: false,
    weight,
    hostPorts: [],
  };
}

export function port(
  serviceName: string,
  publishedPort: number,
  targetPort: number,
  protocol: AssignedPort['protocol'] = 'tcp',
  name = '',
): AssignedPort {
  return {
    protocol,
    name,
    publishedPort,
    targetPort,
    serviceId: asId<ServiceId>(`svc-${serviceName}`),
    ...{ clientAffinity: false, localOnly: false, hostIp: '' },
  };
}

/** A node's own seat in a network. */
export function peer(
  where: AssignedNetwork,
  node: { readonly nodeId: string; readonly address: string },
  address: string,
  options: Partial<AssignedPeer> = {},
): AssignedPeer {
  return {
    networkId: where.id,
    nodeId: asId<NodeId>(node.nodeId),
    hostAddress: node.address,
    address,
    encryptionKey: '',
    masquerades: false,
    ...options,
  };
}

/** The seats of these nodes in the ingress network: 10.0.0.2 and on, in their order. */
export function ingressPeers(
  where: AssignedNetwork,
  nodes: readonly { readonly nodeId: string; readonly address: string }[],
): AssignmentChange[] {
  return nodes.map((node, i) => set('peer', peer(where, node, `10.0.0.${i + 2}`)));
}

/** What attaches a task with these seats, in the namespace of `task`. */
export function attachRequest(
  seats: readonly AssignedEndpoint[],
  task: { readonly netns: string },
  options: Partial<TaskNetworkRequest> = {},
): TaskNetworkRequest {
  const first = seats[0] as AssignedEndpoint;
  return {
    taskId: first.taskId,
    serviceId: first.serviceId,
    containerName: first.containerName,
    hostname: first.taskId,
    netnsPath: task.netns,
    attachments: seats.map(({ networkId, address }) => ({
      networkId,
      addresses: [`${address}/24`],
      aliases: [],
    })),
    hostPorts: [],
    dns: { nameservers: [], search: [], options: [] },
    ...options,
  };
}

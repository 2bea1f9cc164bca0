/**
 * What a node must know, as one set of keyed items. The dispatcher sends the whole set once and then
 * diffs between revisions; the agent's tables are a pure function of the set at revision N.
 */
import { publishedKey } from './host-ip.ts';
import type { ConfigId, NetworkId, NodeId, SecretId, ServiceId, TaskId } from './ids.ts';
import type { IpamConfig } from './network.ts';
import type { StringMap } from './objects.ts';
import type { EndpointMode, Protocol } from './service.ts';
import type { Task } from './task.ts';

/** A network of which the node has a task (or the ingress network). */
export interface AssignedNetwork {
  readonly id: NetworkId;
  readonly name: string;
  readonly driver: string;
  readonly vxlanId: number;
  /** CIDR */
  readonly subnet: string;
  readonly gateway: string;
  readonly internal: boolean;
  readonly ingress: boolean;
  /** bytes; 0 = from the underlay */
  readonly mtu: number;
  /** UDP port of VXLAN; WireGuard's is the next */
  readonly dataPathPort: number;
  /** packets between hosts go through WireGuard or not at all */
  readonly encrypted: boolean;
  /** CIDR, 96 bits at most: each seat has the address there that ends with its IPv4 address; '' = IPv4 only */
  readonly subnet6: string;
  /** bytes that a packet between any two hosts can have: the lowest that a node tells; 0 = not known */
  readonly underlayMtu: number;
  /** null = an overlay; else the node makes its links and gives the addresses, and there is no subnet here */
  readonly local: AssignedLocalNetwork | null;
}

/** What is told of a network whose links each node makes itself. */
export interface AssignedLocalNetwork {
  readonly driverOptions: StringMap;
  /** name of the node's config-only network that options and addresses are from; '' = from here */
  readonly configFrom: string;
  /** as asked for; empty = from the node's pools */
  readonly ipam: readonly IpamConfig[];
}

/** One task's seat in one network, anywhere in the cluster. Key: `networkId/taskId`. */
export interface AssignedEndpoint {
  readonly networkId: NetworkId;
  /** of a container outside of services: its id, 64 hexadecimal characters; no task's id is like that */
  readonly taskId: TaskId;
  /** '' = of a container outside of services */
  readonly serviceId: ServiceId;
  readonly serviceName: string;
  readonly slot: number;
  readonly nodeId: NodeId;
  /** VXLAN endpoint of the node it runs on */
  readonly hostAddress: string;
  /** without prefix length */
  readonly address: string;
  readonly hostname: string;
  readonly containerName: string;
  readonly aliases: readonly string[];
  /** running and healthy and wanted: in DNS and load balancing only while true */
  readonly serving: boolean;
}

/** A service as seen in one network. Key: `networkId/serviceId`. */
export interface AssignedServiceEntry {
  readonly networkId: NetworkId;
  readonly serviceId: ServiceId;
  readonly name: string;
  readonly aliases: readonly string[];
  readonly mode: EndpointMode;
  /** without prefix length; null in dnsrr mode */
  readonly virtualIp: string | null;
  /** the same client, the same task */
  readonly clientAffinity: boolean;
  /** its share of the answers for a name that several services have; null = not told */
  readonly weight: number | null;
  /** published on the tasks' hosts, for SRV records */
  readonly hostPorts: readonly HostModePort[];
}

/** A port that is published past the routing mesh: each task's on its own host. */
export interface HostModePort {
  readonly protocol: Protocol;
  /** as in the spec; '' = none */
  readonly name: string;
  readonly targetPort: number;
}

/** A port published through the routing mesh. Key: as of `publishedKey`. */
export interface AssignedPort {
  readonly protocol: Protocol;
  /** as in the spec, for SRV records; '' = none */
  readonly name: string;
  readonly publishedPort: number;
  readonly targetPort: number;
  readonly serviceId: ServiceId;
  /** the same client, the same task */
  readonly clientAffinity: boolean;
  /** each node answers with its own tasks or not at all */
  readonly localOnly: boolean;
  /** the address that it answers on; '' = every one of a node */
  readonly hostIp: string;
}

/** A node's seat in a network: its own address there, by which it enters tasks' networks. Key: `networkId/nodeId`. */
export interface AssignedPeer {
  readonly networkId: NetworkId;
  readonly nodeId: NodeId;
  readonly hostAddress: string;
  /** without prefix length */
  readonly address: string;
  /** WireGuard's public key of the node, base64, in encrypted networks; '' = none */
  readonly encryptionKey: string;
  /** connections that enter by this node have its address instead of the client's: it is no ingress gateway */
  readonly masquerades: boolean;
}

export interface AssignedSecret {
  readonly id: SecretId;
  readonly name: string;
  readonly data: Uint8Array;
  /** as in the spec: `golang` = the data is a template; empty = verbatim */
  readonly templateDriver: string;
}

export interface AssignedConfig {
  readonly id: ConfigId;
  readonly name: string;
  readonly data: Uint8Array;
  /** as in the spec: `golang` = the data is a template; empty = verbatim */
  readonly templateDriver: string;
}

export interface AssignmentsByKind {
  readonly task: Task;
  readonly secret: AssignedSecret;
  readonly config: AssignedConfig;
  readonly network: AssignedNetwork;
  readonly endpoint: AssignedEndpoint;
  readonly serviceEntry: AssignedServiceEntry;
  readonly port: AssignedPort;
  readonly peer: AssignedPeer;
}

export type AssignmentKind = keyof AssignmentsByKind;

/** One step between two revisions of a node's set. */
export type AssignmentChange = {
  [K in AssignmentKind]:
    | {
        readonly action: 'set';
        readonly kind: K;
        readonly key: string;
        readonly item: AssignmentsByKind[K];
        /** of a task that is to be sent: its encoding, where it is at hand */
        readonly encoded?: Uint8Array;
        /** of what has no version of its own, and changes: one for each of its changes; see `versionOf` */
        readonly version?: number;
      }
    | { readonly action: 'remove'; readonly kind: K; readonly key: string };
}[AssignmentKind];

export function assignmentKey<K extends AssignmentKind>(
  kind: K,
  item: AssignmentsByKind[K],
): string {
  switch (kind) {
    case 'task':
    case 'secret':
    case 'config':
    case 'network':
      return (item as Task | AssignedSecret | AssignedConfig | AssignedNetwork).id;
    case 'endpoint': {
      const endpoint = item as AssignedEndpoint;
      return `${endpoint.networkId}/${endpoint.taskId}`;
    }
    case 'serviceEntry': {
      const entry = item as AssignedServiceEntry;
      return `${entry.networkId}/${entry.serviceId}`;
    }
    case 'port':
      return publishedKey(item as AssignedPort);
    case 'peer': {
      const peer = item as AssignedPeer;
      return `${peer.networkId}/${peer.nodeId}`;
    }
    default:
      throw new Error(`unknown assignment kind ${String(kind)}`);
  }
}

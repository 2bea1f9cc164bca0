/** Node: a machine in the cluster, as its owner wants it and as it was last seen. */
import { deepEqual } from '../base/equal.ts';
import type { NetworkId, NodeId } from './ids.ts';
import type { Meta, StringMap } from './objects.ts';
import type { GenericResource, Platform } from './service.ts';

export type NodeRole = 'worker' | 'manager';
export type Availability = 'active' | 'pause' | 'drain';

export interface NodeSpec {
  /** usually empty: hostnames identify nodes */
  readonly name: string;
  readonly labels: StringMap;
  readonly desiredRole: NodeRole;
  readonly availability: Availability;
}

export interface NodeDescription {
  readonly hostname: string;
  /** kernel names, e.g. `x86_64`, `linux` */
  readonly platform: Platform;
  readonly nanoCpus: number;
  readonly memoryBytes: number;
  readonly generic: readonly GenericResource[];
  readonly engineVersion: string;
  readonly engineLabels: StringMap;
  readonly plugins: readonly { readonly type: string; readonly name: string }[];
  /** where other nodes reach this one: `IP:2377`; the IP is also its VXLAN endpoint */
  readonly address: string;
  /** public key of its WireGuard device, base64; '' = its kernel has none, so no encrypted networks */
  readonly encryptionKey: string;
  /** bytes that a packet to another node can have; 0 = not known */
  readonly underlayMtu: number;
  readonly tlsInfo: {
    readonly trustRootPem: string;
    readonly certIssuerSubject: Uint8Array;
    readonly certIssuerPublicKey: Uint8Array;
  } | null;
}

export interface NodeStatus {
  readonly state: 'unknown' | 'down' | 'ready' | 'disconnected';
  readonly message: string;
  /** IP the manager saw */
  readonly address: string;
}

export interface Node {
  readonly id: NodeId;
  readonly meta: Meta;
  readonly spec: NodeSpec;
  /** null until the agent's first session */
  readonly description: NodeDescription | null;
  readonly status: NodeStatus;
  /** role in the certificate it holds */
  readonly role: NodeRole;
  /** one address per overlay network in use on the node and one in the ingress network (allocator) */
  readonly attachments: readonly { readonly networkId: NetworkId; readonly address: string }[];
  /** DER, as last issued */
  readonly certificate: Uint8Array | null;
  /** latest end of all that were issued to it, wall ms: an earlier one may last longer; 0 = not known */
  readonly certificatesEndMs: number;
  /** its agent is to fetch another certificate now */
  readonly renewCertificate: boolean;
}

/**
 * Whether tasks may have to go, or may come now, for how the node changed. Attachments and certificates, with what the
 * description tells of them, change often and mean nothing to tasks.
 */
export function concernsPlacement(node: Node, previous: Node): boolean {
  return (
    node.status.state !== previous.status.state ||
    node.status.address !== previous.status.address ||
    node.role !== previous.role ||
    !deepEqual(node.spec, previous.spec) ||
    (node.description !== previous.description &&
      !deepEqual(withoutTls(node.description), withoutTls(previous.description)))
  );
}

function withoutTls(description: NodeDescription | null): NodeDescription | null {
  return description && { ...description, tlsInfo: null };
}

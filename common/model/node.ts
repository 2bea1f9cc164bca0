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
  /** names below /dev, without those that every machine has (node-devices.ts); empty = it says nothing of them */
  readonly devices: readonly string[];
  /** where other nodes reach this one: `IP:2377` */
  readonly address: string;
  /** IP of its VXLAN and WireGuard endpoint; '' = that of `address` */
  readonly dataPathAddress: string;
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

/** A place of one container outside of services in an attachable network. Asked for by its node. */
export interface ContainerAttachment {
  readonly networkId: NetworkId;
  /** 64 hexadecimal characters */
  readonly containerId: string;
  readonly containerName: string;
  readonly hostname: string;
  readonly aliases: readonly string[];
  /** the address that is wanted, with or without prefix length; '' = any */
  readonly wanted: string;
  /** CIDR, of the allocator; '' = none */
  readonly address: string;
  /** why the allocator has no address for it, in words; '' = it has one, or was not looked at yet */
  readonly problem: string;
}

/** Of all that a node attached: those of one node have at most one of each key. */
export function attachmentKey({
  networkId,
  containerId,
}: Pick<ContainerAttachment, 'networkId' | 'containerId'>): string {
  return `${networkId}/${containerId}`;
}

/** A container outside of services there is in the network, or is to be. */
export function isAttachedTo(
  { containerAttachments }: Pick<Node, 'containerAttachments'>,
  networkId: string,
): boolean {
  return containerAttachments.some((attachment) => attachment.networkId === networkId);
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
  /** of its containers outside of services, as the node said last; addresses and problems are the allocator's */
  readonly containerAttachments: readonly ContainerAttachment[];
  /** of the word that they are from: the node counts, and an earlier one that comes late is not heard */
  readonly attachmentsSequence: number;
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

/** Node, its spec, and what its agent says about it. */
import { skep } from '../../proto/gen/skep.js';
import { asId, type NetworkId, type NodeId } from '../model/ids.ts';
import type {
  Availability,
  ContainerAttachment,
  Node,
  NodeDescription,
  NodeRole,
  NodeSpec,
  NodeStatus,
} from '../model/node.ts';
import { metaFromProto, metaToProto } from './objects.ts';
import {
  genericResourceFromProto,
  genericResourceToProto,
  platformFromProto,
  platformToProto,
} from './resources.ts';
import {
  bytesFromProto,
  enumTable,
  int64,
  intFromProto,
  listFromProto,
  nullable,
  requiredMessage,
  text,
  textList,
  textListFromProto,
  textMap,
  textMapFromProto,
  uint32,
} from './scalars.ts';

export const nodeRoleTable = enumTable<NodeRole, skep.NodeRole>('node role', {
  worker: skep.NodeRole.NODE_ROLE_WORKER,
  manager: skep.NodeRole.NODE_ROLE_MANAGER,
});

export const availabilityTable = enumTable<Availability, skep.Availability>('availability', {
  active: skep.Availability.AVAILABILITY_ACTIVE,
  pause: skep.Availability.AVAILABILITY_PAUSE,
  drain: skep.Availability.AVAILABILITY_DRAIN,
});

const nodeStateTable = enumTable<NodeStatus['state'], skep.NodeState>('node state', {
  unknown: skep.NodeState.NODE_STATE_UNKNOWN,
  down: skep.NodeState.NODE_STATE_DOWN,
  ready: skep.NodeState.NODE_STATE_READY,
  disconnected: skep.NodeState.NODE_STATE_DISCONNECTED,
});

export function nodeSpecToProto(spec: NodeSpec): skep.NodeSpec.$Properties {
  return {
    name: text(spec.name),
    labels: textMap(spec.labels),
    desiredRole: nodeRoleTable.toProto(spec.desiredRole),
    availability: availabilityTable.toProto(spec.availability),
  };
}

export function nodeSpecFromProto(m: skep.NodeSpec.$Properties): NodeSpec {
  return Object.freeze({
    name: m.name ?? '',
    labels: textMapFromProto(m.labels),
    desiredRole: nodeRoleTable.fromProto(m.desiredRole),
    availability: availabilityTable.fromProto(m.availability),
  });
}

export function nodeDescriptionToProto(
  description: NodeDescription,
): skep.NodeDescription.$Properties {
  return {
    hostname: text(description.hostname),
    platform: platformToProto(description.platform),
    nanoCpus: int64(description.nanoCpus, 'description.nanoCpus'),
    memoryBytes: int64(description.memoryBytes, 'description.memoryBytes'),
    generic: description.generic.map(genericResourceToProto),
    engineVersion: text(description.engineVersion),
    engineLabels: textMap(description.engineLabels),
    plugins: description.plugins.map((p) => ({ type: text(p.type), name: text(p.name) })),
    address: text(description.address),
    dataPathAddress: text(description.dataPathAddress),
    encryptionKey: text(description.encryptionKey),
    underlayMtu: uint32(description.underlayMtu, 'description.underlayMtu'),
    devices: description.devices.map(text),
    tlsInfo: nullable(description.tlsInfo, (tls) => ({
      trustRootPem: text(tls.trustRootPem),
      certIssuerSubject: tls.certIssuerSubject,
      certIssuerPublicKey: tls.certIssuerPublicKey,
    })),
  };
}

export function nodeDescriptionFromProto(m: skep.NodeDescription.$Properties): NodeDescription {
  return Object.freeze({
    hostname: m.hostname ?? '',
    platform: platformFromProto(requiredMessage(m.platform, 'description.platform')),
    nanoCpus: intFromProto(m.nanoCpus, 'description.nanoCpus'),
    memoryBytes: intFromProto(m.memoryBytes, 'description.memoryBytes'),
    generic: listFromProto(m.generic, genericResourceFromProto),
    engineVersion: m.engineVersion ?? '',
    engineLabels: textMapFromProto(m.engineLabels),
    plugins: listFromProto(m.plugins, (p) =>
      Object.freeze({ type: p.type ?? '', name: p.name ?? '' }),
    ),
    address: m.address ?? '',
    dataPathAddress: m.dataPathAddress ?? '',
    encryptionKey: m.encryptionKey ?? '',
    underlayMtu: m.underlayMtu ?? 0,
    devices: listFromProto(m.devices, (name) => name),
    tlsInfo: nullable(m.tlsInfo, (tls) =>
      Object.freeze({
        trustRootPem: tls.trustRootPem ?? '',
        certIssuerSubject: bytesFromProto(tls.certIssuerSubject),
        certIssuerPublicKey: bytesFromProto(tls.certIssuerPublicKey),
      }),
    ),
  });
}

export function nodeStatusToProto(status: NodeStatus): skep.NodeStatus.$Properties {
  return {
    state: nodeStateTable.toProto(status.state),
    message: text(status.message),
    address: text(status.address),
  };
}

export function nodeStatusFromProto(m: skep.NodeStatus.$Properties): NodeStatus {
  return Object.freeze({
    state: nodeStateTable.fromProto(m.state),
    message: m.message ?? '',
    address: m.address ?? '',
  });
}

export function containerAttachmentToProto(
  attachment: ContainerAttachment,
): skep.ContainerAttachment.$Properties {
  return {
    networkId: text(attachment.networkId),
    containerId: text(attachment.containerId),
    containerName: text(attachment.containerName),
    hostname: text(attachment.hostname),
    aliases: textList(attachment.aliases),
    wanted: text(attachment.wanted),
    address: text(attachment.address),
    problem: text(attachment.problem),
  };
}

export function containerAttachmentFromProto(
  m: skep.ContainerAttachment.$Properties,
): ContainerAttachment {
  return Object.freeze({
    networkId: asId<NetworkId>(m.networkId ?? ''),
    containerId: m.containerId ?? '',
    containerName: m.containerName ?? '',
    hostname: m.hostname ?? '',
    aliases: textListFromProto(m.aliases),
    wanted: m.wanted ?? '',
    address: m.address ?? '',
    problem: m.problem ?? '',
  });
}

export function nodeToProto(node: Node): skep.Node.$Properties {
  return {
    id: text(node.id),
    meta: metaToProto(node.meta),
    spec: nodeSpecToProto(node.spec),
    description: nullable(node.description, nodeDescriptionToProto),
    status: nodeStatusToProto(node.status),
    role: nodeRoleTable.toProto(node.role),
    attachments: node.attachments.map((a) => ({
      networkId: text(a.networkId),
      address: text(a.address),
    })),
    containerAttachments: node.containerAttachments.map(containerAttachmentToProto),
    attachmentsSequence: int64(node.attachmentsSequence, 'node.attachmentsSequence'),
    certificate: node.certificate,
    renewCertificate: node.renewCertificate,
    certificatesEndMs: int64(node.certificatesEndMs, 'node.certificatesEndMs'),
  };
}

export function nodeFromProto(m: skep.Node.$Properties): Node {
  return Object.freeze({
    id: asId<NodeId>(m.id ?? ''),
    meta: metaFromProto(requiredMessage(m.meta, 'node.meta')),
    spec: nodeSpecFromProto(requiredMessage(m.spec, 'node.spec')),
    description: nullable(m.description, nodeDescriptionFromProto),
    status: nodeStatusFromProto(requiredMessage(m.status, 'node.status')),
    role: nodeRoleTable.fromProto(m.role),
    attachments: listFromProto(m.attachments, (a) =>
      Object.freeze({ networkId: asId<NetworkId>(a.networkId ?? ''), address: a.address ?? '' }),
    ),
    containerAttachments: listFromProto(m.containerAttachments, containerAttachmentFromProto),
    attachmentsSequence: intFromProto(m.attachmentsSequence, 'node.attachmentsSequence'),
    certificate: nullable(m.certificate, bytesFromProto),
    renewCertificate: m.renewCertificate ?? false,
    certificatesEndMs: intFromProto(m.certificatesEndMs, 'node.certificatesEndMs'),
  });
}

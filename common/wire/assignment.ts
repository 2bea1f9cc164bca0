/** What a node is told: items of its set, and the changes between two revisions of it. */
import { skep } from '../../proto/gen/skep.js';
import { assert, assertNever } from '../base/assert.ts';
import { SkepError } from '../base/errors.ts';
import {
  type AssignedConfig,
  type AssignedEndpoint,
  type AssignedNetwork,
  type AssignedPeer,
  type AssignedPort,
  type AssignedSecret,
  type AssignedServiceEntry,
  type AssignmentChange,
  type AssignmentKind,
  type AssignmentsByKind,
  assignmentKey,
} from '../model/assignment.ts';
import { asId } from '../model/ids.ts';
import { endpointModeTable, protocolTable } from './endpoint.ts';
import { ipamConfigFromProto, ipamConfigToProto } from './network.ts';
import { encodeObject } from './object.ts';
import { WireReader } from './reader.ts';
import {
  bytesFromProto,
  enumTable,
  int64,
  intFromProto,
  listFromProto,
  nullable,
  optionalText,
  text,
  textList,
  textListFromProto,
  textMap,
  textMapFromProto,
  uint32,
} from './scalars.ts';
import { encodeWith } from './scratch.ts';
import { taskFromProto } from './task.ts';

const assignmentKindTable = enumTable<AssignmentKind, skep.AssignmentKind>('assignment kind', {
  task: skep.AssignmentKind.ASSIGNMENT_KIND_TASK,
  secret: skep.AssignmentKind.ASSIGNMENT_KIND_SECRET,
  config: skep.AssignmentKind.ASSIGNMENT_KIND_CONFIG,
  network: skep.AssignmentKind.ASSIGNMENT_KIND_NETWORK,
  endpoint: skep.AssignmentKind.ASSIGNMENT_KIND_ENDPOINT,
  serviceEntry: skep.AssignmentKind.ASSIGNMENT_KIND_SERVICE_ENTRY,
  port: skep.AssignmentKind.ASSIGNMENT_KIND_PORT,
  peer: skep.AssignmentKind.ASSIGNMENT_KIND_PEER,
});

function assignedSecretToProto(secret: AssignedSecret): skep.AssignedSecret.$Properties {
  return {
    id: text(secret.id),
    name: text(secret.name),
    data: secret.data,
    templateDriver: text(secret.templateDriver),
  };
}

function assignedSecretFromProto(m: skep.AssignedSecret.$Properties): AssignedSecret {
  return Object.freeze({
    id: asId<AssignedSecret['id']>(m.id ?? ''),
    name: m.name ?? '',
    data: bytesFromProto(m.data),
    templateDriver: m.templateDriver ?? '',
  });
}

function assignedConfigToProto(config: AssignedConfig): skep.AssignedConfig.$Properties {
  return {
    id: text(config.id),
    name: text(config.name),
    data: config.data,
    templateDriver: text(config.templateDriver),
  };
}

function assignedConfigFromProto(m: skep.AssignedConfig.$Properties): AssignedConfig {
  return Object.freeze({
    id: asId<AssignedConfig['id']>(m.id ?? ''),
    name: m.name ?? '',
    data: bytesFromProto(m.data),
    templateDriver: m.templateDriver ?? '',
  });
}

function assignedNetworkToProto(network: AssignedNetwork): skep.AssignedNetwork.$Properties {
  return {
    id: text(network.id),
    name: text(network.name),
    driver: text(network.driver),
    vxlanId: uint32(network.vxlanId, 'network.vxlanId'),
    subnet: text(network.subnet),
    gateway: text(network.gateway),
    internal: network.internal,
    ingress: network.ingress,
    mtu: uint32(network.mtu, 'network.mtu'),
    dataPathPort: uint32(network.dataPathPort, 'network.dataPathPort'),
    encrypted: network.encrypted,
    subnet6: text(network.subnet6),
    underlayMtu: uint32(network.underlayMtu, 'network.underlayMtu'),
    local: nullable(network.local, ({ driverOptions, configFrom, ipam }) => ({
      driverOptions: textMap(driverOptions),
      configFrom: text(configFrom),
      ipam: ipam.map(ipamConfigToProto),
    })),
  };
}

function assignedNetworkFromProto(m: skep.AssignedNetwork.$Properties): AssignedNetwork {
  return Object.freeze({
    id: asId<AssignedNetwork['id']>(m.id ?? ''),
    name: m.name ?? '',
    driver: m.driver ?? '',
    vxlanId: m.vxlanId ?? 0,
    subnet: m.subnet ?? '',
    gateway: m.gateway ?? '',
    internal: m.internal ?? false,
    ingress: m.ingress ?? false,
    mtu: m.mtu ?? 0,
    dataPathPort: m.dataPathPort ?? 0,
    encrypted: m.encrypted ?? false,
    subnet6: m.subnet6 ?? '',
    underlayMtu: m.underlayMtu ?? 0,
    local: nullable(m.local, ({ driverOptions, configFrom, ipam }) =>
      Object.freeze({
        driverOptions: textMapFromProto(driverOptions),
        configFrom: configFrom ?? '',
        ipam: listFromProto(ipam, ipamConfigFromProto),
      }),
    ),
  });
}

function assignedEndpointToProto(endpoint: AssignedEndpoint): skep.AssignedEndpoint.$Properties {
  return {
    networkId: text(endpoint.networkId),
    taskId: text(endpoint.taskId),
    serviceId: text(endpoint.serviceId),
    serviceName: text(endpoint.serviceName),
    slot: uint32(endpoint.slot, 'endpoint.slot'),
    nodeId: text(endpoint.nodeId),
    hostAddress: text(endpoint.hostAddress),
    address: text(endpoint.address),
    hostname: text(endpoint.hostname),
    containerName: text(endpoint.containerName),
    aliases: textList(endpoint.aliases),
    serving: endpoint.serving,
  };
}

function assignedEndpointFromProto(m: skep.AssignedEndpoint.$Properties): AssignedEndpoint {
  return Object.freeze({
    networkId: asId<AssignedEndpoint['networkId']>(m.networkId ?? ''),
    taskId: asId<AssignedEndpoint['taskId']>(m.taskId ?? ''),
    serviceId: asId<AssignedEndpoint['serviceId']>(m.serviceId ?? ''),
    serviceName: m.serviceName ?? '',
    slot: m.slot ?? 0,
    nodeId: asId<AssignedEndpoint['nodeId']>(m.nodeId ?? ''),
    hostAddress: m.hostAddress ?? '',
    address: m.address ?? '',
    hostname: m.hostname ?? '',
    containerName: m.containerName ?? '',
    aliases: textListFromProto(m.aliases),
    serving: m.serving ?? false,
  });
}

function serviceEntryToProto(entry: AssignedServiceEntry): skep.AssignedServiceEntry.$Properties {
  return {
    networkId: text(entry.networkId),
    serviceId: text(entry.serviceId),
    name: text(entry.name),
    aliases: textList(entry.aliases),
    mode: endpointModeTable.toProto(entry.mode),
    virtualIp: optionalText(entry.virtualIp),
    clientAffinity: entry.clientAffinity,
    ...(entry.weight !== null && { weight: uint32(entry.weight, 'serviceEntry.weight') }),
    hostPorts: entry.hostPorts.map(({ protocol, name, targetPort }) => ({
      protocol: protocolTable.toProto(protocol),
      name: text(name),
      targetPort: uint32(targetPort, 'serviceEntry.hostPorts.targetPort'),
    })),
  };
}

function serviceEntryFromProto(m: skep.AssignedServiceEntry.$Properties): AssignedServiceEntry {
  return Object.freeze({
    networkId: asId<AssignedServiceEntry['networkId']>(m.networkId ?? ''),
    serviceId: asId<AssignedServiceEntry['serviceId']>(m.serviceId ?? ''),
    name: m.name ?? '',
    aliases: textListFromProto(m.aliases),
    mode: endpointModeTable.fromProto(m.mode),
    virtualIp: m.virtualIp ?? null,
    clientAffinity: m.clientAffinity ?? false,
    weight: m.weight ?? null,
    hostPorts: listFromProto(m.hostPorts, (port) => ({
      protocol: protocolTable.fromProto(port.protocol),
      name: port.name ?? '',
      targetPort: port.targetPort ?? 0,
    })),
  });
}

function assignedPortToProto(port: AssignedPort): skep.AssignedPort.$Properties {
  return {
    protocol: protocolTable.toProto(port.protocol),
    publishedPort: uint32(port.publishedPort, 'port.publishedPort'),
    targetPort: uint32(port.targetPort, 'port.targetPort'),
    serviceId: text(port.serviceId),
    name: text(port.name),
    clientAffinity: port.clientAffinity,
    localOnly: port.localOnly,
    hostIp: text(port.hostIp),
  };
}

function assignedPortFromProto(m: skep.AssignedPort.$Properties): AssignedPort {
  return Object.freeze({
    protocol: protocolTable.fromProto(m.protocol),
    publishedPort: m.publishedPort ?? 0,
    targetPort: m.targetPort ?? 0,
    serviceId: asId<AssignedPort['serviceId']>(m.serviceId ?? ''),
    name: m.name ?? '',
    clientAffinity: m.clientAffinity ?? false,
    localOnly: m.localOnly ?? false,
    hostIp: m.hostIp ?? '',
  });
}

function assignedPeerToProto(peer: AssignedPeer): skep.AssignedPeer.$Properties {
  return {
    networkId: text(peer.networkId),
    nodeId: text(peer.nodeId),
    hostAddress: text(peer.hostAddress),
    address: text(peer.address),
    encryptionKey: text(peer.encryptionKey),
    masquerades: peer.masquerades,
  };
}

function assignedPeerFromProto(m: skep.AssignedPeer.$Properties): AssignedPeer {
  return Object.freeze({
    networkId: asId<AssignedPeer['networkId']>(m.networkId ?? ''),
    nodeId: asId<AssignedPeer['nodeId']>(m.nodeId ?? ''),
    hostAddress: m.hostAddress ?? '',
    address: m.address ?? '',
    encryptionKey: m.encryptionKey ?? '',
    masquerades: m.masquerades ?? false,
  });
}

/** A change to be sent. INVARIANT: the key of a set item is `assignmentKey(kind, item)`. */
export function assignmentChangeToProto(
  change: AssignmentChange,
): skep.AssignmentChange.$Properties {
  const message = changeToProto(change);
  if (change.action === 'set' && change.version !== undefined) {
    message.version = int64(change.version, 'version');
  }
  return message;
}

function changeToProto(change: AssignmentChange): skep.AssignmentChange.$Properties {
  if (change.action === 'remove') {
    return {
      remove: { kind: assignmentKindTable.toProto(change.kind), key: text(change.key) },
    };
  }
  assert(
    change.key === assignmentKey(change.kind, change.item),
    `assignment key '${change.key}' is not the key of its ${change.kind}`,
  );
  switch (change.kind) {
    case 'task':
      return { task: change.encoded ?? encodeObject('task', change.item) };
    case 'secret':
      return { secret: assignedSecretToProto(change.item) };
    case 'config':
      return { config: assignedConfigToProto(change.item) };
    case 'network':
      return { network: assignedNetworkToProto(change.item) };
    case 'endpoint':
      return { endpoint: assignedEndpointToProto(change.item) };
    case 'serviceEntry':
      return { serviceEntry: serviceEntryToProto(change.item) };
    case 'port':
      return { port: assignedPortToProto(change.item) };
    case 'peer':
      return { peer: assignedPeerToProto(change.item) };
    default:
      return assertNever(change, 'assignment kind');
  }
}

function setItem<K extends AssignmentKind>(
  kind: K,
  item: AssignmentsByKind[K],
  version: number,
): AssignmentChange {
  const key = assignmentKey(kind, item);
  const change = { action: 'set', kind, key, item, ...(version > 0 && { version }) };
  return Object.freeze(change) as AssignmentChange;
}

/** Throws `data-loss` for a change that is missing or of an unknown kind. */
export function assignmentChangeFromProto(m: skep.AssignmentChange.$Properties): AssignmentChange {
  const version = intFromProto(m.version, 'version');
  if (m.endpoint) return setItem('endpoint', assignedEndpointFromProto(m.endpoint), version);
  if (m.task) return setItem('task', taskFromProto(skep.Task.decode(new WireReader(m.task))), 0);
  if (m.secret) return setItem('secret', assignedSecretFromProto(m.secret), version);
  if (m.config) return setItem('config', assignedConfigFromProto(m.config), version);
  if (m.network) return setItem('network', assignedNetworkFromProto(m.network), version);
  if (m.serviceEntry) {
    return setItem('serviceEntry', serviceEntryFromProto(m.serviceEntry), version);
  }
  if (m.port) return setItem('port', assignedPortFromProto(m.port), version);
  if (m.peer) return setItem('peer', assignedPeerFromProto(m.peer), version);
  if (m.remove) {
    return Object.freeze({
      action: 'remove' as const,
      kind: assignmentKindTable.fromProto(m.remove.kind),
      key: m.remove.key ?? '',
    });
  }
  throw new SkepError('data-loss', 'decode assignment change: it is missing or unknown');
}

/** Bytes of one change: what the agent keeps in its local database. */
export function encodeAssignmentChange(change: AssignmentChange): Uint8Array {
  const message = assignmentChangeToProto(change);
  return encodeWith((writer) => skep.AssignmentChange.encode(message, writer));
}

/** Throws `data-loss` for damaged input. */
export function decodeAssignmentChange(bytes: Uint8Array): AssignmentChange {
  try {
    return assignmentChangeFromProto(skep.AssignmentChange.decode(bytes));
  } catch (err) {
    throw new SkepError('data-loss', 'decode assignment change', { cause: err });
  }
}

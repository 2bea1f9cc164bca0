/** Published ports and service endpoints, as wanted and as allocated. */
import { skep } from '../../proto/gen/skep.js';
import { asId } from '../model/ids.ts';
import type {
  Endpoint,
  EndpointMode,
  EndpointSpec,
  PortConfig,
  Protocol,
  VirtualIp,
} from '../model/service.ts';
import { enumTable, listFromProto, requiredMessage, text, uint32 } from './scalars.ts';

export const protocolTable = enumTable<Protocol, skep.Protocol>('protocol', {
  tcp: skep.Protocol.PROTOCOL_TCP,
  udp: skep.Protocol.PROTOCOL_UDP,
  sctp: skep.Protocol.PROTOCOL_SCTP,
});

const publishModeTable = enumTable<PortConfig['publishMode'], skep.PublishMode>('publish mode', {
  ingress: skep.PublishMode.PUBLISH_MODE_INGRESS,
  host: skep.PublishMode.PUBLISH_MODE_HOST,
});

export const endpointModeTable = enumTable<EndpointMode, skep.EndpointMode>('endpoint mode', {
  vip: skep.EndpointMode.ENDPOINT_MODE_VIP,
  dnsrr: skep.EndpointMode.ENDPOINT_MODE_DNSRR,
});

export function portConfigToProto(port: PortConfig): skep.PortConfig.$Properties {
  return {
    name: text(port.name),
    protocol: protocolTable.toProto(port.protocol),
    targetPort: uint32(port.targetPort, 'targetPort'),
    publishedPort: uint32(port.publishedPort, 'publishedPort'),
    publishMode: publishModeTable.toProto(port.publishMode),
    hostIp: text(port.hostIp),
  };
}

export function portConfigFromProto(m: skep.PortConfig.$Properties): PortConfig {
  return Object.freeze({
    name: m.name ?? '',
    protocol: protocolTable.fromProto(m.protocol),
    targetPort: m.targetPort ?? 0,
    publishedPort: m.publishedPort ?? 0,
    publishMode: publishModeTable.fromProto(m.publishMode),
    hostIp: m.hostIp ?? '',
  });
}

export function endpointSpecToProto(spec: EndpointSpec): skep.EndpointSpec.$Properties {
  return {
    mode: endpointModeTable.toProto(spec.mode),
    ports: spec.ports.map(portConfigToProto),
  };
}

export function endpointSpecFromProto(m: skep.EndpointSpec.$Properties): EndpointSpec {
  return Object.freeze({
    mode: endpointModeTable.fromProto(m.mode),
    ports: listFromProto(m.ports, portConfigFromProto),
  });
}

function virtualIpFromProto(m: skep.VirtualIp.$Properties): VirtualIp {
  return Object.freeze({
    networkId: asId<VirtualIp['networkId']>(m.networkId ?? ''),
    address: m.address ?? '',
  });
}

export function endpointToProto(endpoint: Endpoint): skep.Endpoint.$Properties {
  return {
    spec: endpointSpecToProto(endpoint.spec),
    ports: endpoint.ports.map(portConfigToProto),
    virtualIps: endpoint.virtualIps.map((ip) => ({
      networkId: text(ip.networkId),
      address: text(ip.address),
    })),
  };
}

export function endpointFromProto(m: skep.Endpoint.$Properties): Endpoint {
  return Object.freeze({
    spec: endpointSpecFromProto(requiredMessage(m.spec, 'endpoint.spec')),
    ports: listFromProto(m.ports, portConfigFromProto),
    virtualIps: listFromProto(m.virtualIps, virtualIpFromProto),
  });
}

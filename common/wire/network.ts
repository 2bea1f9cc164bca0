/** Network and its address management. */
import type { skep } from '../../proto/gen/skep.js';
import { asId, type NetworkId } from '../model/ids.ts';
import type { IpamConfig, Network, NetworkSpec } from '../model/network.ts';
import { metaFromProto, metaToProto } from './objects.ts';
import {
  listFromProto,
  nullable,
  requiredMessage,
  text,
  textMap,
  textMapFromProto,
  uint32,
} from './scalars.ts';

export function ipamConfigToProto(config: IpamConfig): skep.IpamConfig.$Properties {
  return {
    subnet: text(config.subnet),
    gateway: text(config.gateway),
    range: text(config.range),
    reserved: textMap(config.reserved),
  };
}

export function ipamConfigFromProto(m: skep.IpamConfig.$Properties): IpamConfig {
  return Object.freeze({
    subnet: m.subnet ?? '',
    gateway: m.gateway ?? '',
    range: m.range ?? '',
    reserved: textMapFromProto(m.reserved),
  });
}

export function networkSpecToProto(spec: NetworkSpec): skep.NetworkSpec.$Properties {
  return {
    name: text(spec.name),
    labels: textMap(spec.labels),
    driver: text(spec.driver),
    driverOptions: textMap(spec.driverOptions),
    internal: spec.internal,
    attachable: spec.attachable,
    ingress: spec.ingress,
    ipv6: spec.ipv6,
    ipam: {
      driver: text(spec.ipam.driver),
      options: textMap(spec.ipam.options),
      configs: spec.ipam.configs.map(ipamConfigToProto),
    },
    configOnly: spec.configOnly,
    configFrom: text(spec.configFrom),
  };
}

export function networkSpecFromProto(m: skep.NetworkSpec.$Properties): NetworkSpec {
  const ipam = requiredMessage(m.ipam, 'network spec.ipam');
  return Object.freeze({
    name: m.name ?? '',
    labels: textMapFromProto(m.labels),
    driver: m.driver ?? '',
    driverOptions: textMapFromProto(m.driverOptions),
    internal: m.internal ?? false,
    attachable: m.attachable ?? false,
    ingress: m.ingress ?? false,
    ipv6: m.ipv6 ?? false,
    ipam: Object.freeze({
      driver: ipam.driver ?? '',
      options: textMapFromProto(ipam.options),
      configs: listFromProto(ipam.configs, ipamConfigFromProto),
    }),
    configOnly: m.configOnly ?? false,
    configFrom: m.configFrom ?? '',
  });
}

export function networkToProto(network: Network): skep.Network.$Properties {
  return {
    id: text(network.id),
    meta: metaToProto(network.meta),
    spec: networkSpecToProto(network.spec),
    ipam: network.ipam.map(ipamConfigToProto),
    vxlanId: nullable(network.vxlanId, (id) => uint32(id, 'network.vxlanId')),
  };
}

export function networkFromProto(m: skep.Network.$Properties): Network {
  return Object.freeze({
    id: asId<NetworkId>(m.id ?? ''),
    meta: metaFromProto(requiredMessage(m.meta, 'network.meta')),
    spec: networkSpecFromProto(requiredMessage(m.spec, 'network.spec')),
    ipam: listFromProto(m.ipam, ipamConfigFromProto),
    vxlanId: m.vxlanId ?? null,
  });
}

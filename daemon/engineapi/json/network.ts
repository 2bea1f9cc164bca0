/** Networks: Docker's JSON and our model. */
import { SkepError } from '../../../common/base/errors.ts';
import { interface6Of } from '../../../common/base/ipv6.ts';
import {
  type IpamConfig,
  type Network,
  type NetworkSpec,
  subnet6Of,
} from '../../../common/model/network.ts';
import { isoTime } from './common.ts';
import type { JsonReader } from './reader.ts';

export function networkSpecFromJson(json: JsonReader): NetworkSpec {
  const ipam = json.object('IPAM');
  const driver = json.string('Driver', 'bridge');
  const scope = json.string('Scope');
  const isOdd =
    !['', 'swarm', 'local'].includes(scope) || (scope === 'local' && driver === 'overlay');
  if (isOdd) json.refuse('Scope', `networks of driver ${driver} are not of scope ${scope}`);
  if (json.has('EnableIPv4') && !json.boolean('EnableIPv4')) {
    throw new SkepError('unimplemented', 'EnableIPv4: networks without IPv4 are not done yet');
  }
  return {
    name: json.string('Name'),
    labels: json.stringMap('Labels'),
    driver,
    driverOptions: json.stringMap('Options'),
    internal: json.boolean('Internal'),
    attachable: json.boolean('Attachable'),
    ingress: json.boolean('Ingress'),
    ipv6: json.boolean('EnableIPv6'),
    ipam: {
      driver: ipam.string('Driver', 'default'),
      options: ipam.stringMap('Options'),
      configs: ipam.objects('Config').map((config) => ({
        subnet: config.string('Subnet'),
        gateway: config.string('Gateway'),
        range: config.string('IPRange'),
        reserved: config.stringMap('AuxiliaryAddresses'),
      })),
    },
    configOnly: json.boolean('ConfigOnly'),
    configFrom: json.object('ConfigFrom').string('Network'),
  };
}

/** IPv6 addresses, CIDR, of who has these of IPv4 in the network: none where it has no IPv6, or is not known. */
export function ipv6Of(network: Network | undefined, addresses: readonly string[]): string[] {
  const subnet6 = network ? subnet6Of(network) : '';
  return subnet6 === '' ? [] : addresses.map((it) => interface6Of(subnet6, it));
}

/** A network of swarm scope as `docker network ls` and `inspect` expect it. */
export function networkToJson(network: Network, containers: object = {}): object {
  const { spec } = network;
  const configs = network.ipam.length > 0 ? network.ipam : spec.ipam.configs;
  return {
    Name: spec.name,
    Id: network.id,
    Created: isoTime(network.meta.createdAtMs),
    Scope: 'swarm',
    Driver: spec.driver,
    EnableIPv4: true,
    EnableIPv6: spec.ipv6,
    IPAM: {
      Driver: spec.ipam.driver || 'default',
      Options: spec.ipam.options,
      Config: configs.map(ipamConfigToJson),
    },
    Internal: spec.internal,
    Attachable: spec.attachable,
    Ingress: spec.ingress,
    ConfigFrom: { Network: spec.configFrom },
    ConfigOnly: spec.configOnly,
    Containers: containers,
    Options: {
      ...spec.driverOptions,
      ...(network.vxlanId === null
        ? {}
        : { 'com.docker.network.driver.overlay.vxlanid_list': String(network.vxlanId) }),
    },
    Labels: spec.labels,
  };
}

export function ipamConfigToJson(config: IpamConfig): object {
  return {
    Subnet: config.subnet,
    ...(config.range && { IPRange: config.range }),
    ...(config.gateway && { Gateway: config.gateway }),
    ...(Object.keys(config.reserved).length > 0 && { AuxiliaryAddresses: config.reserved }),
  };
}

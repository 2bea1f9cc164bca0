/** Networks of this node alone, in Docker's JSON: bridge, host and none, and those that people made. */
import { createHash } from 'node:crypto';
import type { ContainerInfo, ShownNetwork } from '../../../worker/container-view.ts';
import { deviceOf, isBuiltIn, type LocalNetwork } from '../../../worker/network/local-network.ts';
import { DNS_NAMES_SINCE, SHORT_ID_ALIAS_UNTIL } from './api-versions.ts';
import { isoTime } from './common.ts';
import { ipamConfigToJson } from './network.ts';

export interface NetworkRow {
  readonly Id: string;
  readonly Name: string;
  readonly Created: string;
  readonly Scope: string;
  readonly Driver: string;
  readonly Labels: Readonly<Record<string, string>>;
}

interface LocalParts {
  readonly id: string;
  readonly name: string;
  readonly driver: string;
}

/** `host` and `none`, of which there is nothing to say. */
export function wordNetworkToJson({ id, name, driver }: LocalParts): NetworkRow {
  return row({ id, name, driver }, {});
}

/** @param apiId that of `bridge` is the engine's */
export function localNetworkToJson(
  network: LocalNetwork,
  apiId: string,
  members: readonly NetworkMember[],
): NetworkRow {
  const { spec, createdAtMs, ipam } = network;
  const device = deviceOf(network);
  return row(
    { id: apiId, name: spec.name, driver: spec.configOnly ? 'null' : spec.driver },
    {
      Created: isoTime(createdAtMs),
      IPAM: {
        Driver: 'default',
        Options: spec.ipam.options,
        Config: ipam ? [ipamConfigToJson(ipam)] : [],
      },
      Internal: spec.internal,
      Attachable: spec.attachable,
      ConfigFrom: { Network: spec.configFrom },
      ConfigOnly: spec.configOnly,
      Containers: membersToJson(members),
      Options: {
        ...(isBuiltIn(network) && device.kind === 'bridge'
          ? {
              'com.docker.network.bridge.default_bridge': 'true',
              'com.docker.network.bridge.enable_icc': String(!device.isolated),
              'com.docker.network.bridge.enable_ip_masquerade': String(device.masquerade),
              'com.docker.network.driver.mtu': String(device.mtuBytes),
            }
          : {}),
        ...spec.driverOptions,
      },
      Labels: spec.labels,
    },
  );
}

function row({ id, name, driver }: LocalParts, more: object): NetworkRow {
  return {
    Name: name,
    Id: id,
    Created: isoTime(0),
    Scope: 'local',
    Driver: driver,
    ...{ EnableIPv4: true, EnableIPv6: false },
    IPAM: { Driver: 'default', Options: null, Config: [] },
    ...{ Internal: false, Attachable: false, Ingress: false },
    ConfigFrom: { Network: '' },
    ConfigOnly: false,
    Containers: {},
    Options: {},
    Labels: {},
    ...more,
  } as NetworkRow;
}

export interface NetworkMember {
  readonly container: ContainerInfo;
  readonly seat: ShownNetwork;
}

/** Containers of this node that run and have a place in it. */
export function membersOf(
  containers: readonly ContainerInfo[],
  isMeant: (seat: ShownNetwork) => boolean,
): NetworkMember[] {
  return containers.flatMap((container) => {
    const seat = container.networks.find((one) => isMeant(one) && one.address !== '');
    return seat && container.pid > 0 ? [{ container, seat }] : [];
  });
}

export function membersToJson(members: readonly NetworkMember[]): Record<string, object> {
  return Object.fromEntries(
    members.map(({ container, seat }) => [
      container.id,
      {
        Name: container.name,
        EndpointID: endpointId(container.id, seat.networkId ?? seat.name),
        MacAddress: seat.mac,
        IPv4Address: `${seat.address}/${seat.prefixLength}`,
        IPv6Address: seat.ipv6 ?? '',
      },
    ]),
  );
}

/** Of a place: made from what it joins, so that it is the same wherever it is shown. */
export function endpointId(containerId: string, network: string): string {
  return createHash('sha256').update(`${network}/${containerId}`).digest('hex');
}

/** What is told of a place in `docker inspect` of its container. */
export function endpointToJson(
  container: ContainerInfo,
  seat: ShownNetwork,
  networkId: string,
  apiMinor: number,
): object {
  const shortId = container.id.slice(0, 12);
  const names = [container.name, shortId, ...seat.aliases];
  const isNamed = seat.networkId !== null && container.plain !== null;
  const hasShortId = isNamed && apiMinor <= SHORT_ID_ALIAS_UNTIL;
  return {
    IPAMConfig: seat.fixedAddress ? { IPv4Address: seat.fixedAddress } : null,
    Links: seat.links?.map(({ target, alias }) => `${target}:${alias}`) ?? null,
    DriverOpts: null,
    NetworkID: networkId,
    EndpointID: seat.address === '' ? '' : endpointId(container.id, seat.networkId ?? seat.name),
    IPAddress: seat.address,
    IPPrefixLen: seat.prefixLength,
    Gateway: seat.gateway,
    ...ipv6ToJson(seat.ipv6),
    MacAddress: seat.mac,
    Aliases: hasShortId ? [...seat.aliases, shortId] : seat.aliases,
    ...(apiMinor >= DNS_NAMES_SINCE && { DNSNames: isNamed ? names : null }),
  };
}

/** With or without an address: clients read the fields without asking whether they are there. */
export function ipv6ToJson(own = ''): object {
  const [address = '', prefix] = own.split('/');
  return {
    IPv6Gateway: '',
    GlobalIPv6Address: address,
    GlobalIPv6PrefixLen: Number(prefix ?? 0),
  };
}

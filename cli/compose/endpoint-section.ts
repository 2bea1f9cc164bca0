/** `networks` and `ports` of a service. */

import { compareText } from '../../common/base/order.ts';
import { LINK_OPTION } from '../../common/model/endpoint-options.ts';
import type { NetworkCreateJson } from '../../common/model/engine-json/network.ts';
import type { PortJson } from '../../common/model/engine-json/port.ts';
import type { NetworkAttachmentJson } from '../../common/model/engine-json/task.ts';
import { addressProblem, fixedAddressProblem } from '../../common/model/fixed-address.ts';
import { parseHostIp } from '../../common/model/host-ip.ts';
import {
  isPredefinedNetwork,
  predefinedNetworkProblem,
} from '../../common/model/predefined-networks.ts';
import { companionTarget, isCompanionText } from './companions.ts';
import type { Deployment } from './deploy-section.ts';
import type { Fields, Item } from './item.ts';
import { PROTOCOLS, parseShortPorts, portsAt } from './ports.ts';
import { nearestWord } from './problems.ts';
import type { Declaration, StackScope } from './scope.ts';
import { some } from './some.ts';

const DEFAULT_NETWORK = 'default';

/** Sorted by what they publish, so that the order in the file counts for nothing. */
export function portSection(section: Item | undefined): PortJson[] {
  const ports = (section?.items() ?? []).flatMap((item): readonly PortJson[] => {
    if (item.isMap) return longPort(item);
    return item.parsed((text) => portsAt(parseShortPorts(text))) ?? [];
  });
  return ports.sort(
    (a, b) =>
      (a.PublishedPort ?? 0) - (b.PublishedPort ?? 0) ||
      a.TargetPort - b.TargetPort ||
      compareText(a.HostIp ?? '', b.HostIp ?? ''),
  );
}

function longPort(item: Item): readonly PortJson[] {
  const fields = item.fields();
  const target = fields.get('target');
  if (!target) {
    item.problem(`${item.path}: target is required`);
    return [];
  }
  const targetText = target.text();
  if (targetText === undefined) return [];
  const name = fields.get('name')?.text();
  const protocol = fields.get('protocol')?.oneOf(PROTOCOLS) ?? 'tcp';
  const mode = fields.get('mode')?.oneOf(['ingress', 'host']) ?? 'ingress';
  const hostIp = fields.get('host_ip')?.parsed(parseHostIp) ?? '';
  const publishedItem = fields.get('published');
  const published = publishedItem?.text() ?? '';
  if (published.includes('-')) {
    // One of a range, says the specification; all of it, says the short form.
    publishedItem?.problem(
      `${publishedItem.path} must be one port: a range is written in the short form`,
    );
    return [];
  }
  const text = published === '' || published === '0' ? targetText : `${published}:${targetText}`;
  const short = item.attempt(() => parseShortPorts(text));
  return (short?.ports ?? []).map((port) => ({
    ...some('Name', name),
    ...port,
    Protocol: protocol,
    PublishMode: mode,
    ...some('HostIp', hostIp),
  }));
}

/**
 * Each network under the service's key, its aliases there, and `container_name`. Sorted. `network_mode`
 * stands for a network of its word; other words are refused by the table of keys.
 */
export function attachmentSection(
  scope: StackScope,
  key: string,
  fields: Fields,
): NetworkAttachmentJson[] {
  const mode = fields.get('network_mode');
  const word = mode?.text();
  const target = word === 'host' || word === 'none' ? word : companionTarget(scope, mode);
  if (mode && (target !== null || isCompanionText(word ?? ''))) {
    if (fields.get('networks')) {
      mode.problem(`${mode.path} and networks cannot be given together`);
    }
    fields.get('container_name')?.ignored('a service in this network has no names of its own');
    return target === null ? [] : [{ Target: target }];
  }
  const names = [fields.get('container_name')?.text(), key].filter((name) => name !== undefined);
  return wantedNetworks(fields.get('networks'))
    .flatMap(([name, item]): NetworkAttachmentJson[] => {
      const network = scope.networks.get(name);
      if (!network) {
        if (item) undefinedName(item, 'network', name, [...scope.networks.keys()]);
        return [];
      }
      scope.usedNetworks.add(name);
      const own = item?.isMap ? item.fields() : undefined;
      const given = own?.get('aliases');
      const seat = own
        ? seatOf(own.get('ipv4_address'), network, scope.networkSpecs.get(name))
        : {};
      if (isPredefinedNetwork(network.name)) {
        given?.problem(`${given.path}: network ${network.name} has no names of the cluster`);
        return [{ Target: network.name, ...seat }];
      }
      const aliases = given?.texts();
      const all = [...new Set([...(aliases ?? []), ...names])];
      return [{ Target: network.name, Aliases: all, ...seat, ...(own && optionsOf(own)) }];
    })
    .sort((a, b) => (a.Target < b.Target ? -1 : 1));
}

/** Docker's options of the place; `interface_name` is one of them by another word. */
function optionsOf(own: Fields): Pick<NetworkAttachmentJson, 'DriverOpts'> {
  const options = { ...own.get('driver_opts')?.stringMap() };
  const name = own.get('interface_name');
  const link = name?.text();
  if (name && link !== undefined) {
    const other = options[LINK_OPTION];
    if (other !== undefined && other !== link) {
      name.problem(`${name.path}: driver_opts name it ${other}`);
    }
    options[LINK_OPTION] = link;
  }
  return Object.keys(options).length === 0 ? {} : { DriverOpts: options };
}

/** The address in a network, where one is given; of a network that is declared with it, whether it can be one there. */
function seatOf(
  item: Item | undefined,
  { name, external }: Declaration,
  spec: NetworkCreateJson | undefined,
): Pick<NetworkAttachmentJson, 'IPAMConfig'> {
  const address = item?.text();
  if (!item || address === undefined) return {};
  if (!external && !isPredefinedNetwork(name)) {
    const subnets = (spec?.IPAM?.Config ?? []).map((config) => ({
      subnet: config.Subnet ?? '',
      gateway: config.Gateway ?? '',
      reserved: config.AuxiliaryAddresses ?? {},
    }));
    const problem = addressProblem(address, name, subnets);
    if (problem !== null) item.problem(`${item.path}: ${problem}`);
  }
  return { IPAMConfig: { IPv4Address: address } };
}

/** What the ports of a service ask that its networks do not give, told at `item`. */
export function checkPublishing(
  item: Item | undefined,
  networks: readonly NetworkAttachmentJson[],
  ports: readonly PortJson[],
): void {
  const problem = predefinedNetworkProblem(
    networks.map(({ Target, Aliases }) => ({ target: Target, aliases: Aliases ?? [] })),
    ports.map(({ PublishMode, TargetPort, PublishedPort, HostIp }) => ({
      publishMode: PublishMode === 'host' ? 'host' : 'ingress',
      targetPort: TargetPort,
      publishedPort: PublishedPort ?? 0,
      hostIp: HostIp ?? '',
    })),
  );
  if (problem !== null) item?.problem(`${item.path}: ${problem}`);
}

/** Addresses in networks that the service cannot have, told at `item`. */
export function checkSeats(
  item: Item | undefined,
  networks: readonly NetworkAttachmentJson[],
  { mode, update, rollback }: Pick<Deployment, 'mode' | 'update' | 'rollback'>,
): void {
  const problem = fixedAddressProblem({
    networks: networks.map(({ Target, IPAMConfig }) => ({
      target: Target,
      addresses: IPAMConfig?.IPv4Address ? [IPAMConfig.IPv4Address] : [],
    })),
    replicas: mode.Replicated?.Replicas ?? null,
    orders: [update?.Order, rollback?.Order],
  });
  if (problem !== null) item?.problem(`${item.path}: ${problem}`);
}

function wantedNetworks(section: Item | undefined): readonly (readonly [string, Item | null])[] {
  if (!section || (section.isList && section.items().length === 0))
    return [[DEFAULT_NETWORK, null]];
  if (!section.isList) {
    const entries = section.entries();
    return entries.length > 0 ? entries : [[DEFAULT_NETWORK, null]];
  }
  return section.items().flatMap((item): [string, Item][] => {
    const name = item.text();
    return name === undefined ? [] : [[name, item]];
  });
}

export function undefinedName(
  item: Item,
  kind: string,
  name: string,
  known: readonly string[],
): void {
  const near = nearestWord(name, known);
  const hint = near === null ? `declare it under the top-level ${kind}s` : `did you mean ${near}?`;
  item.problem(`${item.path}: undefined ${kind} "${name}"; ${hint}`);
}

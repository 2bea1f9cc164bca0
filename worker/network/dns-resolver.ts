/**
 * What a task's question means: looked up in the tables of the task's own networks. Pure: gives
 * either the answer or `null`, which means "ask elsewhere".
 */
import { address6Of } from '../../common/base/ipv6.ts';
import { type Random, shuffled } from '../../common/base/random.ts';
import type { AssignedServiceEntry } from '../../common/model/assignment.ts';
import type { NetworkId } from '../../common/model/ids.ts';
import { addressBytes, isIpv6, textOfIpv4 } from '../../native/ffi/net/address.ts';
import type { ClusterTables, NetworkTable } from './cluster-tables.ts';
import {
  addressAnswer,
  emptyAnswer,
  pointerAnswer,
  type Question,
  RCODE,
  reverseAddress,
  type ServiceTarget,
  serviceAnswer,
  serviceQuestion,
  TYPE,
} from './dns-message.ts';
import type { NameShare } from './name-index.ts';

/** Clients must see a change soon; virtual IPs hardly ever change, task lists do. */
const TTL_SECONDS = 2;

/** Of a service without the label, beside one with it. */
const DEFAULT_WEIGHT = 1;

const ADDRESS_TYPES: readonly number[] = [TYPE.a, TYPE.aaaa, TYPE.any];

/** Who asks. */
export interface DnsClient {
  /** in the order in which names are searched; the ingress network has no names */
  readonly networkIds: readonly NetworkId[];
}

/** All addresses of a name among the client's networks; null when none of them knows it. */
export function lookupName(
  tables: ClusterTables,
  client: DnsClient,
  name: string,
): string[] | null {
  const found = findName(tables, client, name);
  if (found.length === 0) return null;
  return firstWithAny(found, ({ shares }) => addressesOf(shares));
}

interface FoundName {
  readonly table: NetworkTable;
  /** IPv4 */
  readonly shares: readonly NameShare[];
}

const addressesOf = (shares: readonly NameShare[]): string[] => [
  ...new Set(shares.flatMap(({ addresses }) => addresses)),
];

/** What the first network tells that tells anything: one without addresses of this family, or tasks that serve, hides no other. */
function firstWithAny(
  found: readonly FoundName[],
  addressesIn: (found: FoundName) => string[],
): string[] {
  for (const one of found) {
    const addresses = addressesIn(one);
    if (addresses.length > 0) return addresses;
  }
  return [];
}

/** What is answered this time, in random order: of services that share a name by weight that of one. */
function answeredFor(
  { table, shares }: FoundName,
  family: 'ipv4' | 'ipv6',
  random: Random,
): string[] {
  const chosen = chosenShare(table, shares, random);
  const addresses = addressesOf(chosen ? [chosen] : shares);
  const order = addresses.length > 1 ? shuffled(addresses, random) : addresses;
  if (family === 'ipv4') return order;
  const subnet6 = table.network?.subnet6 ?? '';
  return subnet6 === '' ? [] : order.map((address) => address6Of(subnet6, address));
}

/** null = no weight is told, or none of those that have one serves: all are answered. */
function chosenShare(
  table: NetworkTable,
  shares: readonly NameShare[],
  random: Random,
): NameShare | null {
  if (shares.length < 2 || shares.every(({ weight }) => weight === null)) return null;
  const serving = shares.filter(
    ({ serviceId }) => serviceId === null || hasAny(table.servingOf(serviceId)),
  );
  const weightOf = ({ weight }: NameShare): number => weight ?? DEFAULT_WEIGHT;
  const total = serving.reduce((sum, share) => sum + weightOf(share), 0);
  let left = total > 0 ? random.below(total) : 0;
  for (const share of serving) {
    left -= weightOf(share);
    if (left < 0) return share;
  }
  return null;
}

function hasAny(items: Iterable<string>): boolean {
  for (const _ of items) return true;
  return false;
}

/** In each of the client's networks that knows the name, else in that which its end names; in the order of search. */
function findName(tables: ClusterTables, client: DnsClient, name: string): FoundName[] {
  const networks = client.networkIds.flatMap((id) => tables.networks.get(id) ?? []);
  const visible = networks.filter(({ network }) => !network?.ingress);
  const found = visible.flatMap((table) => inNetwork(table, name));
  for (let dot = name.indexOf('.'); dot > 0; dot = name.indexOf('.', dot + 1)) {
    if (found.length > 0) return found;
    const networkName = name.slice(dot + 1);
    const named = visible.filter(({ network }) => network?.name.toLowerCase() === networkName);
    found.push(...named.flatMap((table) => inNetwork(table, name.slice(0, dot))));
  }
  return found;
}

/**
 * Where a published port of a service is to be found among the client's networks: at its virtual IP, or
 * at each serving task in mode `dnsrr`. Ports are named, or numbered as the tasks listen. null when none
 * of the networks knows the service.
 */
export function lookupService(
  tables: ClusterTables,
  client: DnsClient,
  asked: { readonly port: string; readonly protocol: string; readonly service: string },
): ServiceTarget[] | null {
  for (const id of client.networkIds) {
    const table = tables.networks.get(id);
    if (!table?.network || table.network.ingress) continue;
    const networkName = table.network.name;
    const suffix = `.${networkName.toLowerCase()}`;
    const bare = asked.service.endsWith(suffix)
      ? asked.service.slice(0, -suffix.length)
      : asked.service;
    const entry = [...table.services.values()].find(({ name, aliases }) =>
      [name, ...aliases].some((it) => [asked.service, bare].includes(it.toLowerCase())),
    );
    if (!entry) continue;
    const meshed = [...tables.ports.values()].filter((it) => it.serviceId === entry.serviceId);
    const ports = [...meshed, ...entry.hostPorts].filter(
      ({ protocol, name, targetPort }) =>
        protocol === asked.protocol &&
        [name.toLowerCase(), String(targetPort)].includes(asked.port),
    );
    const numbers = [...new Set(ports.map(({ targetPort }) => targetPort))];
    return numbers.flatMap((port) =>
      targetsOf(table, entry).map(({ name, address }) => ({
        name: `${name}.${networkName}`,
        address,
        port,
      })),
    );
  }
  return null;
}

function targetsOf(
  table: NetworkTable,
  { serviceId, name, virtualIp }: AssignedServiceEntry,
): { readonly name: string; readonly address: string }[] {
  if (virtualIp !== null) return [{ name, address: virtualIp }];
  return Array.from(table.servingOf(serviceId), (address) => ({
    name: table.names.reverse(address)[0] ?? name,
    address,
  }));
}

function inNetwork(table: NetworkTable, name: string): FoundName[] {
  const shares = table.names.lookup(name, (serviceId) => table.servingOf(serviceId));
  return shares ? [{ table, shares }] : [];
}

/** Names of the holder of `address` among the client's networks, with the network's name. */
export function lookupAddress(tables: ClusterTables, client: DnsClient, address: string): string[] {
  return client.networkIds.flatMap((id) => {
    const table = tables.networks.get(id);
    if (!table?.network || table.network.ingress) return [];
    const { subnet6 } = table.network;
    const own = isIpv6(address) ? ipv4Within(subnet6, address) : address;
    return table.names.reverse(own).map((name) => `${name}.${table.network?.name}`);
  });
}

/** The IPv4 address of the seat that has this one of IPv6; '' = none in this subnet. */
function ipv4Within(subnet6: string, address: string): string {
  const ipv4 = textOfIpv4(addressBytes(address).subarray(-4));
  return subnet6 !== '' && address6Of(subnet6, ipv4) === address ? ipv4 : '';
}

/** The response to `query` from the cluster's own names; null when they do not cover it. */
export function answerLocally(
  tables: ClusterTables,
  client: DnsClient,
  query: Buffer,
  question: Question,
  bytesMax: number,
  random: Random,
): Buffer | null {
  if (question.type === TYPE.ptr) {
    const address = reverseAddress(question.name);
    const names = address === null ? [] : lookupAddress(tables, client, address);
    return names.length > 0 ? pointerAnswer(query, question, names, TTL_SECONDS) : null;
  }
  if (question.type === TYPE.srv) {
    const asked = serviceQuestion(question.name);
    const targets = asked && lookupService(tables, client, asked);
    // Of a service of ours nobody else may say that it has such a port.
    if (targets?.length === 0) return emptyAnswer(query, question, RCODE.nameError);
    if (targets) {
      const order = shuffled(targets, random);
      return serviceAnswer(query, question, order, TTL_SECONDS, bytesMax);
    }
  }
  const family = question.type === TYPE.aaaa ? 'ipv6' : 'ipv4';
  const found = findName(tables, client, question.name);
  if (found.length === 0) return null;
  // A name of ours without this kind of record: it exists, and nobody else may answer for it.
  if (!ADDRESS_TYPES.includes(question.type)) {
    return emptyAnswer(query, question, RCODE.noError);
  }
  const addresses = firstWithAny(found, (one) => answeredFor(one, family, random));
  return addressAnswer(query, question, addresses, TTL_SECONDS, bytesMax);
}

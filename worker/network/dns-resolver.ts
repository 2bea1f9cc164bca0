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

/** Clients must see a change soon; virtual IPs hardly ever change, task lists do. */
const TTL_SECONDS = 2;

const ADDRESS_TYPES: readonly number[] = [TYPE.a, TYPE.aaaa, TYPE.any];

/** Who asks. */
export interface DnsClient {
  /** in the order in which names are searched; the ingress network has no names */
  readonly networkIds: readonly NetworkId[];
}

/** Addresses of a name among the client's networks; null when none of them knows it. */
export function lookupName(
  tables: ClusterTables,
  client: DnsClient,
  name: string,
  family: 'ipv4' | 'ipv6' = 'ipv4',
): string[] | null {
  const found = findName(tables, client, name);
  if (!found || family === 'ipv4') return found?.addresses ?? null;
  const subnet6 = found.table.network?.subnet6 ?? '';
  return subnet6 === '' ? [] : found.addresses.map((address) => address6Of(subnet6, address));
}

interface FoundName {
  readonly table: NetworkTable;
  /** IPv4 */
  readonly addresses: string[];
}

function findName(tables: ClusterTables, client: DnsClient, name: string): FoundName | null {
  const networks = client.networkIds.flatMap((id) => tables.networks.get(id) ?? []);
  const visible = networks.filter(({ network }) => !network?.ingress);
  for (const table of visible) {
    const addresses = inNetwork(table, name);
    if (addresses) return { table, addresses };
  }
  for (let dot = name.indexOf('.'); dot > 0; dot = name.indexOf('.', dot + 1)) {
    const networkName = name.slice(dot + 1);
    for (const table of visible) {
      if (table.network?.name.toLowerCase() !== networkName) continue;
      const addresses = inNetwork(table, name.slice(0, dot));
      if (addresses) return { table, addresses };
    }
  }
  return null;
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
    const ports = [...tables.ports.values()].filter(
      ({ serviceId, protocol, name, targetPort }) =>
        serviceId === entry.serviceId &&
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

function inNetwork(table: NetworkTable, name: string): string[] | null {
  return table.names.lookup(name, (serviceId) => table.servingOf(serviceId));
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
  const addresses = lookupName(tables, client, question.name, family);
  if (!addresses) return null;
  // A name of ours without this kind of record: it exists, and nobody else may answer for it.
  if (!ADDRESS_TYPES.includes(question.type)) {
    return emptyAnswer(query, question, RCODE.noError);
  }
  const order = addresses.length > 1 ? shuffled(addresses, random) : addresses;
  return addressAnswer(query, question, order, TTL_SECONDS, bytesMax);
}

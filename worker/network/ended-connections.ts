/**
 * Connections to what is no more, or serves no more: forgotten in every namespace from where they may come, so that what
 * is sent next finds another. Which they are is a function of the tables.
 */
import { address6Of } from '../../common/base/ipv6.ts';
import type { NetworkId } from '../../common/model/ids.ts';
import { addressBytes, addressText, networkOf, parsePrefix } from '../../native/ffi/net/address.ts';
import { answeredBy, type EndedConnections } from '../../native/ffi/net/conntrack.ts';
import { AF_INET, AF_INET6 } from '../../native/ffi/net/rtnl-family.ts';
import type { ClusterTables, NetworkTable } from './cluster-tables.ts';
import type { Ended } from './table-follower.ts';

/** Of one network. */
export interface EndedInNetwork {
  readonly networkId: NetworkId;
  readonly connections: EndedConnections;
}

/** Of what ended in steps of the tables: all connections to who is gone, and of UDP those to who serves no more. */
export function endedInSteps(tables: ClusterTables, { gone, unserved }: Ended): EndedInNetwork[] {
  // Somebody may have been given one of them since a step that failed, or serve there again.
  return [
    ...[...gone].map(([id, addresses]) => {
      const table = tables.networks.get(id);
      return ended(
        id,
        table,
        [...addresses].filter((it) => !table?.hostOf(it)),
        'all',
      );
    }),
    ...[...unserved].map(([id, addresses]) => {
      const table = tables.networks.get(id);
      return ended(
        id,
        table,
        [...addresses].filter((it) => !table?.servesAt(it)),
        'udp',
      );
    }),
  ].filter(({ connections }) => connections.families.length > 0);
}

function ended(
  networkId: NetworkId,
  table: NetworkTable | undefined,
  addresses: readonly string[],
  which: 'all' | 'udp',
): EndedInNetwork {
  const subnet6 = table?.network?.subnet6 ?? '';
  const six = subnet6 === '' ? [] : addresses.map((address) => address6Of(subnet6, address));
  return { networkId, connections: answeredBy(new Set([...addresses, ...six]), which) };
}

/**
 * Of what ended while no daemon looked: all that are answered from an address in the networks that nobody holds, and those of
 * UDP from one where nobody serves. @param networkIds those that the namespace is in
 */
export function endedUnseen(
  tables: ClusterTables,
  networkIds: readonly NetworkId[],
): EndedConnections {
  const known = networkIds.flatMap((id) => tables.networks.get(id) ?? []);
  const subnets = known.flatMap(({ network }) => (network ? network : []));
  const held = new Map<string, boolean>();
  for (const table of known) {
    const subnet6 = table.network?.subnet6 ?? '';
    for (const [address] of table.seats()) {
      const serves = table.servesAt(address);
      held.set(hexOf(address), serves);
      if (subnet6 !== '') held.set(hexOf(address6Of(subnet6, address)), serves);
    }
  }
  const within = subnets
    .flatMap(({ subnet, subnet6 }) => [subnet, subnet6])
    .flatMap((cidr) => (cidr === '' ? [] : isInside(cidr)));
  return {
    families: [AF_INET, ...(subnets.some(({ subnet6 }) => subnet6 !== '') ? [AF_INET6] : [])],
    areMeant: (address, isUdp) => {
      const serves = held.get(address);
      if (serves === undefined) return within.some((holds) => holds(address));
      return isUdp && !serves;
    },
  };
}

const hexOf = (address: string): string => addressBytes(address).toString('hex');

/** Whether a subnet holds an address, hexadecimal. */
function isInside(cidr: string): (hex: string) => boolean {
  const { address, length } = parsePrefix(cidr);
  const bytesLong = addressBytes(address).length;
  const network = networkOf({ address, length });
  return (hex) => {
    const bytes = Buffer.from(hex, 'hex');
    if (bytes.length !== bytesLong) return false;
    return networkOf({ address: addressText(bytes), length }) === network;
  };
}

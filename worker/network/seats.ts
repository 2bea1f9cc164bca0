/** Puts links that are there back into the state that is wanted of them. Knows no tables of the cluster. */
import { isIpv6, macOf } from '../../native/ffi/net/address.ts';
import { MessageBatch } from '../../native/ffi/net/message.ts';
import { addAddress, deleteAddress } from '../../native/ffi/net/rtnl-address.ts';
import {
  type BridgePortOptions,
  type LinkInfo,
  setBridgePort,
  setLink,
} from '../../native/ffi/net/rtnl-link.ts';
import { addPortMac } from '../../native/ffi/net/rtnl-neighbour.ts';
import {
  appendRoute,
  dumpRoutes,
  IPV6_METRIC_CONNECTED,
  LOCAL_TABLE,
  MAIN_TABLE,
  type RouteInfo,
  readRoutes,
} from '../../native/ffi/net/rtnl-route.ts';
import type { NetlinkSocket } from '../../native/ffi/net/sockets.ts';
import { listLinks } from './legs.ts';
import {
  addressesOf,
  addressOf,
  deliveryOf,
  type SeatAddress,
  subnetOf,
  type WantedSeat,
} from './wanted-facts.ts';

export const indexOf = (links: readonly LinkInfo[], name: string): number =>
  links.find((link) => link.name === name)?.index ?? 0;

/** Link up with its MAC and MTU, then its address and the route to its subnet. Absent links are passed over. */
export async function restoreSeats(
  route: NetlinkSocket,
  seats: readonly WantedSeat[],
): Promise<void> {
  const links = await listLinks(route);
  const present = seats.filter(({ link }) => indexOf(links, link) > 0);
  const up = new MessageBatch(512);
  const addressing = new MessageBatch(1024);
  for (const { link, address, address6, mtu } of present) {
    const index = indexOf(links, link);
    setLink(up, { index }, { up: true, mtu, mac: macOf(addressOf(address)) });
    addAddress(addressing, index, address);
    if (address6 !== undefined) addAddress(addressing, index, address6);
  }
  await route.transact(up);
  await route.transact(addressing);
  await restoreSubnets(route, addressesOf(present));
}

/**
 * Addresses without what delivers to them are given anew: then the kernel makes that again, and takes the address for a
 * preferred source, which it otherwise refuses. Before `restoreSeats`: other routes of the link may go. Absent links are
 * passed over.
 */
export async function renewAddresses(
  route: NetlinkSocket,
  addresses: readonly SeatAddress[],
): Promise<void> {
  const [links, routes] = [await listLinks(route), await listRoutes(route)];
  const batch = new MessageBatch(1024);
  for (const seat of addresses) {
    const index = indexOf(links, seat.link);
    const delivers = (to: string): boolean => routes.some(leadsTo(LOCAL_TABLE, to, index));
    if (index === 0 || deliveryOf(seat).every(delivers)) continue;
    deleteAddress(batch, index, seat.address);
    addAddress(batch, index, seat.address);
  }
  await route.transact(batch);
}

/** The kernel makes these routes with the address; they can be deleted by themselves. Absent links are passed over. */
export async function restoreSubnets(
  route: NetlinkSocket,
  addresses: readonly SeatAddress[],
): Promise<void> {
  const [links, routes] = [await listLinks(route), await listRoutes(route)];
  const batch = new MessageBatch(512);
  for (const { link, address } of addresses) {
    const index = indexOf(links, link);
    const to = subnetOf(address);
    if (index === 0 || routes.some(leadsTo(MAIN_TABLE, to, index))) continue;
    const metric = isIpv6(address) ? { metric: IPV6_METRIC_CONNECTED } : {};
    appendRoute(batch, { to, index, ...metric, source: addressOf(address) });
  }
  await route.transact(batch);
}

async function listRoutes(route: NetlinkSocket): Promise<RouteInfo[]> {
  return readRoutes(await route.dump(dumpRoutes('both')));
}

/** By the link itself. */
function leadsTo(table: number, to: string, index: number): (route: RouteInfo) => boolean {
  return (it) =>
    it.table === table && it.index === index && it.via === null && `${it.to}/${it.length}` === to;
}

/**
 * Ports back on their bridge, each carrying its one MAC. Absent links are passed over.
 * @param ports link -> the seat behind it
 */
export async function restorePorts(
  route: NetlinkSocket,
  bridgeIndex: number,
  ports: ReadonlyMap<string, { readonly mac: Uint8Array }>,
  options: BridgePortOptions & { readonly mtu: number },
): Promise<void> {
  const { mtu, ...port } = options;
  const links = await listLinks(route);
  const batch = new MessageBatch(4096);
  for (const [name, { mac }] of ports) {
    const index = indexOf(links, name);
    if (index === 0) continue;
    setLink(batch, { index }, { master: bridgeIndex, up: true, mtu });
    const plain = { learning: false, unicastFlood: false, isolated: false, hairpin: false };
    setBridgePort(batch, index, { ...plain, ...port });
    addPortMac(batch, index, mac);
  }
  await route.transact(batch);
}

/** Puts links that are there back into the state that is wanted of them. Knows no tables of the cluster. */
import { isIpv6, macOf } from '../../native/ffi/net/address.ts';
import { MessageBatch } from '../../native/ffi/net/message.ts';
import { addAddress } from '../../native/ffi/net/rtnl-address.ts';
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
  MAIN_TABLE,
  readRoutes,
} from '../../native/ffi/net/rtnl-route.ts';
import type { NetlinkSocket } from '../../native/ffi/net/sockets.ts';
import { listLinks } from './legs.ts';
import { addressOf, subnetOf, type WantedSeat } from './wanted-facts.ts';

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
  await restoreSubnets(route, present, links);
}

/** The kernel makes these routes with the address; they can be deleted by themselves. */
async function restoreSubnets(
  route: NetlinkSocket,
  seats: readonly WantedSeat[],
  links: readonly LinkInfo[],
): Promise<void> {
  const routes = readRoutes(await route.dump(dumpRoutes('both')));
  const batch = new MessageBatch(512);
  const addresses = seats.flatMap(({ link, address, address6 }) =>
    [address, ...(address6 === undefined ? [] : [address6])].map((it) => ({ link, address: it })),
  );
  for (const { link, address } of addresses) {
    const index = indexOf(links, link);
    const to = subnetOf(address);
    const metric = isIpv6(address) ? { metric: IPV6_METRIC_CONNECTED } : {};
    const present = routes.some(
      (it) =>
        it.table === MAIN_TABLE &&
        it.index === index &&
        it.via === null &&
        `${it.to}/${it.length}` === to,
    );
    if (!present) appendRoute(batch, { to, index, ...metric, source: addressOf(address) });
  }
  await route.transact(batch);
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

/**
 * Links, addresses and routes of containers in networks that this node makes by itself: how they are made, and how they
 * differ from what they ought to be. Knows no rules; who is where is told.
 */
import { SkepError } from '../../common/base/errors.ts';
import { parsePrefix } from '../../native/ffi/net/address.ts';
import { MessageBatch } from '../../native/ffi/net/message.ts';
import { addAddress, dumpAddresses, readAddresses } from '../../native/ffi/net/rtnl-address.ts';
import { addBridge, addSubLink, addVlan, setLink } from '../../native/ffi/net/rtnl-link.ts';
import { dumpForwarding, readForwarding } from '../../native/ffi/net/rtnl-neighbour.ts';
import { addRoute, dumpRoutes, MAIN_TABLE, readRoutes } from '../../native/ffi/net/rtnl-route.ts';
import {
  NETLINK_ROUTE,
  NetlinkError,
  NetlinkSocket,
  writeNetSysctls,
} from '../../native/ffi/net/sockets.ts';
import { portsApart } from './bridged-packets.ts';
import { compareFacts, type Difference, FACT, factsOf, portWords } from './kernel-facts.ts';
import { findLink, listLinks, makeVeth, removeLink, securePort, withNetns } from './legs.ts';
import { type LocalDevice, macBytes } from './local-network.ts';
import { indexOf, renewAddresses, restorePorts, restoreSubnets } from './seats.ts';
import { deliveryFacts, LOOPBACK, type SeatAddress, subnetOf } from './wanted-facts.ts';

const LOOPBACK_INDEX = 1;
const LINKS_MAX = 64;

/** One container's place in one network, as the kernel has it. */
export interface WantedLink {
  readonly networkId: string;
  readonly device: LocalDevice;
  /** the host's end; '' when there is none */
  readonly port: string;
  /** in the container, e.g. `eth0` */
  readonly link: string;
  readonly address: string;
  readonly prefixLength: number;
  /** as text; '' = the parent's */
  readonly mac: string;
}

/** Runs `work` with a routing socket of the namespace. */
export async function withRoute<T>(
  netnsPath: string,
  work: (route: NetlinkSocket) => Promise<T>,
): Promise<T> {
  const route = await NetlinkSocket.open(netnsPath, NETLINK_ROUTE);
  try {
    return await work(route);
  } finally {
    await route.close();
  }
}

/** Only the loopback of a new namespace is set up: the network `none`. */
export async function setUpLoopback(netnsPath: string): Promise<void> {
  // Without an IPv6 subnet the links would only make link-local noise.
  await writeNetSysctls(netnsPath, { 'ipv6/conf/default/disable_ipv6': '1' });
  await withRoute(netnsPath, async (route) => {
    const batch = new MessageBatch(64);
    setLink(batch, { index: LOOPBACK_INDEX }, { up: true });
    await route.transact(batch);
  });
}

/** The bridge with its address; `mac` follows from the address. */
export async function makeBridge(
  host: NetlinkSocket,
  name: string,
  options: { readonly mac: Buffer; readonly mtuBytes: number; readonly cidr: string },
): Promise<void> {
  const batch = new MessageBatch(512);
  addBridge(batch, { name, mac: options.mac, mtu: options.mtuBytes, up: true });
  await host.transact(batch);
  const index = (await findLink(host, name))?.index ?? 0;
  const addressing = new MessageBatch(128);
  addAddress(addressing, index, options.cidr);
  await host.transact(addressing);
}

/** Makes the container's link; what an attempt that was cut short left goes first. */
export async function plugLink(
  host: NetlinkSocket,
  netnsPath: string,
  wanted: WantedLink,
): Promise<void> {
  await withRoute(netnsPath, (inside) =>
    withNetns(netnsPath, async (netnsFd) => {
      const { device } = wanted;
      await removeLink(inside, wanted.link);
      if (device.kind === 'bridge') await plugIntoBridge(host, inside, netnsFd, wanted, device);
      else await plugOnParent(host, inside, netnsFd, wanted, device);
      await setAddress(inside, wanted);
    }),
  );
}

/** Takes links without an end on the host out of a container at rest: what has one goes with it. */
export function removeSubLinks(netnsPath: string): Promise<void> {
  return withRoute(netnsPath, async (inside) => {
    for (const { name, kind } of await listLinks(inside)) {
      if (name.startsWith('eth') && (kind === 'macvlan' || kind === 'ipvlan')) {
        await removeLink(inside, name);
      }
    }
  });
}

async function plugIntoBridge(
  host: NetlinkSocket,
  inside: NetlinkSocket,
  netnsFd: number,
  wanted: WantedLink,
  device: LocalDevice & { readonly kind: 'bridge' },
): Promise<void> {
  const { port, link } = wanted;
  const mtu = device.mtuBytes;
  const master = (await findLink(host, device.link))?.index ?? 0;
  const peer = { name: link, mac: macBytes(wanted.mac), mtu, netnsFd };
  await makeVeth(host, { name: port, master, mtu, up: true }, peer, inside, () =>
    removeLink(host, port),
  );
  await securePort(host, port, peer.mac, portsApart(device.isolated));
}

async function plugOnParent(
  host: NetlinkSocket,
  inside: NetlinkSocket,
  netnsFd: number,
  wanted: WantedLink,
  device: Exclude<LocalDevice, { kind: 'bridge' }>,
): Promise<void> {
  const parent = await parentIndex(host, device.parent);
  const batch = new MessageBatch(512);
  addSubLink(batch, device.kind, device.mode, {
    name: wanted.link,
    parent,
    netnsFd,
    ...(device.mtuBytes !== null && { mtu: device.mtuBytes }),
    ...(wanted.mac !== '' && { mac: macBytes(wanted.mac) }),
  });
  try {
    await host.transact(batch);
  } catch (err) {
    if (!(err instanceof NetlinkError) || err.errno !== 'EOPNOTSUPP') throw err;
    const words = `network driver ${device.kind}: this host's kernel has none`;
    throw new SkepError('failed-precondition', words, { cause: err });
  }
  const up = new MessageBatch(128);
  setLink(up, { byName: wanted.link }, { up: true });
  await inside.transact(up);
}

/** `eth0.10` is made on `eth0` when there is none. */
async function parentIndex(host: NetlinkSocket, name: string): Promise<number> {
  const found = await findLink(host, name);
  if (found) return found.index;
  const [, trunkName = '', vlan = ''] = /^(.+)\.(\d+)$/.exec(name) ?? [];
  const trunk = trunkName === '' ? null : await findLink(host, trunkName);
  if (!trunk || Number(vlan) < 1 || Number(vlan) > 4094) {
    throw new SkepError('failed-precondition', `parent ${name}: this host has no such link`);
  }
  const batch = new MessageBatch(512);
  addVlan(batch, Number(vlan), { name, parent: trunk.index, up: true });
  await host.transact(batch);
  return (await findLink(host, name))?.index ?? 0;
}

async function setAddress(inside: NetlinkSocket, wanted: WantedLink): Promise<void> {
  const index = (await findLink(inside, wanted.link))?.index ?? 0;
  const batch = new MessageBatch(256);
  addAddress(batch, index, `${wanted.address}/${wanted.prefixLength}`);
  await inside.transact(batch);
}

/** @param via null = there is no way out by these links; a route by others stays */
export async function setDefaultRoute(
  netnsPath: string,
  via: { readonly gateway: string; readonly link: string } | null,
): Promise<void> {
  if (via === null) return; // the kernel took the route with its link
  await withRoute(netnsPath, async (route) => {
    const index = indexOf(await listLinks(route), via.link);
    const batch = new MessageBatch(128);
    if (index > 0) addRoute(batch, { to: '0.0.0.0/0', via: via.gateway, index });
    await route.transact(batch);
  });
}

/** What differs inside a container's namespace; what it added by itself does not count. */
export async function insideDifferences(
  netnsPath: string,
  links: readonly WantedLink[],
  via: { readonly gateway: string; readonly link: string } | null,
): Promise<Difference[]> {
  const found = await withRoute(netnsPath, async (route) =>
    factsOf({
      links: await listLinks(route),
      addresses: readAddresses(await route.dump(dumpAddresses())),
      routes: readRoutes(await route.dump(dumpRoutes())),
    }),
  );
  const facts = new Map(deliveryFacts(links.map(seatOf)));
  for (const wanted of links) {
    const { device, link, mac } = wanted;
    facts.set(FACT.link(link), device.kind === 'bridge' ? 'veth' : device.kind);
    facts.set(FACT.state(link), 'up');
    if (device.mtuBytes !== null) facts.set(FACT.mtu(link), `${device.mtuBytes}`);
    if (mac !== '') facts.set(FACT.mac(link), mac);
    addAddressFacts(facts, seatOf(wanted));
  }
  if (via) {
    facts.set(FACT.route(MAIN_TABLE, '0.0.0.0/0'), `via ${via.gateway} on ${via.link}`);
  }
  return compareFacts(facts, found);
}

const seatOf = ({ link, address, prefixLength }: WantedLink): SeatAddress => ({
  link,
  address: `${address}/${prefixLength}`,
});

function addAddressFacts(facts: Map<string, string>, { link, address }: SeatAddress): void {
  facts.set(FACT.address(link, address), 'there');
  facts.set(FACT.linkRoute(MAIN_TABLE, subnetOf(address), link), 'there');
}

/** Puts what is there back in order; absent links are passed over. */
export async function restoreInside(
  netnsPath: string,
  links: readonly WantedLink[],
  via: { readonly gateway: string; readonly link: string } | null,
): Promise<void> {
  await withRoute(netnsPath, async (route) => {
    const present = await listLinks(route);
    const batch = new MessageBatch(1024);
    setLink(batch, { index: LOOPBACK_INDEX }, { up: true });
    const addressing = new MessageBatch(1024);
    for (const { device, link, mac, address, prefixLength } of links) {
      const index = indexOf(present, link);
      if (index === 0) continue;
      const mtu = device.mtuBytes === null ? {} : { mtu: device.mtuBytes };
      setLink(batch, { index }, { up: true, ...mtu, ...(mac !== '' && { mac: macBytes(mac) }) });
      addAddress(addressing, index, `${address}/${prefixLength}`);
    }
    await route.transact(batch);
    const seats = links.map(seatOf);
    await renewAddresses(route, [LOOPBACK, ...seats]);
    await route.transact(addressing);
    // A next hop is taken where a route leads to it alone.
    await restoreSubnets(route, seats);
  });
  await setDefaultRoute(netnsPath, via);
}

export interface WantedBridge {
  readonly networkId: string;
  readonly device: LocalDevice & { readonly kind: 'bridge' };
  /** CIDR of the gateway's address */
  readonly cidr: string;
  readonly mac: Buffer;
  readonly seats: readonly WantedLink[];
}

/** What differs in the host's namespace of the bridges and their ports. */
export async function bridgeDifferences(
  host: NetlinkSocket,
  bridges: readonly WantedBridge[],
): Promise<Difference[]> {
  const found = factsOf({
    links: await listLinks(host),
    addresses: readAddresses(await host.dump(dumpAddresses())),
    routes: readRoutes(await host.dump(dumpRoutes())),
    forwarding: readForwarding(await host.dump(dumpForwarding())),
  });
  const facts = new Map<string, string>();
  for (const { device, cidr, seats } of bridges) {
    const { link, mtuBytes, isolated } = device;
    facts.set(FACT.link(link), 'bridge');
    facts.set(FACT.state(link), 'up');
    facts.set(FACT.mtu(link), `${mtuBytes}`);
    addAddressFacts(facts, { link, address: cidr });
    const words = portWords({ learning: false, unicastFlood: false, ...portsApart(isolated) });
    for (const { port, mac } of seats) {
      facts.set(FACT.link(port), 'veth');
      facts.set(FACT.state(port), 'up');
      facts.set(FACT.master(port), link);
      facts.set(FACT.port(port), words);
      facts.set(FACT.pinnedMac(port, macBytes(mac)), 'pinned');
    }
  }
  return compareFacts(facts, found);
}

/** A bridge and its ports as they ought to be; a bridge that is gone is made, ports are not. */
export async function restoreBridge(host: NetlinkSocket, wanted: WantedBridge): Promise<void> {
  const { device, cidr, mac, seats } = wanted;
  const { link, mtuBytes } = device;
  const found = await findLink(host, link);
  if (!found) await makeBridge(host, link, { mac, mtuBytes, cidr });
  const index = (await findLink(host, link))?.index ?? 0;
  const batch = new MessageBatch(256);
  setLink(batch, { index }, { up: true, mtu: mtuBytes });
  await host.transact(batch);
  const addressing = new MessageBatch(128);
  addAddress(addressing, index, cidr);
  await host.transact(addressing);
  await restoreSubnets(host, [{ link, address: cidr }]);
  const ports = new Map(seats.map(({ port, mac: own }) => [port, { mac: macBytes(own) }]));
  await restorePorts(host, index, ports, { ...portsApart(device.isolated), mtu: mtuBytes });
}

/** `10.0.0.0/8` and the like that a subnet must not share addresses with. */
export async function routesOf(host: NetlinkSocket) {
  return readRoutes(await host.dump(dumpRoutes()))
    .filter(({ length, table }) => length > 0 && table === MAIN_TABLE)
    .map(({ to, length }) => parsePrefix(`${to}/${length}`));
}

/** A name for one more link of a container: other parts may have made links in there too. */
export async function freeLinkName(netnsPath: string): Promise<string> {
  const taken = await withRoute(netnsPath, async (route) =>
    (await listLinks(route)).map(({ name }) => name),
  );
  for (let i = 0; i < LINKS_MAX; i++) if (!taken.includes(`eth${i}`)) return `eth${i}`;
  throw new SkepError('resource-exhausted', `attach to a network: ${LINKS_MAX} links are there`);
}

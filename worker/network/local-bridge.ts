/**
 * The network `bridge` of this node, for containers outside of services: a bridge in the host's
 * namespace with addresses that mean something on this host alone, a way out and published ports.
 * There while a container is on it. Knows nothing of clusters.
 */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { SkepError } from '../../common/base/errors.ts';
import type { Logger } from '../../common/base/log.ts';
import type { Random } from '../../common/base/random.ts';
import {
  ipv4Number,
  ipv4Text,
  macOf,
  networkNumber,
  type Prefix,
} from '../../native/ffi/net/address.ts';
import { MessageBatch } from '../../native/ffi/net/message.ts';
import {
  addAddress,
  addBridge,
  addRoute,
  dumpAddresses,
  dumpRoutes,
  readAddresses,
  readRoutes,
  setLink,
} from '../../native/ffi/net/rtnl.ts';
import {
  NETLINK_NETFILTER,
  NETLINK_ROUTE,
  NetlinkSocket,
  OWN_NAMESPACE,
  writeNetSysctls,
} from '../../native/ffi/net/sockets.ts';
import { chooseGatewayPool, DEFAULT_GATEWAY_POOLS } from './gateway-bridge.ts';
import { findLink, listLinks, makeVeth, removeLink, securePort, withNetns } from './legs.ts';
import { type BoundPort, LocalPorts, type PortWish } from './local-ports.ts';
import { LOCAL_BRIDGE, type LocalSeat, localTable, noLocalTable } from './local-rules.ts';

/** Docker's own bridge has the first one. */
const POOLS: readonly string[] = ['172.17.0.0/16', ...DEFAULT_GATEWAY_POOLS];
const MTU_BYTES = 1500;
const LOOPBACK_INDEX = 1;
const LINK_IN_CONTAINER = 'eth0';
const FORWARD_FILE = '/proc/sys/net/ipv4/ip_forward';
const PORT_NAME = /^skl[0-9a-f]{11}$/;

/** What a container has on the bridge; to be kept over restarts of the daemon. */
export interface BridgeSeat extends LocalSeat {
  readonly prefixLength: number;
  readonly gateway: string;
  /** `02:42:ac:11:00:02` */
  readonly mac: string;
}

/** Interface names have at most 15 characters. */
function portNameOf(containerId: string): string {
  return `skl${createHash('sha256').update(containerId).digest('hex').slice(0, 11)}`;
}

/** INVARIANT: everything that touches the kernel runs in `#serial`, one after another. */
export class LocalBridge {
  readonly #ports: LocalPorts;
  readonly #seats = new Map<string, BridgeSeat>();
  #sockets: { readonly route: NetlinkSocket; readonly filter: NetlinkSocket } | null = null;
  /** the bridge's own address; null while there is none */
  #subnet: Prefix | null = null;
  #last = 0;
  #tail: Promise<unknown> = Promise.resolve();

  constructor(random: Random, log: Logger) {
    this.#ports = new LocalPorts(random, log);
  }

  /** Containers that run from before this daemon keep what they have; all else of ours goes. */
  start(seats: ReadonlyMap<string, BridgeSeat>): Promise<void> {
    return this.#serial(async () => {
      // Before anything that can fail: the next change of the rules has them all in it.
      for (const [id, seat] of seats) {
        this.#seats.set(id, seat);
        await this.#ports.reclaim(id, seat.ports);
      }
      const { route } = await this.#open();
      await this.#readBridge(route);
      const names = new Set([...seats.keys()].map(portNameOf));
      for (const { name } of await listLinks(route)) {
        if (PORT_NAME.test(name) && !names.has(name)) await removeLink(route, name);
      }
      await this.#settle();
    });
  }

  /** Leaves everything in the kernel as it is. */
  stop(): Promise<void> {
    return this.#serial(async () => {
      this.#ports.close();
      this.#seats.clear();
      await this.#sockets?.route.close();
      await this.#sockets?.filter.close();
      this.#sockets = null;
    });
  }

  /** Only the loopback of a new namespace is set up: the network `none`. */
  async isolate(netnsPath: string): Promise<void> {
    await withRoute(netnsPath, (route) => setUpLoopback(netnsPath, route));
  }

  /**
   * Gives a container that does not run yet its place. Rejects with `conflict` when a port is taken,
   * `resource-exhausted` when no address is left.
   */
  attach(id: string, netnsPath: string, wishes: readonly PortWish[]): Promise<BridgeSeat> {
    return this.#serial(async () => {
      const ports = await this.#ports.claim(id, wishes);
      try {
        return await this.#plug(id, netnsPath, ports);
      } catch (err) {
        this.#ports.release(id);
        this.#seats.delete(id);
        throw err;
      }
    });
  }

  /** Idempotent. */
  detach(id: string): Promise<void> {
    return this.#serial(async () => {
      this.#ports.release(id);
      if (!this.#seats.has(id)) return;
      const { route } = await this.#open();
      await removeLink(route, portNameOf(id));
      this.#seats.delete(id); // its address is free only now
      await this.#settle();
    });
  }

  /** Others of this node may have turned forwarding off at their end. */
  refresh(): Promise<void> {
    return this.#serial(async () => {
      if (this.#seats.size > 0) await enableForwarding();
    });
  }

  get subnet(): string | null {
    if (this.#subnet === null) return null;
    return `${ipv4Text(networkNumber(this.#subnet))}/${this.#subnet.length}`;
  }

  async #plug(id: string, netnsPath: string, ports: readonly BoundPort[]): Promise<BridgeSeat> {
    const { route } = await this.#open();
    const subnet = await this.#ensure(route);
    const address = this.#freeAddress(subnet);
    const mac = macOf(address);
    const seat: BridgeSeat = {
      address,
      prefixLength: subnet.length,
      gateway: subnet.address,
      mac: [...mac].map((byte) => byte.toString(16).padStart(2, '0')).join(':'),
      ports,
    };
    this.#seats.set(id, seat);
    const name = portNameOf(id);
    const master = (await findLink(route, LOCAL_BRIDGE))?.index ?? 0;
    await withRoute(netnsPath, (inside) =>
      withNetns(netnsPath, async (netnsFd) => {
        await setUpLoopback(netnsPath, inside);
        const peer = { name: LINK_IN_CONTAINER, mac, mtu: MTU_BYTES, netnsFd };
        const end = { name, master, mtu: MTU_BYTES, up: true };
        await makeVeth(route, end, peer, inside, () => removeLink(route, name));
        await securePort(route, name, mac);
        const index = (await findLink(inside, LINK_IN_CONTAINER))?.index ?? 0;
        const batch = new MessageBatch(512);
        addAddress(batch, index, `${address}/${subnet.length}`);
        addRoute(batch, { to: '0.0.0.0/0', via: subnet.address, index });
        await inside.transact(batch);
      }),
    );
    await this.#settle();
    return seat;
  }

  /** Rules as the seats want them; without a seat neither rules nor bridge. */
  async #settle(): Promise<void> {
    const { route, filter } = await this.#open();
    if (this.#seats.size === 0) {
      await noLocalTable().commit(filter);
      await removeLink(route, LOCAL_BRIDGE);
      this.#subnet = null;
      return;
    }
    const subnet = await this.#ensure(route);
    await localTable(subnet, [...this.#seats.values()]).commit(filter);
  }

  async #ensure(route: NetlinkSocket): Promise<Prefix> {
    if (this.#subnet) return this.#subnet;
    const taken = readRoutes(await route.dump(dumpRoutes()));
    const pool = chooseGatewayPool(
      POOLS,
      taken.map(({ to, length }) => ({ address: to, length })),
    );
    if (!pool) {
      throw new SkepError(
        'resource-exhausted',
        `create ${LOCAL_BRIDGE}: all of ${POOLS.length} address pools overlap routes of this host`,
      );
    }
    const subnet = { address: ipv4Text(networkNumber(pool) + 1), length: pool.length };
    const batch = new MessageBatch(512);
    const mac = macOf(subnet.address);
    addBridge(batch, { name: LOCAL_BRIDGE, mac, mtu: MTU_BYTES, up: true });
    await route.transact(batch);
    const index = (await findLink(route, LOCAL_BRIDGE))?.index ?? 0;
    const addressing = new MessageBatch(128);
    addAddress(addressing, index, `${subnet.address}/${subnet.length}`);
    await route.transact(addressing);
    await writeNetSysctls(OWN_NAMESPACE, {
      // Published ports answer on 127.0.0.1 as well; what comes from outside is dropped by rule.
      [`ipv4/conf/${LOCAL_BRIDGE}/route_localnet`]: '1',
    });
    await enableForwarding();
    this.#subnet = subnet;
    return subnet;
  }

  /** The bridge that an earlier life of the daemon left. */
  async #readBridge(route: NetlinkSocket): Promise<void> {
    const link = await findLink(route, LOCAL_BRIDGE);
    if (!link) return;
    const addresses = readAddresses(await route.dump(dumpAddresses()));
    const own = addresses.find(({ index }) => index === link.index);
    if (own) this.#subnet = { address: own.address, length: own.length };
    else await removeLink(route, LOCAL_BRIDGE);
  }

  /** Freed ones come again only after all others. */
  #freeAddress(subnet: Prefix): string {
    const used = new Set([...this.#seats.values()].map(({ address }) => ipv4Number(address)));
    const first = ipv4Number(subnet.address) + 1;
    const count = 2 ** (32 - subnet.length) - 3;
    for (let i = 0; i < count; i++) {
      const at = (this.#last + i) % count;
      if (used.has(first + at)) continue;
      this.#last = at + 1;
      return ipv4Text(first + at);
    }
    throw new SkepError(
      'resource-exhausted',
      `attach to network bridge: all ${count} addresses are in use`,
    );
  }

  async #open(): Promise<{ readonly route: NetlinkSocket; readonly filter: NetlinkSocket }> {
    if (this.#sockets) return this.#sockets;
    const route = await NetlinkSocket.open(OWN_NAMESPACE, NETLINK_ROUTE);
    const filter = await NetlinkSocket.open(OWN_NAMESPACE, NETLINK_NETFILTER);
    this.#sockets = { route, filter };
    return this.#sockets;
  }

  #serial<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#tail.then(work);
    this.#tail = result.catch(() => {}); // its caller sees the failure; the next one goes on
    return result;
  }
}

async function enableForwarding(): Promise<void> {
  if (readFileSync(FORWARD_FILE, 'utf8').trim() === '1') return;
  await writeNetSysctls(OWN_NAMESPACE, { 'ipv4/ip_forward': '1' });
}

async function setUpLoopback(netnsPath: string, route: NetlinkSocket): Promise<void> {
  // Without an IPv6 subnet the links would only make link-local noise.
  await writeNetSysctls(netnsPath, { 'ipv6/conf/default/disable_ipv6': '1' });
  const batch = new MessageBatch(64);
  setLink(batch, { index: LOOPBACK_INDEX }, { up: true });
  await route.transact(batch);
}

async function withRoute<T>(
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

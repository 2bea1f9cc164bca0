/**
 * The bridge in the host's namespace that gives tasks their way out and carries host-mode ports.
 * Its addresses are local to this host. Knows nothing of overlay networks but the subnets that it must not have.
 */
import { SkepError } from '../../common/base/errors.ts';
import { address6Of, interface6Of } from '../../common/base/ipv6.ts';
import type { TaskId } from '../../common/model/ids.ts';
import {
  ipv4Number,
  ipv4Text,
  isIpv6,
  macOf,
  networkNumber,
  overlap,
  type Prefix,
  parsePrefix,
  textOfIpv4,
} from '../../native/ffi/net/address.ts';
import { MessageBatch } from '../../native/ffi/net/message.ts';
import { addAddress, dumpAddresses, readAddresses } from '../../native/ffi/net/rtnl-address.ts';
import { addBridge } from '../../native/ffi/net/rtnl-link.ts';
import { dumpForwarding, readForwarding } from '../../native/ffi/net/rtnl-neighbour.ts';
import { dumpRoutes, readRoutes } from '../../native/ffi/net/rtnl-route.ts';
import {
  type NetlinkSocket,
  OWN_NAMESPACE,
  writeNetSysctls,
} from '../../native/ffi/net/sockets.ts';
import { portsApart } from './bridged-packets.ts';
import type { Difference } from './kernel-facts.ts';
import { GATEWAY_BRIDGE, gatewayPortName, isGatewayPortName } from './kernel-names.ts';
import {
  findLink,
  ipv6Settings,
  listLinks,
  makeVeth,
  removeLink,
  securePort,
  type VethEnd,
} from './legs.ts';
import { PortGuard, seatsOf } from './port-guard.ts';
import { restorePorts } from './seats.ts';
import type { WantedSeat } from './wanted-facts.ts';

/** Docker's local address pools, without the one that Docker's own bridge takes. */
export const DEFAULT_GATEWAY_POOLS: readonly string[] = [
  ...Array.from({ length: 14 }, (_, i) => `172.${18 + i}.0.0/16`),
  ...Array.from({ length: 16 }, (_, i) => `192.168.${i * 16}.0/20`),
];

/**
 * Of the bridge in IPv6, on every host alike, as its pools are: what leaves by it is masqueraded. Of the range for
 * private use (RFC 4193), its 40 bits chosen at random.
 */
export const GATEWAY_SUBNET6 = 'fd4b:5e9c:7a1d::/64';

/** The first of `pools` that shares no address with `taken`; null when every one does. */
export function chooseGatewayPool(
  pools: readonly string[],
  taken: readonly Prefix[],
): Prefix | null {
  const free = pools
    .map(parsePrefix)
    .find((pool) => !taken.some((other) => other.length > 0 && overlap(pool, other)));
  return free ?? null;
}

export class GatewayBridge {
  readonly #host: NetlinkSocket;
  readonly #guard: PortGuard;
  readonly #pools: readonly string[];
  readonly #others: () => readonly string[];
  readonly #used = new Set<number>();
  #subnet: Prefix | null = null;
  #index = 0;
  #mtu = 0;
  #isDual = false;
  #next = 0;

  /**
   * @param host rtnetlink and @param filter netfilter socket of the host's namespace
   * @param others subnets of this node's own networks, which have no route while nobody is in them, and of the cluster's,
   * to which a task would have two routes
   */
  constructor(
    host: NetlinkSocket,
    filter: NetlinkSocket,
    pools: readonly string[],
    others: () => readonly string[],
  ) {
    this.#host = host;
    this.#guard = new PortGuard(filter);
    this.#pools = pools;
    this.#others = others;
  }

  /** The bridge's own address with the subnet's length; null before `ensure` or `adopt`. */
  get subnet(): Prefix | null {
    return this.#subnet;
  }

  get gateway(): string {
    return this.#subnet?.address ?? '';
  }

  get gateway6(): string {
    return this.#subnet ? address6Of(GATEWAY_SUBNET6, this.#subnet.address) : '';
  }

  /** It is a way out by IPv6, too. */
  get isDual(): boolean {
    return this.#isDual;
  }

  /** Takes up what is there; addresses in use are those whose ports are there. */
  async adopt(): Promise<boolean> {
    const link = await findLink(this.#host, GATEWAY_BRIDGE);
    if (!link) return false;
    const addresses = readAddresses(await this.#host.dump(dumpAddresses('both')));
    const its = addresses.filter(({ index }) => index === link.index);
    const own = its.find(({ address }) => !isIpv6(address));
    if (!own) {
      await removeLink(this.#host, GATEWAY_BRIDGE);
      return false;
    }
    this.#index = link.index;
    this.#mtu = link.mtu;
    this.#subnet = { address: own.address, length: own.length };
    this.#isDual = its.some(({ address }) => address === this.gateway6);
    if (this.#isDual) this.#guard.setSubnet6(GATEWAY_SUBNET6);
    const ports = (await listLinks(this.#host)).filter(({ name }) => isGatewayPortName(name));
    const indexes = new Set(ports.map(({ index }) => index));
    for (const { index, mac } of readForwarding(await this.#host.dump(dumpForwarding()))) {
      if (indexes.has(index)) this.#used.add(ipv4Number(textOfIpv4(mac.subarray(2))));
    }
    return true;
  }

  /** Makes the bridge unless it is there. Throws `resource-exhausted` when every pool is in use. */
  async ensure(mtu: number): Promise<void> {
    if (this.#subnet) return;
    const routes = readRoutes(await this.#host.dump(dumpRoutes()));
    const routed = routes.map(({ to, length }) => ({ address: to, length }));
    const taken = [...routed, ...this.#others().map(parsePrefix)];
    const pool = chooseGatewayPool(this.#pools, taken);
    if (!pool) {
      throw new SkepError(
        'resource-exhausted',
        `create ${GATEWAY_BRIDGE}: all of ${this.#pools.length} address pools overlap routes of this host or networks`,
      );
    }
    this.#mtu = mtu;
    await this.#create({ address: ipv4Text(networkNumber(pool) + 1), length: pool.length });
  }

  /** Makes it a way out by IPv6, too, unless it is. It is there; it is no such way while a step is missing. */
  async ensureDual(): Promise<void> {
    this.#required();
    if (this.#isDual) return;
    this.#guard.setSubnet6(GATEWAY_SUBNET6);
    await this.#guard.rebuild();
    // Last: by the address another life of the daemon tells that it was made.
    await this.#addIpv6();
    this.#isDual = true;
  }

  async #addIpv6(): Promise<void> {
    await writeNetSysctls(OWN_NAMESPACE, ipv6Settings(GATEWAY_BRIDGE));
    const { address, length } = this.#required();
    const batch = new MessageBatch(128);
    addAddress(batch, this.#index, interface6Of(GATEWAY_SUBNET6, `${address}/${length}`));
    await this.#host.transact(batch);
  }

  async #create(subnet: Prefix): Promise<void> {
    const { address, length } = subnet;
    const batch = new MessageBatch(512);
    addBridge(batch, { name: GATEWAY_BRIDGE, mac: macOf(address), mtu: this.#mtu, up: true });
    await this.#host.transact(batch);
    this.#index = (await findLink(this.#host, GATEWAY_BRIDGE))?.index ?? 0;
    const addressing = new MessageBatch(128);
    addAddress(addressing, this.#index, `${address}/${length}`);
    await this.#host.transact(addressing);
    await writeNetSysctls(OWN_NAMESPACE, {
      // Host-mode ports answer on 127.0.0.1 as well; what comes from outside is dropped by rule.
      [`ipv4/conf/${GATEWAY_BRIDGE}/route_localnet`]: '1',
    });
    await this.#guard.rebuild();
    this.#subnet = subnet;
    if (this.#isDual) await this.#addIpv6();
  }

  /** What the bridge must be like; null before `ensure` or `adopt`. */
  get seat(): WantedSeat | null {
    if (!this.#subnet) return null;
    const { address, length } = this.#subnet;
    const cidr = `${address}/${length}`;
    const address6 = this.#isDual ? interface6Of(GATEWAY_SUBNET6, cidr) : undefined;
    return { link: GATEWAY_BRIDGE, address: cidr, address6, mtu: this.#mtu };
  }

  /**
   * The bridge as it was, with the ports that are there still: those that are gone must be plugged
   * in anew. @param ports link -> the address behind it
   */
  async restore(ports: ReadonlyMap<string, string>): Promise<void> {
    const subnet = this.#required();
    if (!(await findLink(this.#host, GATEWAY_BRIDGE))) await this.#create(subnet);
    const mtu = this.#mtu;
    if (this.#isDual) await writeNetSysctls(OWN_NAMESPACE, ipv6Settings(GATEWAY_BRIDGE));
    await this.#guard.rebuild();
    await restorePorts(this.#host, this.#index, seatsOf(ports), { ...portsApart(true), mtu });
  }

  /** How the rules differ that keep ports to their addresses. @param ports link -> address */
  guardDifferences(ports: ReadonlyMap<string, string>): Promise<Difference[]> {
    this.#guard.expect(seatsOf(ports));
    return this.#guard.differences();
  }

  /** An address for a task. Freed ones are reused only after the subnet was gone through once. */
  reserve(): string {
    const { address, length } = this.#required();
    const first = ipv4Number(address) + 1;
    const count = 2 ** (32 - length) - 3;
    for (let i = 0; i < count; i++) {
      const candidate = first + ((this.#next + i) % count);
      if (this.#used.has(candidate)) continue;
      this.#next = (candidate - first + 1) % count;
      this.#used.add(candidate);
      return ipv4Text(candidate);
    }
    throw new SkepError(
      'resource-exhausted',
      `reserve gateway address: all ${count} addresses of ${GATEWAY_BRIDGE} are in use`,
    );
  }

  /** The task is gone. */
  async release(taskId: TaskId, address: string): Promise<void> {
    this.#used.delete(ipv4Number(address));
    await this.#guard.forget(gatewayPortName(taskId));
  }

  /** True when `address` belongs to the bridge's subnet. */
  contains(address: string): boolean {
    return this.#subnet !== null && overlap(this.#subnet, { address, length: 32 });
  }

  /** Ports are apart from one another: tasks meet in overlay networks, not here. */
  async plug(taskId: TaskId, peer: VethEnd, peerSocket: NetlinkSocket): Promise<void> {
    this.#required();
    const port = gatewayPortName(taskId);
    const mac = Buffer.from(peer.mac ?? new Uint8Array(6));
    await this.#guard.add(port, textOfIpv4(mac.subarray(2)));
    await makeVeth(
      this.#host,
      { name: port, master: this.#index, mtu: this.#mtu, up: true },
      { ...peer, mtu: this.#mtu },
      peerSocket,
      async () => {
        await removeLink(this.#host, port);
        await removeLink(peerSocket, peer.name);
      },
    );
    await securePort(this.#host, port, mac, portsApart(true));
  }

  async hasPort(taskId: TaskId): Promise<boolean> {
    return (await findLink(this.#host, gatewayPortName(taskId))) !== null;
  }

  /** Removes the bridge and every port of it that its task's namespace has not taken along yet. */
  async destroy(): Promise<void> {
    for (const { name } of await listLinks(this.#host)) {
      if (isGatewayPortName(name)) await removeLink(this.#host, name);
    }
    await removeLink(this.#host, GATEWAY_BRIDGE);
    await this.#guard.remove();
    this.#subnet = null;
    this.#isDual = false;
    this.#guard.setSubnet6('');
    this.#used.clear();
  }

  #required(): Prefix {
    if (!this.#subnet) throw new SkepError('internal', `${GATEWAY_BRIDGE} was not made yet`);
    return this.#subnet;
  }
}

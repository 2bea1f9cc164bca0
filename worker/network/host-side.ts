/**
 * What we keep in the host's namespace (the daemon's own): the gateway bridge, the seat in the
 * ingress network, the rules table, forwarding. Knows the kernel, not the cluster's tables.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { address6Of } from '../../common/base/ipv6.ts';
import type { Random } from '../../common/base/random.ts';
import { isIpv6, macOf, overlap, parsePrefix } from '../../native/ffi/net/address.ts';
import { type EndedConnections, flushConnections } from '../../native/ffi/net/conntrack.ts';
import { MessageBatch } from '../../native/ffi/net/message.ts';
import { NFPROTO_IPV6 } from '../../native/ffi/net/nft.ts';
import { addAddress, dumpAddresses, readAddresses } from '../../native/ffi/net/rtnl-address.ts';
import { dumpLinks, readLinks } from '../../native/ffi/net/rtnl-link.ts';
import { dumpForwarding, readForwarding } from '../../native/ffi/net/rtnl-neighbour.ts';
import {
  dumpRoutes,
  dumpRules,
  readLinkRules,
  readRoutes,
} from '../../native/ffi/net/rtnl-route.ts';
import {
  NETLINK_NETFILTER,
  NETLINK_ROUTE,
  NetlinkSocket,
  OWN_NAMESPACE,
  writeNetSysctls,
} from '../../native/ffi/net/sockets.ts';
import { ForwardPermits } from './forward-permits.ts';
import { GATEWAY_SUBNET6, GatewayBridge } from './gateway-bridge.ts';
import { HostRules, type PortTarget, type TaskTarget } from './host-rules.ts';
import type { Ipv4Forwarding } from './ipv4-forwarding.ts';
import { Ipv6Forwarding } from './ipv6-forwarding.ts';
import { compareFacts, type Difference, FACT, factsOf } from './kernel-facts.ts';
import {
  GATEWAY_BRIDGE,
  INGRESS_LINK,
  INGRESS_PORT,
  IPV4_FORWARDING,
  IPV6_FORWARDING,
  NFT_TABLE,
} from './kernel-names.ts';
import { findLink, ipv6Settings, listLinks, removeLink } from './legs.ts';
import { addLoopbackReturn, removeLoopbackReturn } from './loopback6.ts';
import type { OverlayNetwork } from './overlay-network.ts';
import { restoreSeats } from './seats.ts';
import { hostFacts, hostSettings, subnetOf, type WantedHost } from './wanted-facts.ts';

const SETTINGS_DIR = '/proc/sys/net';
/** Whose packets other firewalls of the host are to let through. */
const PERMITTED_LINKS = [GATEWAY_BRIDGE, INGRESS_LINK] as const;
const DEFAULT_MTU = 1500;

export interface HostSideOptions {
  readonly vtepAddress: string;
  readonly gatewayPools: readonly string[];
  /** of this node's own networks and of those of the cluster, which the gateway bridge must not have */
  readonly otherSubnets: () => readonly string[];
  readonly forwarding: Ipv4Forwarding;
  /** file that keeps what IPv6's settings were before us */
  readonly forward6File: string;
  readonly random: Random;
}

export class HostSide {
  readonly route: NetlinkSocket;
  readonly gateway: GatewayBridge;
  readonly rules: HostRules;
  /** what is published, in IPv6 */
  readonly #rules6: HostRules;
  readonly #permits: ForwardPermits;
  readonly #filter: NetlinkSocket;
  readonly #options: HostSideOptions;
  readonly #forwarding6: Ipv6Forwarding;
  /** CIDR; '' = the ingress network has no IPv6, or is not here */
  #ingressSubnet6 = '';
  #underlayMtu: number | null = null;
  #ingressRefusal: string | null = null;

  private constructor(options: HostSideOptions, route: NetlinkSocket, filter: NetlinkSocket) {
    this.#options = options;
    this.#forwarding6 = new Ipv6Forwarding(options.forward6File);
    this.route = route;
    this.#filter = filter;
    this.gateway = new GatewayBridge(route, filter, options.gatewayPools, options.otherSubnets);
    this.rules = new HostRules(filter, options.random);
    this.#rules6 = new HostRules(filter, options.random, NFPROTO_IPV6);
    this.#permits = new ForwardPermits(filter, NFT_TABLE, () => PERMITTED_LINKS);
  }

  /** Opens the sockets and takes up a gateway bridge that is there. */
  static async open(options: HostSideOptions): Promise<HostSide> {
    const route = await NetlinkSocket.open(OWN_NAMESPACE, NETLINK_ROUTE);
    let filter: NetlinkSocket | null = null;
    try {
      filter = await NetlinkSocket.open(OWN_NAMESPACE, NETLINK_NETFILTER);
      const host = new HostSide(options, route, filter);
      await host.gateway.adopt();
      if (host.gateway.subnet) host.rules.setGateway(host.gateway.subnet);
      if (host.gateway.isDual) host.#rules6.setGateway(parsePrefix(GATEWAY_SUBNET6));
      const isInUse = host.gateway.subnet || (await findLink(route, INGRESS_LINK));
      if (isInUse) await options.forwarding.use('cluster');
      return host;
    } catch (err) {
      await filter?.close();
      await route.close();
      throw err;
    }
  }

  async close(): Promise<void> {
    await this.route.close();
    await this.#filter.close();
  }

  /** MTU of the link that carries the VXLAN packets, bytes, as it was read last. */
  async underlayMtu(): Promise<number> {
    return this.#underlayMtu ?? this.readUnderlayMtu();
  }

  /** As it is now; while no link has our address, as it was. */
  async readUnderlayMtu(): Promise<number> {
    const addresses = readAddresses(await this.route.dump(dumpAddresses('both')));
    const own = addresses.find(({ address }) => address === this.#options.vtepAddress);
    const link = (await listLinks(this.route)).find(({ index }) => index === own?.index);
    // Loopback (a cluster of one) has 65536: no packet of ours should be that large.
    this.#underlayMtu = Math.min(link?.mtu ?? this.#underlayMtu ?? DEFAULT_MTU, 9000);
    return this.#underlayMtu;
  }

  /** Makes the gateway bridge and its rules unless they are there. */
  async ensureGateway(): Promise<void> {
    if (this.gateway.subnet) return;
    await this.#options.forwarding.use('cluster');
    await this.gateway.ensure(await this.underlayMtu());
    if (!this.gateway.subnet) return;
    this.rules.setGateway(this.gateway.subnet);
    await this.rules.rebuild();
    await this.#permits.restore(PERMITTED_LINKS);
  }

  /** Makes the gateway bridge a way out by IPv6, too; anew from the start when a step failed. It is there. */
  async ensureDualGateway(): Promise<void> {
    if (this.gateway.isDual) return;
    this.#rules6.setGateway(parsePrefix(GATEWAY_SUBNET6));
    await this.#rules6.rebuild();
    await this.#forwarding6.enable();
    await this.gateway.ensureDual();
  }

  /**
   * Where connections to ports of this host's tasks go; null = nowhere.
   * @param isDual the tasks have addresses of IPv6 on the gateway bridge, too
   */
  async publishTasks(
    ports: ReadonlyMap<string, TaskTarget | null>,
    isDual: boolean,
  ): Promise<void> {
    await this.rules.set(new Map(), ports);
    const six = [...ports].map(([key, target]): [string, TaskTarget | null] => [
      key,
      target && isDual ? { ...target, address: address6Of(GATEWAY_SUBNET6, target.address) } : null,
    ]);
    await this.#rules6.set(new Map(), new Map(six));
  }

  /** Rules of IPv6 are to be in the kernel. */
  get #hasRules6(): boolean {
    return this.#ingressSubnet6 !== '' || this.gateway.isDual;
  }

  /**
   * Where connections to published ports go, by addresses of IPv4.
   * @param services and @param ports as of `HostRules.set`
   * @param subnet6 of the ingress network, CIDR; '' = IPv4 only
   */
  async publish(
    services: ReadonlyMap<string, ReadonlySet<string> | null>,
    ports: ReadonlyMap<string, PortTarget | null>,
    subnet6: string,
  ): Promise<void> {
    await this.rules.set(services, ports);
    const appeared = this.#ingressSubnet6 === '' && subnet6 !== '';
    const vanished = this.#ingressSubnet6 !== '' && subnet6 === '';
    this.#ingressSubnet6 = subnet6;
    // Without IPv6 it is remembered which ports there are, not to whom they go.
    const six = [...services].map(([id, addresses]): [string, ReadonlySet<string> | null] => [
      id,
      addresses &&
        new Set(subnet6 === '' ? [] : [...addresses].map((it) => address6Of(subnet6, it))),
    ]);
    await this.#rules6.set(new Map(six), ports);
    if (appeared) await this.#rules6.rebuild();
    if (vanished && !this.#hasRules6) await this.#rules6.remove();
  }

  /** This host is none of the chosen ingress gateways, or is one (again). */
  async setMasquerades(masquerades: boolean): Promise<void> {
    if (this.rules.setMasquerades(masquerades)) await this.rules.refresh();
    if (this.#rules6.setMasquerades(masquerades)) await this.#rules6.refresh();
  }

  /** @param port to which packets of overlay networks go between hosts */
  async setTunnelPort(port: number): Promise<void> {
    const rules = isIpv6(this.#options.vtepAddress) ? this.#rules6 : this.rules;
    if (rules.setTunnelPort(port)) await rules.refresh();
  }

  get rulesAreStale(): boolean {
    return this.rules.stale || this.#rules6.stale;
  }

  async rebuildRules(): Promise<void> {
    await this.rules.rebuild();
    if (this.#hasRules6 || this.#rules6.stale) await this.#rules6.rebuild();
  }

  /** Why this host cannot be in the ingress network; null = it can, as far as is known. */
  get ingressRefusal(): string | null {
    return this.#ingressRefusal;
  }

  /** Gives this host its seat in the ingress network, unless that would cut it off: see `ingressRefusal`. */
  async ensureIngress(
    overlay: OverlayNetwork,
    seat: { readonly address: string; readonly address6: string | undefined },
  ): Promise<void> {
    const cidr = seat.address;
    await this.#options.forwarding.use('cluster');
    const { address, length } = parsePrefix(cidr);
    const link = await findLink(this.route, INGRESS_LINK);
    if (link) {
      const addresses = readAddresses(await this.route.dump(dumpAddresses()));
      const same = addresses.some(
        (own) => own.index === link.index && own.address === address && own.length === length,
      );
      if (same && (await overlay.hasPort(INGRESS_PORT))) return;
    }
    // Looked for without it: its own address is in that subnet.
    await this.#unplugIngress();
    this.#ingressRefusal = await this.#whyCutOff(cidr);
    if (this.#ingressRefusal !== null) return;
    const peer = { name: INGRESS_LINK, mac: macOf(address) };
    await overlay.plug(INGRESS_PORT, peer, this.route, null);
    await writeNetSysctls(OWN_NAMESPACE, {
      // Connections from 127.0.0.1 to a published port leave here; the rules keep others out.
      [`ipv4/conf/${INGRESS_LINK}/route_localnet`]: '1',
      ...(seat.address6 === undefined
        ? { [`ipv6/conf/${INGRESS_LINK}/disable_ipv6`]: '1' }
        : ipv6Settings(INGRESS_LINK)),
    });
    const index = (await findLink(this.route, INGRESS_LINK))?.index ?? 0;
    const batch = new MessageBatch(256);
    addAddress(batch, index, cidr);
    if (seat.address6 !== undefined) {
      addAddress(batch, index, seat.address6);
      addLoopbackReturn(batch, index);
    }
    await this.route.transact(batch);
    if (seat.address6 !== undefined) await this.#forwarding6.enable();
    await this.#permits.restore(PERMITTED_LINKS);
  }

  /**
   * In words, when an address in the subnet is one of this host, or the next on its way to others: with the seat
   * there the host could be reached by nobody. null = none is.
   */
  async #whyCutOff(seat: string): Promise<string | null> {
    const own = readAddresses(await this.route.dump(dumpAddresses())).map(({ address }) => address);
    const next = readRoutes(await this.route.dump(dumpRoutes())).flatMap(({ via }) => via ?? []);
    const subnet = parsePrefix(seat);
    const cut = [...own, ...next].find((address) => overlap(subnet, { address, length: 32 }));
    return cut === undefined
      ? null
      : `its subnet ${subnetOf(seat)} holds ${cut}, by which this host is reached or reaches others: make it anew with another subnet`;
  }

  async removeIngress(): Promise<void> {
    await this.#unplugIngress();
    this.#ingressRefusal = null;
  }

  /** The link, and the rule that goes by its name. */
  async #unplugIngress(): Promise<void> {
    await removeLink(this.route, INGRESS_LINK);
    const batch = new MessageBatch(128);
    removeLoopbackReturn(batch);
    await this.route.transact(batch);
  }

  /** Of those through this host. */
  async forgetConnections(ended: EndedConnections): Promise<void> {
    await flushConnections(this.#filter, ended);
  }

  /** How the kernel's state differs from what is wanted of it and of the rules. */
  async differences(wanted: WantedHost): Promise<Difference[]> {
    const [links, addresses, routes, forwarding, rules] = await this.route.dumpEach([
      dumpLinks(),
      dumpAddresses('both'),
      dumpRoutes('both'),
      dumpForwarding(),
      dumpRules(),
    ]);
    const found = new Map(
      factsOf({
        links: readLinks(links!),
        addresses: readAddresses(addresses!),
        routes: readRoutes(routes!),
        forwarding: readForwarding(forwarding!),
        linkRules: readLinkRules(rules!),
      }),
    );
    for (const name of hostSettings(wanted)) {
      const value = await readFile(join(SETTINGS_DIR, name), 'utf8').catch(() => null);
      if (value !== null) found.set(FACT.setting(name), value.trim());
    }
    return [
      ...compareFacts(hostFacts(wanted), found),
      ...(await this.rules.differences()),
      ...(this.#hasRules6 ? await this.#differences6() : []),
      ...(wanted.gateway ? await this.gateway.guardDifferences(wanted.gateway.ports) : []),
      ...(wanted.gateway || wanted.ingress ? await this.#permits.differences(PERMITTED_LINKS) : []),
    ];
  }

  async #differences6(): Promise<Difference[]> {
    const differences = await this.#rules6.differences();
    return differences.map((it) => ({ ...it, what: `${it.what} of IPv6` }));
  }

  /** Makes everything as it is wanted, but for ports and the ingress link when they are gone. */
  async restoreState(wanted: WantedHost): Promise<void> {
    const { gateway, ingress } = wanted;
    if (gateway) await this.gateway.restore(gateway.ports);
    const seats = [gateway?.seat ?? null, ingress].filter((seat) => seat !== null);
    const link = ingress?.address6 === undefined ? null : await findLink(this.route, INGRESS_LINK);
    if (link) await writeNetSysctls(OWN_NAMESPACE, ipv6Settings(INGRESS_LINK));
    await restoreSeats(this.route, seats);
    if (link) {
      const batch = new MessageBatch(256);
      addLoopbackReturn(batch, link.index);
      await this.route.transact(batch);
    }
    if (gateway || ingress) await this.#options.forwarding.use('cluster');
    const settings = hostSettings(wanted);
    if (settings.includes(IPV6_FORWARDING)) await this.#forwarding6.enable();
    const others = settings.filter((name) => name !== IPV4_FORWARDING && name !== IPV6_FORWARDING);
    const ones = others.map((name) => [name, '1'] as const);
    await writeNetSysctls(OWN_NAMESPACE, Object.fromEntries(ones));
    await this.rebuildRules();
    if (gateway || ingress) await this.#permits.restore(PERMITTED_LINKS);
  }

  /** Takes everything of ours out of the host's namespace. */
  async restore(): Promise<void> {
    await this.rules.remove();
    await this.#rules6.remove();
    await this.#forwarding6.restore();
    await this.removeIngress();
    await this.gateway.destroy();
    await this.#options.forwarding.leave();
    // Last: what belongs to others may refuse.
    await this.#permits.remove();
  }
}

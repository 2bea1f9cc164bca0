/**
 * One task's namespace: its links, addresses and routes, its rules table and its resolver. Knows
 * how to program them; which networks, backends and names there are is told by the manager.
 */
import { closeSync, openSync } from 'node:fs';
import { SkepError } from '../../common/base/errors.ts';
import { address6Of, interface6Of } from '../../common/base/ipv6.ts';
import type { Random } from '../../common/base/random.ts';
import { sysctlsFor } from '../../common/model/endpoint-options.ts';
import type { NetworkId, TaskId } from '../../common/model/ids.ts';
import { isIpv6, macOf, type Prefix, parsePrefix } from '../../native/ffi/net/address.ts';
import { type EndedConnections, flushConnections } from '../../native/ffi/net/conntrack.ts';
import { MessageBatch } from '../../native/ffi/net/message.ts';
import { addAddress, dumpAddresses, readAddresses } from '../../native/ffi/net/rtnl-address.ts';
import { dumpLinks, readLinks, setLink } from '../../native/ffi/net/rtnl-link.ts';
import {
  addRoute,
  deleteMarkRule,
  dumpRoutes,
  dumpRules,
  MAIN_TABLE,
  type MarkRule,
  readMarkRules,
  readRoutes,
} from '../../native/ffi/net/rtnl-route.ts';
import {
  closeFd,
  NETLINK_NETFILTER,
  NETLINK_ROUTE,
  NetlinkSocket,
  type NetnsStep,
  visitNetns,
  writeNetSysctls,
} from '../../native/ffi/net/sockets.ts';
import { ChangeWatch, TASK_WATCH } from './change-watch.ts';
import { type AnswerQuery, DnsServer, RESOLVER_SOCKETS } from './dns-server.ts';
import {
  addEntryRoute,
  ENTRY_PRIORITY,
  entryMark,
  familyOf,
  isEntryMark,
  removeEntryRoute,
} from './entry-rules.ts';
import { GATEWAY_SUBNET6, type GatewayBridge } from './gateway-bridge.ts';
import { compareFacts, type Difference, factsOf } from './kernel-facts.ts';
import { overlayPortName } from './kernel-names.ts';
import { ipv6Settings, listLinks, removeLink, withNetns } from './legs.ts';
import { writeLinkSettings } from './link-settings.ts';
import type { OverlayNetwork } from './overlay-network.ts';
import { indexOf, renewAddresses, restoreSeats } from './seats.ts';
import { linkOf, type TaskNetworkRequest } from './task-request.ts';
import { TaskTables } from './task-tables.ts';
import {
  addressesOf,
  isTaskFactOfOurs,
  LAST_METRIC,
  LOOPBACK,
  taskFacts,
  type WantedSeat,
  type WantedTask,
} from './wanted-facts.ts';

const LOOPBACK_INDEX = 1;

/** A seat in an overlay network and the link that it has inside the task. */
export interface TaskLeg {
  readonly networkId: NetworkId;
  readonly link: string;
  /** CIDR */
  readonly address: string;
  /** files below /proc/sys/net, for its link; null = as the kernel has them */
  readonly sysctls: Readonly<Record<string, string>> | null;
}

/** What a task must know of the ingress network to answer through it. */
export interface IngressSeat {
  readonly networkId: NetworkId;
  /** addresses of the nodes' seats */
  readonly nodes: readonly string[];
  readonly subnet: Prefix;
  /** CIDR; '' = IPv4 only */
  readonly subnet6: string;
  /** the task's way out is one by IPv6, too */
  readonly isDual: boolean;
}

/** By whose seats connections come in, in each family that the network has. */
export function entryNodes({ nodes, subnet6 }: IngressSeat): string[] {
  const six = subnet6 === '' ? [] : nodes.map((node) => address6Of(subnet6, node));
  return [...nodes, ...six].sort();
}

/** Legs in the order of the attachments; those whose links the node makes by itself are none. */
export function planLegs(
  request: Pick<TaskNetworkRequest, 'attachments' | 'links' | 'options'>,
): TaskLeg[] {
  return request.attachments.flatMap(({ networkId, addresses: [address] }, at) => {
    if (address === undefined) return [];
    const link = linkOf(request, at);
    const options = request.options?.[networkId];
    return [{ networkId, link, address, sysctls: options ? sysctlsFor(options, link) : null }];
  });
}

interface TaskParts {
  readonly random: Random;
  readonly answer: AnswerQuery;
  /** what the link to the gateway bridge is called in the task */
  readonly gatewayLink: string;
}

/** Kept while it is attached. */
const SOCKETS: readonly NetnsStep[] = [
  { kind: 'netlink', protocol: NETLINK_NETFILTER },
  ...TASK_WATCH,
];

/** Before a first link is made. */
const FRESH: readonly NetnsStep[] = [
  {
    kind: 'set',
    settings: {
      // Replies to a client leave by the link of its entry node, not where the route points.
      'ipv4/conf/all/rp_filter': '0',
      'ipv4/conf/default/rp_filter': '0',
      // Without an IPv6 subnet the links would only make link-local noise.
      'ipv6/conf/default/disable_ipv6': '1',
    },
  },
  { kind: 'up', link: LOOPBACK.link },
  { kind: 'netlink', protocol: NETLINK_ROUTE },
];

/** Throws `conflict` when the processes of the container have ended meanwhile. */
function openNamespace(path: string): number {
  try {
    return openSync(path, 'r');
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'ENOENT') throw cause;
    throw new SkepError('conflict', `open ${path}: the container has ended`, { cause });
  }
}

export class TaskNetwork {
  readonly taskId: TaskId;
  /** of a descriptor that is held: the namespace of a pid that ended may be another's by now */
  readonly netnsPath: string;
  readonly legs: readonly TaskLeg[];
  readonly rules: TaskTables;
  readonly watch: ChangeWatch;
  readonly #filter: NetlinkSocket;
  #namespaceFd: number;
  readonly #dns: DnsServer;
  /** what the first visit opened for the attach alone; null = it is attached */
  #fresh: { readonly route: NetlinkSocket; readonly resolver: number[] } | null = null;
  /** The name of the link that leads to the gateway bridge. */
  readonly gatewayLink: string;
  /** without prefix length; null = no way out */
  #gatewayAddress: string | null = null;
  #entryNodes: readonly string[] = [];

  private constructor(
    taskId: TaskId,
    legs: readonly TaskLeg[],
    namespace: { readonly fd: number; readonly filter: NetlinkSocket; readonly watch: ChangeWatch },
    parts: TaskParts,
  ) {
    const { fd, filter, watch } = namespace;
    this.watch = watch;
    this.taskId = taskId;
    this.#namespaceFd = fd;
    this.netnsPath = pathOf(fd);
    this.legs = legs;
    this.gatewayLink = parts.gatewayLink;
    this.#filter = filter;
    this.rules = new TaskTables(filter, parts.random);
    this.#dns = new DnsServer(parts.answer);
  }

  /**
   * Enters the namespace of a task that was attached before.
   * @param fresh it was not: loopback is made ready, and settings that links take over when they are made
   */
  static async open(
    taskId: TaskId,
    netnsPath: string,
    legs: readonly TaskLeg[],
    parts: TaskParts,
    fresh: { readonly hasResolver: boolean } | null = null,
  ): Promise<TaskNetwork> {
    const fd = openNamespace(netnsPath);
    try {
      // All of what is to be done inside: each visit is a thread.
      const steps = fresh ? [...SOCKETS, ...FRESH] : SOCKETS;
      const resolverSteps = fresh?.hasResolver ? RESOLVER_SOCKETS : [];
      const fds = await visitNetns(pathOf(fd), [...steps, ...resolverSteps]);
      const [filter, links, tables, route, ...resolver] = fds;
      const network = new TaskNetwork(
        taskId,
        legs,
        { fd, filter: NetlinkSocket.of(filter!), watch: new ChangeWatch([links!, tables!]) },
        parts,
      );
      if (route !== undefined) network.#fresh = { route: NetlinkSocket.of(route), resolver };
      return network;
    } catch (err) {
      closeSync(fd);
      throw err;
    }
  }

  get gatewayAddress(): string | null {
    return this.#gatewayAddress;
  }

  /**
   * Makes the links of `overlays`' legs and, when `gateway` is given, the way out.
   * @param isDual by IPv6, too
   */
  async plug(
    overlays: ReadonlyMap<NetworkId, OverlayNetwork>,
    gateway: GatewayBridge | null,
    isDual = false,
  ): Promise<void> {
    await this.#withRoute((route) =>
      withNetns(this.netnsPath, async (netnsFd) => {
        for (const leg of this.legs) {
          const overlay = overlays.get(leg.networkId);
          if (!overlay) continue;
          const mac = macOf(parsePrefix(leg.address).address);
          const peer = { name: leg.link, mac, netnsFd };
          const seat = parsePrefix(leg.address).address;
          await overlay.plug(overlayPortName(this.taskId), peer, route, seat);
          if (overlay.subnet6 !== '') await writeNetSysctls(this.netnsPath, ipv6Settings(leg.link));
          if (leg.sysctls) await writeLinkSettings(this.netnsPath, leg.sysctls);
        }
        if (gateway) {
          const address = this.#gatewayAddress ?? gateway.reserve();
          this.#gatewayAddress = address;
          const peer = { name: this.gatewayLink, mac: macOf(address), netnsFd };
          await gateway.plug(this.taskId, peer, route);
          if (isDual) await writeNetSysctls(this.netnsPath, ipv6Settings(this.gatewayLink));
        }
        await this.#address(route, gateway, overlays, isDual);
      }),
    );
  }

  async #address(
    route: NetlinkSocket,
    gateway: GatewayBridge | null,
    overlays: ReadonlyMap<NetworkId, OverlayNetwork>,
    isDual: boolean,
  ): Promise<void> {
    const links = await listLinks(route);
    const batch = new MessageBatch(1024);
    for (const leg of this.legs) {
      const index = indexOf(links, leg.link);
      if (index === 0) continue;
      addAddress(batch, index, leg.address);
      const subnet6 = overlays.get(leg.networkId)?.subnet6 ?? '';
      if (subnet6 !== '') addAddress(batch, index, interface6Of(subnet6, leg.address));
    }
    const index = indexOf(links, this.gatewayLink);
    if (gateway?.subnet && this.#gatewayAddress !== null && index > 0) {
      const cidr = `${this.#gatewayAddress}/${gateway.subnet.length}`;
      addAddress(batch, index, cidr);
      addRoute(batch, { to: '0.0.0.0/0', via: gateway.gateway, index });
      if (isDual) {
        addAddress(batch, index, interface6Of(GATEWAY_SUBNET6, cidr));
        addRoute(batch, { to: '::/0', via: gateway.gateway6, index });
      }
    }
    await route.transact(batch);
  }

  /**
   * Finds out what an earlier life of the daemon plugged in; returns the legs that are not whole.
   * `gatewayAddress` is null afterwards when there is no way out.
   */
  async readBack(
    overlays: ReadonlyMap<NetworkId, OverlayNetwork>,
    gateway: GatewayBridge,
  ): Promise<NetworkId[]> {
    return this.#withRoute(async (route) => {
      const links = await listLinks(route);
      const missing: NetworkId[] = [];
      for (const leg of this.legs) {
        const overlay = overlays.get(leg.networkId);
        const whole =
          indexOf(links, leg.link) > 0 &&
          overlay !== undefined &&
          (await overlay.hasPort(overlayPortName(this.taskId)));
        if (!whole) missing.push(leg.networkId);
      }
      const index = indexOf(links, this.gatewayLink);
      const addresses = readAddresses(await route.dump(dumpAddresses()));
      const address = addresses.find((own) => own.index === index)?.address ?? null;
      const whole = address !== null && (await gateway.hasPort(this.taskId));
      this.#gatewayAddress = whole ? address : null;
      return missing;
    });
  }

  /** Removes a link of ours so that it can be plugged in anew. */
  async unplug(networkId: NetworkId): Promise<void> {
    const leg = this.legs.find((it) => it.networkId === networkId);
    if (leg) await this.#withRoute((route) => removeLink(route, leg.link));
  }

  /** Replies to clients from outside find their entry node. Call `rules.rebuild` afterwards. */
  async setIngress(seat: IngressSeat): Promise<void> {
    const leg = this.legs.find(({ networkId }) => networkId === seat.networkId);
    if (!leg) return;
    const own = parsePrefix(leg.address).address;
    const wanted = entryNodes(seat);
    const own6 = seat.subnet6 === '' ? null : address6Of(seat.subnet6, own);
    let wayOut = this.#gatewayAddress;
    await this.#withRoute(async (route) => {
      wayOut = this.#gatewayAddress ?? (await addressOfOtherWayOut(route));
      const index = indexOf(await listLinks(route), leg.link);
      if (index === 0) return;
      const batch = new MessageBatch(2048);
      if (this.#gatewayAddress === null) addDeadEnd(batch, own);
      if (own6 !== null) addDeadEnd6(batch, index, own6);
      for (const node of this.#entryNodes) {
        if (!wanted.includes(node)) removeEntryRoute(batch, node, index);
      }
      for (const node of wanted) addEntryRoute(batch, node, index);
      await route.transact(batch);
    });
    this.#entryNodes = wanted;
    const { link } = leg;
    const localAddress = wayOut ?? own;
    const [nodes, nodes6] = [wanted.filter((it) => !isIpv6(it)), wanted.filter(isIpv6)];
    this.rules.setEntry(
      { link, nodes, localAddress, subnet: seat.subnet },
      own6 === null ? null : { link, nodes: nodes6, ...this.#datagrams6(seat, own6) },
    );
  }

  /** With a way out by IPv6 sockets reply from the address that they have there. */
  #datagrams6({ subnet6, isDual }: IngressSeat, own6: string) {
    const outer = isDual ? this.#gatewayAddress : null;
    return outer === null
      ? { localAddress: own6, subnet: null }
      : { localAddress: address6Of(GATEWAY_SUBNET6, outer), subnet: parsePrefix(subnet6) };
  }

  /** Starts answering at 127.0.0.11. */
  async openResolver(): Promise<void> {
    const resolver = this.#fresh?.resolver.splice(0) ?? [];
    if (resolver.length === 0) await this.#dns.open(this.netnsPath);
    else await this.#dns.listen(this.netnsPath, resolver);
  }

  /** It is attached: what was opened for that alone is let go. Idempotent. */
  async settle(): Promise<void> {
    const fresh = this.#fresh;
    this.#fresh = null;
    for (const fd of fresh?.resolver ?? []) closeFd(fd);
    await fresh?.route.close();
  }

  /** As if its resolver had been closed by somebody. */
  async reopenResolver(): Promise<void> {
    await this.#dns.close();
    await this.openResolver();
  }

  /** How the kernel's state differs from what is wanted of it and of the rules. */
  async differences(wanted: WantedTask): Promise<Difference[]> {
    const [links, addresses, routes, rules] = await this.#withRoute((route) =>
      route.dumpEach([dumpLinks(), dumpAddresses('both'), dumpRoutes('both'), dumpRules()]),
    );
    const found = factsOf({
      links: readLinks(links!),
      addresses: readAddresses(addresses!),
      routes: readRoutes(routes!),
      markRules: readMarkRules(rules!),
    });
    const differences = compareFacts(taskFacts(wanted), found, isTaskFactOfOurs);
    return [...differences, ...(await this.rules.differences())];
  }

  /** Makes everything as it is wanted, but for links that are gone: plug them in first. */
  async restore({ legs, wayOut }: WantedTask, seat: IngressSeat | null): Promise<void> {
    await this.#withRoute(async (route) => {
      const loopback = new MessageBatch(64);
      setLink(loopback, { index: LOOPBACK_INDEX }, { up: true });
      await route.transact(loopback);
      const seats = wayOut ? [...legs, wayOut] : legs;
      await this.#restoreIpv6(route, seats);
      await renewAddresses(route, [LOOPBACK, ...addressesOf(seats)]);
      await restoreSeats(route, seats);
      const index = wayOut ? indexOf(await listLinks(route), wayOut.link) : 0;
      const batch = new MessageBatch(128);
      if (wayOut && index > 0) {
        addRoute(batch, { to: '0.0.0.0/0', via: wayOut.via, index });
        if (wayOut.via6) addRoute(batch, { to: '::/0', via: wayOut.via6, index });
      }
      for (const rule of readMarkRules(await route.dump(dumpRules()))) {
        if (isStrangeEntry(rule, seat)) deleteMarkRule(batch, rule);
      }
      await route.transact(batch);
    });
    if (seat) await this.setIngress(seat);
    await this.rules.rebuild();
  }

  /** Where the task, or who is in it, switched IPv6 off, or the link was made before its network had it. */
  async #restoreIpv6(route: NetlinkSocket, seats: readonly WantedSeat[]): Promise<void> {
    const links = await listLinks(route);
    for (const { link, address6 } of seats) {
      if (address6 === undefined || indexOf(links, link) === 0) continue;
      await writeNetSysctls(this.netnsPath, ipv6Settings(link));
    }
  }

  async forgetConnections(ended: EndedConnections): Promise<void> {
    await flushConnections(this.#filter, ended);
  }

  /** Lets go of the namespace; what is programmed in it stays. Idempotent. */
  async close(): Promise<void> {
    this.watch.close();
    await this.settle();
    await this.#dns.close();
    await this.#filter.close();
    if (this.#namespaceFd >= 0) closeSync(this.#namespaceFd);
    this.#namespaceFd = -1;
  }

  /** An rtnetlink socket is needed at attach and repair only: none is kept. */
  async #withRoute<T>(work: (route: NetlinkSocket) => Promise<T>): Promise<T> {
    if (this.#fresh) return work(this.#fresh.route);
    const route = await NetlinkSocket.open(this.netnsPath, NETLINK_ROUTE);
    try {
      return await work(route);
    } finally {
      await route.close();
    }
  }
}

/**
 * A task without a way out still answers clients of its published ports: the kernel looks for a
 * route before our mark sends the reply to its entry node. Anything else ends on loopback.
 */
function addDeadEnd(batch: MessageBatch, source: string): void {
  addRoute(batch, { to: '0.0.0.0/0', index: LOOPBACK_INDEX, source, metric: LAST_METRIC });
}

/**
 * The same for IPv6, where a route by loopback would refuse instead: on the link itself, where nobody
 * answers for addresses outside.
 */
function addDeadEnd6(batch: MessageBatch, index: number, source: string): void {
  addRoute(batch, { to: '::/0', index, source, metric: LAST_METRIC });
}

const pathOf = (fd: number): string => `/proc/self/fd/${fd}`;

function isStrangeEntry({ family, priority, mark }: MarkRule, seat: IngressSeat | null): boolean {
  const nodes = seat ? entryNodes(seat) : [];
  const ours = priority === ENTRY_PRIORITY && isEntryMark(mark);
  return ours && !nodes.some((node) => entryMark(node) === mark && familyOf(node) === family);
}

/** By which sockets speak that leave by a link of macvlan, say; null = there is no such way. */
async function addressOfOtherWayOut(route: NetlinkSocket): Promise<string | null> {
  const routes = readRoutes(await route.dump(dumpRoutes()));
  const leading = routes.find(
    ({ table, length, via }) => table === MAIN_TABLE && length === 0 && via !== null,
  );
  if (!leading) return null;
  const addresses = readAddresses(await route.dump(dumpAddresses()));
  return addresses.find(({ index }) => index === leading.index)?.address ?? null;
}

/**
 * One task's namespace: its links, addresses and routes, its rules table and its resolver. Knows
 * how to program them; which networks, backends and names there are is told by the manager.
 */
import { SkepError } from '../../common/base/errors.ts';
import type { Random } from '../../common/base/random.ts';
import type { NetworkId, TaskId } from '../../common/model/ids.ts';
import type { NetworkAttachment } from '../../common/model/task.ts';
import { macOf, type Prefix, parsePrefix } from '../../native/ffi/net/address.ts';
import { flushConnections } from '../../native/ffi/net/conntrack.ts';
import { MessageBatch } from '../../native/ffi/net/message.ts';
import {
  addAddress,
  addRoute,
  dumpAddresses,
  type LinkInfo,
  readAddresses,
  setLink,
} from '../../native/ffi/net/rtnl.ts';
import {
  NETLINK_NETFILTER,
  NETLINK_ROUTE,
  NetlinkSocket,
  writeNetSysctls,
} from '../../native/ffi/net/sockets.ts';
import { type AnswerQuery, DnsServer } from './dns-server.ts';
import { addEntryRoute, removeEntryRoute } from './entry-rules.ts';
import type { GatewayBridge } from './gateway-bridge.ts';
import { overlayPortName } from './kernel-names.ts';
import { listLinks, removeLink, withNetns } from './legs.ts';
import type { OverlayNetwork } from './overlay-network.ts';
import { TaskRules } from './task-rules.ts';

const LOOPBACK_INDEX = 1;
/** Worse than any route a user adds. */
const LAST_METRIC = 0x7fffffff;

/** A seat in an overlay network and the link that it has inside the task. */
export interface TaskLeg {
  readonly networkId: NetworkId;
  readonly link: string;
  /** CIDR */
  readonly address: string;
}

/** What a task must know of the ingress network to answer through it. */
export interface IngressSeat {
  readonly networkId: NetworkId;
  /** addresses of the nodes' seats */
  readonly nodes: readonly string[];
  readonly subnet: Prefix;
}

/** Legs in the order of the attachments: eth0, eth1, ... */
export function planLegs(attachments: readonly NetworkAttachment[]): TaskLeg[] {
  return attachments.map(({ networkId, addresses }, i) => {
    const address = addresses[0];
    if (address === undefined) {
      throw new SkepError(
        'invalid-argument',
        `attach task to network ${networkId}: it has no address there`,
      );
    }
    return { networkId, link: `eth${i}`, address };
  });
}

export class TaskNetwork {
  readonly taskId: TaskId;
  readonly netnsPath: string;
  readonly legs: readonly TaskLeg[];
  readonly rules: TaskRules;
  readonly #filter: NetlinkSocket;
  readonly #dns: DnsServer;
  /** without prefix length; null = no way out */
  #gatewayAddress: string | null = null;
  #entryNodes: readonly string[] = [];

  private constructor(
    taskId: TaskId,
    netnsPath: string,
    legs: readonly TaskLeg[],
    filter: NetlinkSocket,
    parts: { readonly random: Random; readonly answer: AnswerQuery },
  ) {
    this.taskId = taskId;
    this.netnsPath = netnsPath;
    this.legs = legs;
    this.#filter = filter;
    this.rules = new TaskRules(filter, parts.random);
    this.#dns = new DnsServer(parts.answer);
  }

  /** Enters the namespace; nothing is programmed yet. */
  static async open(
    taskId: TaskId,
    netnsPath: string,
    legs: readonly TaskLeg[],
    parts: { readonly random: Random; readonly answer: AnswerQuery },
  ): Promise<TaskNetwork> {
    const filter = await NetlinkSocket.open(netnsPath, NETLINK_NETFILTER);
    return new TaskNetwork(taskId, netnsPath, legs, filter, parts);
  }

  get gatewayAddress(): string | null {
    return this.#gatewayAddress;
  }

  /** The name of the link that leads to the gateway bridge: after those of the legs. */
  get #gatewayLink(): string {
    return `eth${this.legs.length}`;
  }

  /** Settings that links take over when they are made, then loopback up. */
  async prepare(): Promise<void> {
    await writeNetSysctls(this.netnsPath, {
      // Replies to a client leave by the link of its entry node, not where the route points.
      'ipv4/conf/all/rp_filter': '0',
      'ipv4/conf/default/rp_filter': '0',
      // Without an IPv6 subnet the links would only make link-local noise.
      'ipv6/conf/default/disable_ipv6': '1',
    });
    await this.#withRoute(async (route) => {
      const batch = new MessageBatch(64);
      setLink(batch, { index: LOOPBACK_INDEX }, { up: true });
      await route.transact(batch);
    });
  }

  /** Makes the links of `overlays`' legs and, when `gateway` is given, the way out. */
  async plug(
    overlays: ReadonlyMap<NetworkId, OverlayNetwork>,
    gateway: GatewayBridge | null,
  ): Promise<void> {
    await this.#withRoute((route) =>
      withNetns(this.netnsPath, async (netnsFd) => {
        for (const leg of this.legs) {
          const overlay = overlays.get(leg.networkId);
          if (!overlay) continue;
          const mac = macOf(parsePrefix(leg.address).address);
          const peer = { name: leg.link, mac, netnsFd };
          await overlay.plug(overlayPortName(this.taskId), peer, route);
        }
        if (gateway) {
          const address = this.#gatewayAddress ?? gateway.reserve();
          this.#gatewayAddress = address;
          const peer = { name: this.#gatewayLink, mac: macOf(address), netnsFd };
          await gateway.plug(this.taskId, peer, route);
        }
        await this.#address(route, gateway);
      }),
    );
  }

  async #address(route: NetlinkSocket, gateway: GatewayBridge | null): Promise<void> {
    const links = await listLinks(route);
    const batch = new MessageBatch(1024);
    for (const leg of this.legs) {
      const index = indexOf(links, leg.link);
      if (index > 0) addAddress(batch, index, leg.address);
    }
    const index = indexOf(links, this.#gatewayLink);
    if (gateway?.subnet && this.#gatewayAddress !== null && index > 0) {
      addAddress(batch, index, `${this.#gatewayAddress}/${gateway.subnet.length}`);
      addRoute(batch, { to: '0.0.0.0/0', via: gateway.gateway, index });
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
      const index = indexOf(links, this.#gatewayLink);
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
    const wanted = [...seat.nodes].sort();
    await this.#withRoute(async (route) => {
      const index = indexOf(await listLinks(route), leg.link);
      if (index === 0) return;
      const batch = new MessageBatch(2048);
      if (this.#gatewayAddress === null) addDeadEnd(batch, own);
      for (const node of this.#entryNodes) {
        if (!wanted.includes(node)) removeEntryRoute(batch, node, index);
      }
      for (const node of wanted) addEntryRoute(batch, node, index);
      await route.transact(batch);
    });
    this.#entryNodes = wanted;
    this.rules.setEntry({
      link: leg.link,
      nodes: wanted,
      localAddress: this.#gatewayAddress ?? own,
      subnet: seat.subnet,
    });
  }

  /** Starts answering at 127.0.0.11. */
  openResolver(): Promise<void> {
    return this.#dns.open(this.netnsPath);
  }

  async forgetConnections(addresses: ReadonlySet<string>): Promise<void> {
    await flushConnections(this.#filter, addresses);
  }

  /** Lets go of the namespace; what is programmed in it stays. Idempotent. */
  async close(): Promise<void> {
    await this.#dns.close();
    await this.#filter.close();
  }

  /** An rtnetlink socket is needed at attach and repair only: none is kept. */
  async #withRoute<T>(work: (route: NetlinkSocket) => Promise<T>): Promise<T> {
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

function indexOf(links: readonly LinkInfo[], name: string): number {
  return links.find((link) => link.name === name)?.index ?? 0;
}

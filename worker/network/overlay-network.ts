/**
 * One overlay network on this host: a pinned namespace with a bridge and a VXLAN device, and the
 * table of remote seats in it. Knows nothing of tasks' rules, names or published ports.
 */
import type { Clock } from '../../common/base/clock.ts';
import { address6Of } from '../../common/base/ipv6.ts';
import type { AssignedNetwork } from '../../common/model/assignment.ts';
import type { NetworkId } from '../../common/model/ids.ts';
import { macOf, textOfIpv4 } from '../../native/ffi/net/address.ts';
import { MessageBatch } from '../../native/ffi/net/message.ts';
import {
  addBridge,
  addVxlan,
  dumpLinks,
  readLinks,
  setBridgePort,
  setLink,
  type VxlanOptions,
} from '../../native/ffi/net/rtnl-link.ts';
import {
  addNeighbour,
  addRemoteMac,
  deleteNeighbour,
  deleteRemoteMac,
  dumpForwarding,
  dumpNeighbours,
  readForwarding,
  readNeighbours,
} from '../../native/ffi/net/rtnl-neighbour.ts';
import {
  createNetns,
  NETLINK_NETFILTER,
  NETLINK_ROUTE,
  NetlinkError,
  NetlinkSocket,
  removeNetns,
  writeNetSysctls,
} from '../../native/ffi/net/sockets.ts';
import { bridgedPacketsMeetNoRules } from './bridged-packets.ts';
import { ChangeWatch, OVERLAY_WATCH } from './change-watch.ts';
import type { EncryptedUnderlay } from './encrypted-underlay.ts';
import { compareFacts, type Difference, type Facts, factsOf } from './kernel-facts.ts';
import { DEFAULT_VXLAN_PORT, INGRESS_PORT, OVERLAY_BRIDGE, OVERLAY_VXLAN } from './kernel-names.ts';
import {
  findLink,
  ifNamespace,
  listLinks,
  makeVeth,
  removeLink,
  securePort,
  type VethEnd,
  withNetns,
} from './legs.ts';
import { PortGuard, seatsOf } from './port-guard.ts';
import { indexOf, restorePorts } from './seats.ts';
import { isOverlayFactOfOurs, overlayFacts, type WantedOverlay } from './wanted-facts.ts';

/** A device of the same VNI in a namespace that is just ending goes within a second or so. */
const DYING_DEVICE_WAIT_MS = 5_000;
const DYING_DEVICE_POLL_MS = 50;
/** Some 92 bytes each; each send is a turn on another thread, which a busy machine lets wait. */
const SEATS_PER_SEND = 1_000;

/** The device answers for neighbours in IPv6 too, and has no address itself. */
const NEIGHBOURS_ONLY = {
  [`ipv6/conf/${OVERLAY_VXLAN}/accept_ra`]: '0',
  [`ipv6/conf/${OVERLAY_VXLAN}/addr_gen_mode`]: '1',
  [`ipv6/conf/${OVERLAY_VXLAN}/disable_ipv6`]: '0',
};

export interface OverlayParts {
  readonly id: NetworkId;
  readonly pin: string;
  /** rtnetlink socket in the host's namespace */
  readonly host: NetlinkSocket;
  readonly clock: Clock;
  /** outer source address */
  readonly vtepAddress: string;
  readonly encrypted: EncryptedUnderlay;
}

/** INVARIANT: `#remote` is what the VXLAN device's tables hold: seat address -> host. */
export class OverlayNetwork {
  readonly id: NetworkId;
  readonly #parts: OverlayParts;
  readonly #route: NetlinkSocket;
  readonly watch: ChangeWatch;
  readonly #filter: NetlinkSocket;
  readonly #guard: PortGuard;
  readonly #remote = new Map<string, string>();
  #bridgeIndex = 0;
  #vxlanIndex = 0;
  #mtu = 0;
  #subnet6 = '';

  private constructor(
    parts: OverlayParts,
    sockets: { readonly route: NetlinkSocket; readonly filter: NetlinkSocket },
    watch: ChangeWatch,
  ) {
    this.id = parts.id;
    this.#parts = parts;
    this.#route = sockets.route;
    this.#filter = sockets.filter;
    this.#guard = new PortGuard(sockets.filter);
    this.watch = watch;
  }

  static async #open(parts: OverlayParts): Promise<OverlayNetwork> {
    const route = await NetlinkSocket.open(parts.pin, NETLINK_ROUTE);
    let filter: NetlinkSocket | null = null;
    try {
      filter = await NetlinkSocket.open(parts.pin, NETLINK_NETFILTER);
      const watch = await ChangeWatch.open(parts.pin, OVERLAY_WATCH);
      return new OverlayNetwork(parts, { route, filter }, watch);
    } catch (err) {
      await filter?.close();
      await route.close();
      throw err;
    }
  }

  /** CIDR in which each seat has an address too; '' = IPv4 only */
  get subnet6(): string {
    return this.#subnet6;
  }

  /** bytes inside the network */
  get mtu(): number {
    return this.#mtu;
  }

  static async create(
    parts: OverlayParts,
    network: AssignedNetwork,
    mtu: number,
  ): Promise<OverlayNetwork> {
    await createNetns(parts.pin);
    try {
      // No address of any kind lives here: nothing but frames between tasks, of IPv6 too.
      await writeNetSysctls(parts.pin, {
        'ipv6/conf/all/disable_ipv6': '1',
        'ipv6/conf/default/disable_ipv6': '1',
        ...bridgedPacketsMeetNoRules(),
      });
      const overlay = await OverlayNetwork.#open(parts);
      try {
        await overlay.#build(network, mtu);
        return overlay;
      } catch (err) {
        await overlay.close();
        throw err;
      }
    } catch (err) {
      await removeNetns(parts.pin);
      throw err;
    }
  }

  /** What an earlier life of the daemon left; null when it is not whole (its pin is removed). */
  static async adopt(parts: OverlayParts): Promise<OverlayNetwork | null> {
    const overlay = await ifNamespace(OverlayNetwork.#open(parts));
    try {
      if (overlay && (await overlay.#readBack())) {
        await writeNetSysctls(parts.pin, bridgedPacketsMeetNoRules());
        return overlay;
      }
      if (overlay) await removeLink(overlay.#route, OVERLAY_VXLAN);
    } catch (err) {
      await overlay?.close();
      throw err;
    }
    await overlay?.close();
    await removeNetns(parts.pin);
    return null;
  }

  /**
   * The device is replaced when the network's parameters are others by now, and links get the MTU. True when
   * that was another: the links' ends elsewhere have the old one still.
   */
  async conform(network: AssignedNetwork, mtu: number): Promise<boolean> {
    const resized = this.#mtu !== mtu;
    this.#mtu = mtu;
    this.#keep(network);
    await this.#conformVxlan(network);
    if (resized) await this.#resize();
    return resized;
  }

  #keep({ subnet6, ingress }: AssignedNetwork): void {
    this.#subnet6 = subnet6;
    this.#guard.setSubnet6(subnet6);
    this.#guard.setFree(ingress ? [OVERLAY_VXLAN, INGRESS_PORT] : [OVERLAY_VXLAN]);
  }

  async #resize(): Promise<void> {
    await this.#settle();
    const batch = new MessageBatch(1024);
    for (const link of await listLinks(this.#route)) {
      if (link.master === this.#bridgeIndex) setLink(batch, link, { mtu: this.#mtu });
    }
    await this.#route.transact(batch);
  }

  async #conformVxlan(network: AssignedNetwork): Promise<void> {
    const vxlan = (await findLink(this.#route, OVERLAY_VXLAN))?.vxlan;
    const wanted = this.vxlanOptions(network);
    const same =
      vxlan?.vni === wanted.vni && vxlan.local === wanted.local && vxlan.port === wanted.port;
    if (same) return;
    await removeLink(this.#route, OVERLAY_VXLAN);
    this.#remote.clear();
    await this.#addVxlan(network);
  }

  /** @param changes seat -> host that holds it; null = nobody, or this host */
  async setSeats(changes: ReadonlyMap<string, string | null>): Promise<void> {
    const steps = [...changes].filter(
      ([address, host]) => (this.#remote.get(address) ?? null) !== host,
    );
    for (let at = 0; at < steps.length; at += SEATS_PER_SEND) {
      const batch = new MessageBatch(16_384);
      const chunk = steps.slice(at, at + SEATS_PER_SEND);
      for (const [address, host] of chunk) this.#seatMessages(batch, address, host);
      await this.#route.transact(batch);
      for (const [address, host] of chunk) {
        if (host === null) this.#remote.delete(address);
        else this.#remote.set(address, host);
      }
    }
  }

  /** Seats that the kernel knows as remote. */
  get remoteSeats(): IterableIterator<string> {
    return this.#remote.keys();
  }

  /**
   * Plugs a link into the network: `port` is its end here, `peer` the other one. With `seat` nothing passes
   * that does not come from this address.
   * @param peerSocket rtnetlink socket of the peer's namespace, to clear a remnant there
   */
  async plug(
    port: string,
    peer: VethEnd,
    peerSocket: NetlinkSocket,
    seat: string | null,
  ): Promise<void> {
    if (seat !== null) await this.#guard.add(port, seat);
    await withNetns(this.#parts.pin, (netnsFd) =>
      makeVeth(
        this.#parts.host,
        { name: port, netnsFd, master: this.#bridgeIndex, mtu: this.#mtu, up: true },
        { ...peer, mtu: this.#mtu },
        peerSocket,
        async () => {
          await removeLink(this.#route, port);
          await removeLink(peerSocket, peer.name);
        },
      ),
    );
    await securePort(this.#route, port, peer.mac ?? new Uint8Array(6));
  }

  /** Its task is gone, and with it the link. */
  async forgetPort(port: string): Promise<void> {
    await this.#guard.forget(port);
  }

  async hasPort(port: string): Promise<boolean> {
    return (await findLink(this.#route, port)) !== null;
  }

  /** Names of everything plugged in. */
  async ports(): Promise<string[]> {
    const links = await listLinks(this.#route);
    return links
      .filter(({ master, name }) => master === this.#bridgeIndex && name !== OVERLAY_VXLAN)
      .map(({ name }) => name);
  }

  /** How the kernel's state differs from what is wanted of it. */
  async differences(wanted: WantedOverlay): Promise<Difference[]> {
    const differences = compareFacts(
      overlayFacts(wanted),
      await this.#facts(),
      isOverlayFactOfOurs,
    );
    // The host's own seat sends what its clients sent.
    this.#guard.expect(seatsOf([...wanted.ports].filter(([link]) => link !== INGRESS_PORT)));
    return [...differences, ...(await this.#guard.differences())];
  }

  /** Makes everything as it is wanted, but for ports that are gone: who plugs them in does it again. */
  async restore(network: AssignedNetwork, wanted: WantedOverlay): Promise<void> {
    const links = await listLinks(this.#route);
    if (indexOf(links, OVERLAY_BRIDGE) === 0) await this.#addBridge();
    if (indexOf(links, OVERLAY_VXLAN) === 0) await this.#addVxlan(network);
    else await this.#conformVxlan(network);
    await this.#settle();
    await this.#guard.rebuild();
    await restorePorts(this.#route, this.#bridgeIndex, seatsOf(wanted.ports), { mtu: this.#mtu });
    await this.#removeStrangers(wanted);
    this.#remote.clear();
    await this.setSeats(wanted.remote);
  }

  /** What is beyond the VXLAN device by somebody else's word. */
  async #removeStrangers({ remote }: WantedOverlay): Promise<void> {
    const batch = new MessageBatch(1024);
    const macs = new Set([...remote.keys()].map((address) => macOf(address).toString('hex')));
    for (const { index, mac, host } of readForwarding(await this.#route.dump(dumpForwarding()))) {
      const strange = index === this.#vxlanIndex && host !== null && !macs.has(mac.toString('hex'));
      if (strange) deleteRemoteMac(batch, index, mac);
    }
    const known = new Set([...remote.keys()].flatMap((address) => this.#addressesOf(address)));
    for (const { index, address } of readNeighbours(await this.#route.dump(dumpNeighbours()))) {
      const strange = index === this.#vxlanIndex && !known.has(address);
      if (strange) deleteNeighbour(batch, index, address);
    }
    await this.#route.transact(batch);
  }

  async #facts(): Promise<Facts> {
    const requests = [dumpLinks(), dumpForwarding(), dumpNeighbours()];
    const [links, forwarding, neighbours] = await this.#route.dumpEach(requests);
    return factsOf({
      links: readLinks(links!),
      forwarding: readForwarding(forwarding!),
      neighbours: readNeighbours(neighbours!),
    });
  }

  /** Closes our sockets; the network goes on. */
  async close(): Promise<void> {
    this.watch.close();
    await this.#filter.close();
    await this.#route.close();
  }

  /** The device is deleted by name: its namespace ends later, and its VNI must be free at once. */
  async destroy(): Promise<void> {
    try {
      await removeLink(this.#route, OVERLAY_VXLAN);
    } finally {
      await this.close();
    }
    await removeNetns(this.#parts.pin);
  }

  /** What the network's device on this host must be like. */
  vxlanOptions(network: AssignedNetwork): VxlanOptions {
    return {
      vni: network.vxlanId,
      local: this.#parts.vtepAddress,
      port: network.dataPathPort || DEFAULT_VXLAN_PORT,
    };
  }

  async #build(network: AssignedNetwork, mtu: number): Promise<void> {
    this.#mtu = mtu;
    this.#keep(network);
    await this.#addBridge();
    await this.#addVxlan(network);
    await this.#guard.rebuild();
  }

  async #addBridge(): Promise<void> {
    const batch = new MessageBatch(512);
    addBridge(batch, { name: OVERLAY_BRIDGE, mtu: this.#mtu, up: true });
    await this.#route.transact(batch);
    this.#bridgeIndex = (await findLink(this.#route, OVERLAY_BRIDGE))?.index ?? 0;
  }

  /** Made from the namespace where its UDP socket must be: the host's, or that with no way but an encrypted one. */
  async #addVxlan(network: AssignedNetwork): Promise<void> {
    await withNetns(this.#parts.pin, (netnsFd) => this.#createVxlan(network, netnsFd));
    this.#vxlanIndex = (await findLink(this.#route, OVERLAY_VXLAN))?.index ?? 0;
    await this.#settle();
  }

  /** Bridge and device up, joined, with the network's MTU. */
  async #settle(): Promise<void> {
    if (this.#subnet6 !== '') await writeNetSysctls(this.#parts.pin, NEIGHBOURS_ONLY);
    const batch = new MessageBatch(512);
    const mtu = this.#mtu;
    const index = this.#vxlanIndex;
    setLink(batch, { index: this.#bridgeIndex }, { up: true, mtu });
    setLink(batch, { index }, { master: this.#bridgeIndex, up: true, mtu });
    setBridgePort(batch, index, { learning: false, unicastFlood: true, isolated: false });
    await this.#route.transact(batch);
  }

  async #createVxlan(network: AssignedNetwork, netnsFd: number): Promise<void> {
    const { clock, host, encrypted } = this.#parts;
    const outside = network.encrypted ? encrypted.route : host;
    const deadlineMs = clock.monotonicMs() + DYING_DEVICE_WAIT_MS;
    const options = { name: OVERLAY_VXLAN, mtu: this.#mtu, netnsFd };
    for (;;) {
      const batch = new MessageBatch(512);
      addVxlan(batch, options, this.vxlanOptions(network));
      try {
        await outside.transact(batch);
        return;
      } catch (err) {
        const taken = err instanceof NetlinkError && err.errno === 'EEXIST';
        if (!taken || clock.monotonicMs() >= deadlineMs) throw err;
      }
      await clock.sleep(DYING_DEVICE_POLL_MS);
    }
  }

  async #readBack(): Promise<boolean> {
    const links = await listLinks(this.#route);
    const bridge = links.find(({ name }) => name === OVERLAY_BRIDGE);
    const vxlan = links.find(({ name }) => name === OVERLAY_VXLAN);
    if (!bridge || !vxlan) return false;
    this.#bridgeIndex = bridge.index;
    this.#vxlanIndex = vxlan.index;
    this.#mtu = bridge.mtu;
    for (const entry of readForwarding(await this.#route.dump(dumpForwarding()))) {
      const ours = entry.index === vxlan.index && entry.host !== null;
      if (ours) this.#remote.set(textOfIpv4(entry.mac.subarray(2)), entry.host as string);
    }
    return true;
  }

  #seatMessages(batch: MessageBatch, address: string, host: string | null): void {
    const mac = macOf(address);
    const own = this.#addressesOf(address);
    if (host === null) {
      for (const it of own) deleteNeighbour(batch, this.#vxlanIndex, it);
      deleteRemoteMac(batch, this.#vxlanIndex, mac);
    } else {
      addRemoteMac(batch, this.#vxlanIndex, mac, host);
      for (const it of own) addNeighbour(batch, this.#vxlanIndex, it, mac);
    }
  }

  /** Of a seat, in both families. */
  #addressesOf(address: string): string[] {
    return this.#subnet6 === '' ? [address] : [address, address6Of(this.#subnet6, address)];
  }
}

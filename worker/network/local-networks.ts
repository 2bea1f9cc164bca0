/**
 * The networks of this node alone, for containers outside of services: bridges in the host's namespace
 * (`bridge` and those that people make), macvlan and ipvlan. A bridge is in the kernel while a container
 * is on it. Knows nothing of clusters, names or processes.
 */
import { closeSync, openSync } from 'node:fs';
import type { Clock } from '../../common/base/clock.ts';
import { SkepError } from '../../common/base/errors.ts';
import type { Logger } from '../../common/base/log.ts';
import type { Random } from '../../common/base/random.ts';
import { Serial } from '../../common/base/serial.ts';
import type { IpamConfig, NetworkSpec } from '../../common/model/network.ts';
import { macOf, macText, parsePrefix } from '../../native/ffi/net/address.ts';
import { answeredBy, flushConnections } from '../../native/ffi/net/conntrack.ts';
import {
  NETLINK_NETFILTER,
  NETLINK_ROUTE,
  NetlinkSocket,
  OWN_NAMESPACE,
} from '../../native/ffi/net/sockets.ts';
import { ForwardPermits } from './forward-permits.ts';
import type { Ipv4Forwarding } from './ipv4-forwarding.ts';
import type { Difference } from './kernel-facts.ts';
import { isLocalPortName } from './kernel-names.ts';
import { listLinks, removeLink } from './legs.ts';
import { LocalAddresses } from './local-addresses.ts';
import {
  freeLinkName,
  plugLink,
  removeSubLinks,
  setDefaultRoute,
  setUpLoopback,
  type WantedLink,
  withRoute,
} from './local-links.ts';
import {
  checkLocalSpec,
  deviceOf,
  type LocalKind,
  type LocalNetwork,
  macBytes,
  OF_THIS_NODE,
} from './local-network.ts';
import { LocalNetworkSet, type LocalNetworkSetOptions } from './local-network-set.ts';
import type { LocalNetworkStore } from './local-network-store.ts';
import {
  allLinks,
  guardedPorts,
  type Holder,
  type LocalPlace,
  type LocalScene,
  type LocalSeat,
  linksOf,
  pathOf,
  publishedPorts,
  publishingSeat,
  ruledBridges,
  wantedBridges,
  wayOutOf,
} from './local-plan.ts';
import type { BoundPort, LocalPorts, PortWish } from './local-ports.ts';
import { localDifferences, restoreLocal } from './local-proof.ts';
import { LocalProver } from './local-prover.ts';
import { LocalRules } from './local-rules.ts';
import { PortGuard } from './port-guard.ts';
import type { DriftCounts, Subject } from './self-proof.ts';

/** What a container wants of one network. */
export interface LocalEndpoint {
  readonly networkId: string;
  /** '' = any */
  readonly address: string;
  /** '' = by the address */
  readonly mac: string;
  /** in the container; absent = the first free one */
  readonly link?: string;
  /** false: the container has another way out, whatever the network has */
  readonly isWayOut?: boolean;
}

/** Of a container that runs, and where its namespace is. */
export type RunningPlace = LocalPlace & { readonly netnsPath: string };
export type RunningPlaces = ReadonlyMap<string, RunningPlace>;

export interface LocalNetworksOptions {
  readonly store: LocalNetworkStore;
  readonly ports: LocalPorts;
  readonly forwarding: Ipv4Forwarding;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  /** default: those of this node alone */
  readonly kind?: LocalKind;
  /** of networks of others that take configurations and addresses */
  readonly others?: Pick<
    LocalNetworkSetOptions,
    'configOf' | 'isConfigUsed' | 'otherSubnets' | 'namesOfOthers'
  >;
}

interface Sockets {
  readonly route: NetlinkSocket;
  readonly rules: LocalRules;
  readonly guard: PortGuard;
  readonly permits: ForwardPermits;
  readonly filter: NetlinkSocket;
}

/** INVARIANT: everything that touches the kernel runs in `#serial`, one after another. */
export class LocalNetworks {
  readonly #options: LocalNetworksOptions;
  readonly #kind: LocalKind;
  readonly #set: LocalNetworkSet;
  readonly #prover: LocalProver;
  readonly #holders = new Map<string, Holder>();
  readonly #addresses = new LocalAddresses();
  #sockets: Sockets | null = null;
  /** null = taken up */
  #unstarted: RunningPlaces | null = null;
  /** addresses whose connections are to be forgotten once the rules are without them */
  readonly #left = new Set<string>();
  /** links that other firewalls were told of; proofs look whether they still are */
  #permitted = '';
  readonly #serial = new Serial();

  constructor(options: LocalNetworksOptions) {
    this.#options = options;
    this.#kind = options.kind ?? OF_THIS_NODE;
    this.#set = new LocalNetworkSet({
      ...{ ...options, ...options.others, builtIns: this.#kind.builtIns },
      route: async () => (await this.#open()).route,
      isUsed: (id) => this.usersOf(id).length > 0,
    });
    this.#prover = new LocalProver({ ...options, subjects: () => this.subjects() });
  }

  /**
   * Containers that run from before this daemon keep what they have; all else of ours goes.
   * @param places those containers, by id
   */
  start(places: RunningPlaces): Promise<void> {
    this.#prover.start();
    return this.#serial.run(async () => {
      this.#unstarted = places;
      await this.#begin();
    });
  }

  /** What a start that failed left is done before anything else: no bridge goes whose users are not known. */
  async #begin(): Promise<void> {
    if (!this.#unstarted) return;
    await this.#set.load();
    for (const [id, place] of this.#unstarted) await this.#takeUp(id, place);
    const { route } = await this.#open();
    await this.#set.readBridges();
    const names = new Set(allLinks(this.#scene).map(({ port }) => port));
    for (const { name } of await listLinks(route)) {
      if (isLocalPortName(this.#kind.names, name) && !names.has(name))
        await removeLink(route, name);
    }
    await this.#settle();
    this.#unstarted = null;
  }

  /** One that has ended meanwhile has no namespace any more, and needs nothing. */
  async #takeUp(id: string, { seats, ports, netnsPath }: RunningPlace): Promise<void> {
    if (this.#holders.has(id)) return;
    const known = seats.filter(({ networkId }) => this.#set.all.has(networkId));
    try {
      this.#hold(id, netnsPath, known).ports = ports;
    } catch (err) {
      if (!isAbsent(err)) throw err;
      this.#options.log.warn({ containerId: id, err }, 'container ended, its networks are let go');
      return;
    }
    await this.#options.ports.reclaim(id, ports);
  }

  /** Leaves everything in the kernel as it is. */
  async stop(): Promise<void> {
    await this.#prover.stop();
    await this.#serial.run(async () => {
      this.#options.ports.close();
      for (const { namespaceFd } of this.#holders.values()) closeSync(namespaceFd);
      this.#holders.clear();
      await this.#sockets?.route.close();
      await this.#sockets?.filter.close();
      this.#sockets = null;
    });
  }

  /** Those that people see, `bridge` first. */
  list(): LocalNetwork[] {
    return this.#set.list();
  }

  get(id: string): LocalNetwork | undefined {
    return this.#set.all.get(id);
  }

  /** By name, id or the beginning of one. Rejects with `invalid-argument` when several begin so. */
  find(ref: string): LocalNetwork | null {
    return this.#set.find(ref);
  }

  /** As the set's. */
  config(name: string): LocalNetwork | null {
    return this.#set.config(name);
  }

  /** As the set's. */
  usesConfig(name: string): boolean {
    return this.#set.usesConfig(name);
  }

  /** The subnets in which containers may have addresses. */
  get subnets(): string[] {
    return this.#set.subnets;
  }

  /** @param id absent = a new one. Rejects as `checkLocalSpec` and the set. */
  create(spec: NetworkSpec, id?: string): Promise<LocalNetwork> {
    checkLocalSpec(spec);
    return this.#serial.run(async () => {
      await this.#begin();
      return this.#set.create(spec, id);
    });
  }

  /** Rejects with `permission-denied` for a predefined one, or when it is in use. */
  remove(id: string): Promise<void> {
    return this.#serial.run(async () => {
      await this.#begin();
      await this.#set.remove(id);
      this.#addresses.forget(id);
    });
  }

  /** Ids of the containers with a seat in it. */
  usersOf(networkId: string): string[] {
    return [...this.#holders.values()]
      .filter(({ seats }) => seats.some((seat) => seat.networkId === networkId))
      .map(({ id }) => id);
  }

  /** Those that the container publishes. */
  portsOf(containerId: string): readonly BoundPort[] {
    return this.#holders.get(containerId)?.ports ?? [];
  }

  /** Only the loopback of a new namespace is set up. */
  isolate(netnsPath: string): Promise<void> {
    return setUpLoopback(netnsPath);
  }

  /**
   * Gives a container that does not run yet its places; what an earlier start left goes. Rejects with
   * `conflict` when a port or an address is taken, `resource-exhausted` when no address is left.
   */
  attach(
    id: string,
    netnsPath: string,
    endpoints: readonly LocalEndpoint[],
    wishes: readonly PortWish[],
  ): Promise<LocalPlace> {
    return this.#serial.run(async () => {
      await this.#begin();
      await this.#detach(id);
      await setUpLoopback(netnsPath);
      await removeSubLinks(netnsPath); // of a start that was cut short
      const holder = this.#hold(id, netnsPath, []);
      try {
        for (const endpoint of endpoints) await this.#plug(holder, endpoint);
        holder.ports = await this.#claimPorts(holder, wishes);
        await this.#settle();
        return { seats: holder.seats, ports: holder.ports };
      } catch (err) {
        await this.#takeBack(() => this.#detach(id));
        throw err;
      }
    });
  }

  /** One more network for a container that runs. Rejects as `attach`. */
  connect(id: string, netnsPath: string, endpoint: LocalEndpoint): Promise<LocalPlace> {
    return this.#serial.run(async () => {
      await this.#begin();
      const holder = this.#holders.get(id) ?? this.#hold(id, netnsPath, []);
      try {
        await this.#plug(holder, endpoint);
        await this.#settle();
      } catch (err) {
        await this.#takeBack(() => this.#unplug(holder, endpoint.networkId));
        throw err;
      }
      return { seats: holder.seats, ports: holder.ports };
    });
  }

  /** Takes a container that runs out of one network. Idempotent. */
  disconnect(id: string, networkId: string): Promise<LocalPlace> {
    return this.#serial.run(async () => {
      await this.#begin();
      const holder = this.#holders.get(id);
      if (!holder) return { seats: [], ports: [] };
      await this.#unplug(holder, networkId);
      await setDefaultRoute(pathOf(holder), wayOutOf(holder));
      await this.#settle();
      return { seats: holder.seats, ports: holder.ports };
    });
  }

  /** Idempotent. */
  detach(id: string): Promise<void> {
    return this.#serial.run(async () => {
      await this.#begin();
      if (!this.#holders.has(id)) return;
      await this.#detach(id);
      await this.#settle();
    });
  }

  /** What the self-proof found since this daemon started. */
  get drifts(): DriftCounts {
    return this.#prover.drifts;
  }

  /** What is to be compared with the kernel, for a proof that was asked for. */
  subjects(): Subject[] {
    if (this.#holders.size === 0) return [];
    return [
      {
        where: this.#kind.where,
        suspect: () => true,
        trust: () => {},
        differences: () => this.#serial.run(() => this.#differences()),
        repair: () => this.#serial.run(() => this.#restore()),
      },
    ];
  }

  async #differences(): Promise<Difference[]> {
    if (this.#holders.size === 0) return [];
    const { forwarding } = this.#options;
    return localDifferences({ ...(await this.#open()), forwarding }, this.#scene);
  }

  async #restore(): Promise<void> {
    if (this.#holders.size === 0) return; // stopped meanwhile, or they went
    const { route } = await this.#open();
    this.#permitted = '';
    await restoreLocal(route, this.#scene, () => this.#settle());
  }

  async #plug(holder: Holder, endpoint: LocalEndpoint): Promise<void> {
    const network = await this.#set.ensure(endpoint.networkId);
    const { name } = network.spec;
    if (holder.seats.some(({ networkId }) => networkId === network.id)) {
      const words = `endpoint with name ${holder.id} already exists in network ${name}`;
      throw new SkepError('permission-denied', words);
    }
    const pool = network.ipam as IpamConfig;
    const device = deviceOf(network);
    const address = this.#addresses.choose(network, pool, this.#holders.values(), endpoint.address);
    const mac = device.kind === 'ipvlan' ? '' : macFor(endpoint.mac, address);
    const seat: LocalSeat = {
      networkId: network.id,
      link: endpoint.link ?? (await freeLinkName(pathOf(holder))),
      address,
      prefixLength: parsePrefix(pool.subnet).length,
      gateway: network.spec.internal || endpoint.isWayOut === false ? '' : pool.gateway,
      mac,
    };
    holder.seats = [...holder.seats, seat];
    const { route, guard } = await this.#open();
    const wanted = this.#linkOf(holder, seat);
    // Before the link is there, so that it never is without.
    if (device.kind === 'bridge') await guard.set(guardedPorts(this.#scene));
    await plugLink(route, pathOf(holder), wanted);
    if (wayOutOf(holder) === seat) await setDefaultRoute(pathOf(holder), seat);
  }

  async #unplug(holder: Holder, networkId: string): Promise<void> {
    const seat = holder.seats.find((one) => one.networkId === networkId);
    if (!seat) return;
    const { route } = await this.#open();
    const { port, link } = this.#linkOf(holder, seat);
    if (port !== '') await removeLink(route, port);
    else await withRoute(pathOf(holder), (inside) => removeLink(inside, link));
    this.#left.add(seat.address);
    holder.seats = holder.seats.filter((one) => one !== seat); // its address is free only now
  }

  /**
   * Undoes a step that failed, with the bridge that was made for it. What cannot be undone now is told, not
   * thrown: the step's own failure is what its caller must hear.
   */
  async #takeBack(undo: () => Promise<void>): Promise<void> {
    try {
      await undo();
      await this.#settle();
    } catch (err) {
      this.#options.log.warn({ err }, 'local network is left for the next step to tidy');
    }
  }

  async #detach(id: string): Promise<void> {
    const holder = this.#holders.get(id);
    this.#options.ports.release(id);
    if (!holder) return;
    holder.ports = [];
    const { route } = await this.#open();
    for (const { port } of linksOf(this.#scene, holder))
      if (port !== '') await removeLink(route, port);
    for (const { address } of holder.seats) this.#left.add(address);
    this.#holders.delete(id);
    closeSync(holder.namespaceFd); // links without a port go with their namespace
  }

  #hold(id: string, netnsPath: string, seats: readonly LocalSeat[]): Holder {
    const holder: Holder = { id, namespaceFd: openSync(netnsPath, 'r'), seats, ports: [] };
    this.#holders.set(id, holder);
    return holder;
  }

  async #claimPorts(holder: Holder, wishes: readonly PortWish[]): Promise<BoundPort[]> {
    if (wishes.length === 0) return [];
    const seat = publishingSeat(this.#scene, holder);
    if (!seat) {
      const words = `publish port ${wishes[0]?.targetPort}: the container is on no bridge with a way out`;
      throw new SkepError('invalid-argument', words);
    }
    const device = deviceOf(this.#set.require(seat.networkId));
    const bindAddress = device.kind === 'bridge' ? device.bindAddress : '';
    const bound = wishes.map((wish) => ({ ...wish, hostIp: wish.hostIp || bindAddress }));
    return this.#options.ports.claim(holder.id, bound);
  }

  /** Rules as the seats want them, and no connection to who went: one over UDP would go on to the next there. */
  async #settle(): Promise<void> {
    await this.#writeRules();
    if (this.#left.size === 0) return;
    const { filter } = await this.#open();
    await flushConnections(filter, answeredBy(this.#left));
    this.#left.clear();
  }

  /** Bridges without a seat go, and without any seat the rules and the need to forward too. */
  async #writeRules(): Promise<void> {
    const { rules, guard, permits } = await this.#open();
    const bridges = wantedBridges(this.#scene);
    const used = new Set(bridges.map(({ device }) => device.link));
    await this.#set.removeUnused(used);
    if (bridges.length === 0) {
      this.#permitted = '';
      await rules.remove();
      await guard.remove();
      await this.#options.forwarding.letGo(this.#kind.forwarding);
      // Last: what belongs to others may refuse.
      await permits.remove();
      return;
    }
    await this.#options.forwarding.use(this.#kind.forwarding);
    await guard.set(guardedPorts(this.#scene));
    await rules.set({ bridges: ruledBridges(this.#scene), published: publishedPorts(this.#scene) });
    // Of each start that changes nothing there it would cost as much as the start's own rules.
    const links = [...used].sort();
    if (links.join() !== this.#permitted) await permits.restore(links);
    this.#permitted = links.join();
  }

  #linkOf(holder: Holder, { networkId }: LocalSeat): WantedLink {
    const found = linksOf(this.#scene, holder).find((one) => one.networkId === networkId);
    if (found) return found;
    throw new SkepError('internal', `network ${networkId}: the container is not in it`);
  }

  get #scene(): LocalScene {
    return { names: this.#kind.names, networks: this.#set.all, holders: this.#holders };
  }

  async #open(): Promise<Sockets> {
    if (this.#sockets) return this.#sockets;
    const route = await NetlinkSocket.open(OWN_NAMESPACE, NETLINK_ROUTE);
    const filter = await NetlinkSocket.open(OWN_NAMESPACE, NETLINK_NETFILTER);
    const { table } = this.#kind.names;
    const rules = new LocalRules(filter, table);
    const guard = new PortGuard(filter, table);
    const permits = new ForwardPermits(filter, table, () => this.#set.bridgeLinks);
    this.#sockets = { route, filter, rules, guard, permits };
    return this.#sockets;
  }
}

function isAbsent(err: unknown): boolean {
  return ['ENOENT', 'ESRCH'].includes((err as NodeJS.ErrnoException).code ?? '');
}

function macFor(wanted: string, address: string): string {
  return macText(wanted === '' ? macOf(address) : macBytes(wanted));
}

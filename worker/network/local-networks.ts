/**
 * The networks of this node alone, for containers outside of services: bridges in the host's namespace
 * (`bridge` and those that people make), macvlan and ipvlan. A bridge is in the kernel while a container
 * is on it. Knows nothing of clusters, names or processes.
 */
import { closeSync, openSync } from 'node:fs';
import type { Clock, Timer } from '../../common/base/clock.ts';
import { SkepError } from '../../common/base/errors.ts';
import type { Logger } from '../../common/base/log.ts';
import type { Random } from '../../common/base/random.ts';
import type { IpamConfig, NetworkSpec } from '../../common/model/network.ts';
import { macOf, macText, type Prefix, parsePrefix } from '../../native/ffi/net/address.ts';
import { flushConnections } from '../../native/ffi/net/conntrack.ts';
import { NFPROTO_BRIDGE, NFPROTO_IPV4 } from '../../native/ffi/net/nft.ts';
import { dumpAddresses, readAddresses } from '../../native/ffi/net/rtnl-address.ts';
import {
  NETLINK_NETFILTER,
  NETLINK_ROUTE,
  NetlinkSocket,
  OWN_NAMESPACE,
} from '../../native/ffi/net/sockets.ts';
import type { Difference } from './kernel-facts.ts';
import { isLocalPortName, LOCAL_TABLE } from './kernel-names.ts';
import { findLink, listLinks, removeLink } from './legs.ts';
import { checkRoutes, choosePool, LocalAddresses } from './local-addresses.ts';
import { LocalGuard } from './local-guard.ts';
import {
  makeBridge,
  plugLink,
  routesOf,
  setDefaultRoute,
  setUpLoopback,
  type WantedLink,
  withRoute,
} from './local-links.ts';
import {
  checkLocalSpec,
  DEFAULT_BRIDGE,
  DEFAULT_BRIDGE_ID,
  deviceOf,
  isBuiltIn,
  type LocalDevice,
  type LocalNetwork,
  macBytes,
  resolvedPool,
} from './local-network.ts';
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
import { enableForwarding, localDifferences, openBridge, restoreLocal } from './local-proof.ts';
import { LocalRules } from './local-rules.ts';
import { deleteOwnedTable } from './nft-table.ts';
import { mendedOf, prove, type Subject } from './self-proof.ts';

const ID_BYTES = 32;
const LINKS_MAX = 64;
/** As the cluster's networks: drift is mended within 10 s. */
const PROOF_PERIOD_MS = 3_000;
const DRIFTS_LOGGED_MAX = 10;

/** What a container wants of one network. */
export interface LocalEndpoint {
  readonly networkId: string;
  /** '' = any */
  readonly address: string;
  /** '' = by the address */
  readonly mac: string;
}

/** Of a container that runs, and where its namespace is. */
export type RunningPlace = LocalPlace & { readonly netnsPath: string };
export type RunningPlaces = ReadonlyMap<string, RunningPlace>;

export interface LocalNetworksOptions {
  readonly store: LocalNetworkStore;
  readonly ports: LocalPorts;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}

interface Sockets {
  readonly route: NetlinkSocket;
  readonly rules: LocalRules;
  readonly guard: LocalGuard;
  readonly filter: NetlinkSocket;
}

/** INVARIANT: everything that touches the kernel runs in `#serial`, one after another. */
export class LocalNetworks {
  readonly #options: LocalNetworksOptions;
  readonly #networks = new Map<string, LocalNetwork>();
  readonly #holders = new Map<string, Holder>();
  readonly #addresses = new LocalAddresses();
  #sockets: Sockets | null = null;
  #prover: Timer | null = null;
  /** under way */
  #proof: Promise<void> | null = null;
  #stopped = false;
  /** null = taken up */
  #unstarted: RunningPlaces | null = null;
  /** addresses whose connections are to be forgotten once the rules are without them */
  readonly #left = new Set<string>();
  #tail: Promise<unknown> = Promise.resolve();

  constructor(options: LocalNetworksOptions) {
    this.#options = options;
    this.#networks.set(DEFAULT_BRIDGE_ID, DEFAULT_BRIDGE);
  }

  /**
   * Containers that run from before this daemon keep what they have; all else of ours goes.
   * @param netnsOf the namespace of each of them
   */
  start(places: RunningPlaces): Promise<void> {
    this.#prover = this.#options.clock.setPeriodic(PROOF_PERIOD_MS, () => this.#proveSoon());
    return this.#serial(async () => {
      this.#unstarted = places;
      await this.#begin();
    });
  }

  /** What a start that failed left is done before anything else: no bridge goes whose users are not known. */
  async #begin(): Promise<void> {
    if (!this.#unstarted) return;
    for (const network of await this.#options.store.load()) {
      if (!this.#networks.has(network.id)) this.#networks.set(network.id, network);
    }
    for (const [id, place] of this.#unstarted) await this.#takeUp(id, place);
    const { route } = await this.#open();
    for (const network of this.#networks.values()) await this.#readBridge(route, network);
    const names = new Set(allLinks(this.#scene).map(({ port }) => port));
    for (const { name } of await listLinks(route)) {
      if (isLocalPortName(name) && !names.has(name)) await removeLink(route, name);
    }
    await this.#settle();
    this.#unstarted = null;
  }

  /** One that has ended meanwhile has no namespace any more, and needs nothing. */
  async #takeUp(id: string, { seats, ports, netnsPath }: RunningPlace): Promise<void> {
    if (this.#holders.has(id)) return;
    const known = seats.filter(({ networkId }) => this.#networks.has(networkId));
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
    this.#prover?.cancel();
    this.#stopped = true;
    await this.#proof;
    await this.#serial(async () => {
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
    return [...this.#networks.values()];
  }

  get(id: string): LocalNetwork | undefined {
    return this.#networks.get(id);
  }

  /** By name, id or the beginning of one. Rejects with `invalid-argument` when several begin so. */
  find(ref: string): LocalNetwork | null {
    const networks = this.list();
    const exact =
      networks.find(({ spec }) => spec.name === ref) ?? networks.find(({ id }) => id === ref);
    if (exact || ref === '') return exact ?? null;
    const found = networks.filter((network) => !isBuiltIn(network) && network.id.startsWith(ref));
    if (found.length > 1) {
      const words = `network ${ref} is ambiguous (${found.length} matches found on ID prefix)`;
      throw new SkepError('invalid-argument', words);
    }
    return found[0] ?? null;
  }

  /** The subnets in which containers may have addresses. */
  get subnets(): string[] {
    return [...this.#networks.values()].flatMap(({ ipam }) => (ipam ? [ipam.subnet] : []));
  }

  /** Rejects with `name-conflict`, `conflict` for a subnet that is taken, else as `checkLocalSpec`. */
  create(spec: NetworkSpec): Promise<LocalNetwork> {
    checkLocalSpec(spec);
    return this.#serial(async () => {
      await this.#begin();
      if (this.list().some((network) => network.spec.name === spec.name)) {
        throw new SkepError('name-conflict', `network with name ${spec.name} already exists`);
      }
      const id = Buffer.from(this.#options.random.bytes(ID_BYTES)).toString('hex');
      const createdAtMs = this.#options.clock.wallMs();
      const device = deviceOf({ id, spec });
      await this.#checkLink(device);
      const ipam = resolvedPool(spec.ipam.configs[0], await this.#poolFor(spec, device));
      const network: LocalNetwork = { id, createdAtMs, spec, ipam };
      await this.#options.store.put(network);
      this.#networks.set(id, network);
      return network;
    });
  }

  /** Rejects with `permission-denied` for a predefined one, `failed-precondition` when it is in use. */
  remove(id: string): Promise<void> {
    return this.#serial(async () => {
      await this.#begin();
      const network = this.#require(id);
      const { name } = network.spec;
      if (isBuiltIn(network)) {
        const words = `${name} is a pre-defined network and cannot be removed`;
        throw new SkepError('permission-denied', words);
      }
      if (this.usersOf(id).length > 0) {
        throw new SkepError('permission-denied', `network ${name} id ${id} has active endpoints`);
      }
      await this.#options.store.remove(id);
      this.#networks.delete(id);
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
    return this.#serial(async () => {
      await this.#begin();
      await this.#detach(id);
      await setUpLoopback(netnsPath);
      const holder = this.#hold(id, netnsPath, []);
      try {
        for (const endpoint of endpoints) await this.#plug(holder, endpoint);
        holder.ports = await this.#claimPorts(holder, wishes);
        await this.#settle();
        return { seats: holder.seats, ports: holder.ports };
      } catch (err) {
        await this.#detach(id);
        throw err;
      }
    });
  }

  /** One more network for a container that runs. Rejects as `attach`. */
  connect(id: string, netnsPath: string, endpoint: LocalEndpoint): Promise<LocalPlace> {
    return this.#serial(async () => {
      await this.#begin();
      const holder = this.#holders.get(id) ?? this.#hold(id, netnsPath, []);
      try {
        await this.#plug(holder, endpoint);
        await this.#settle();
      } catch (err) {
        await this.#unplug(holder, endpoint.networkId);
        throw err;
      }
      return { seats: holder.seats, ports: holder.ports };
    });
  }

  /** Takes a container that runs out of one network. Idempotent. */
  disconnect(id: string, networkId: string): Promise<LocalPlace> {
    return this.#serial(async () => {
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
    return this.#serial(async () => {
      await this.#begin();
      if (!this.#holders.has(id)) return;
      await this.#detach(id);
      await this.#settle();
    });
  }

  /** Others of this node may have turned forwarding off at their end. */
  refresh(): Promise<void> {
    return this.#serial(async () => {
      if (this.#holders.size > 0) await enableForwarding();
    });
  }

  /** What is to be compared with the kernel, for a proof that was asked for. */
  subjects(): Subject[] {
    if (this.#holders.size === 0) return [];
    return [
      {
        where: "this node's own networks",
        suspect: () => true,
        trust: () => {},
        differences: () => this.#serial(() => this.#differences()),
        repair: () => this.#serial(() => this.#restore()),
      },
    ];
  }

  #proveSoon(): void {
    if (this.#proof || this.#stopped || this.#holders.size === 0) return;
    this.#proof = this.#prove()
      .catch((err: unknown) => this.#options.log.warn({ err }, 'local networks not compared'))
      .finally(() => {
        this.#proof = null;
      });
  }

  async #prove(): Promise<void> {
    const proof = await prove(this.subjects(), { repair: true, all: true });
    const { drifts, failures } = proof;
    if (drifts.length > 0) {
      const some = drifts.slice(0, DRIFTS_LOGGED_MAX);
      const repaired = mendedOf(proof).length;
      this.#options.log.warn({ count: drifts.length, repaired, some }, 'local network drift');
    }
    if (failures.length > 0) {
      this.#options.log.warn({ failures }, 'local networks could not be compared');
    }
  }

  async #differences(): Promise<Difference[]> {
    if (this.#holders.size === 0) return [];
    return localDifferences(await this.#open(), this.#scene);
  }

  async #restore(): Promise<void> {
    if (this.#holders.size === 0) return; // stopped meanwhile, or they went
    const { route } = await this.#open();
    await restoreLocal(route, this.#scene, () => this.#settle());
  }

  async #plug(holder: Holder, endpoint: LocalEndpoint): Promise<void> {
    const network = await this.#ensure(endpoint.networkId);
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
      link: await freeLinkName(pathOf(holder)),
      address,
      prefixLength: parsePrefix(pool.subnet).length,
      gateway: network.spec.internal ? '' : pool.gateway,
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
    const device = deviceOf(this.#require(seat.networkId));
    const bindAddress = device.kind === 'bridge' ? device.bindAddress : '';
    const bound = wishes.map((wish) => ({ ...wish, hostIp: wish.hostIp || bindAddress }));
    return this.#options.ports.claim(holder.id, bound);
  }

  /** Rules as the seats want them, and no connection to who went: one over UDP would go on to the next there. */
  async #settle(): Promise<void> {
    await this.#writeRules();
    if (this.#left.size === 0) return;
    const { filter } = await this.#open();
    await flushConnections(filter, this.#left);
    this.#left.clear();
  }

  /** Bridges without a seat go, and without any seat the rules too. */
  async #writeRules(): Promise<void> {
    const { route, filter, rules, guard } = await this.#open();
    const bridges = wantedBridges(this.#scene);
    const used = new Set(bridges.map(({ device }) => device.link));
    for (const network of [...this.#networks.values()]) {
      const device = deviceOf(network);
      if (device.kind !== 'bridge' || used.has(device.link)) continue;
      if (await this.#isOurs(route, network, device.link)) await removeLink(route, device.link);
      if (isBuiltIn(network)) this.#networks.set(network.id, { ...network, ipam: null });
    }
    if (bridges.length === 0) {
      await deleteOwnedTable(filter, NFPROTO_IPV4, LOCAL_TABLE);
      await deleteOwnedTable(filter, NFPROTO_BRIDGE, LOCAL_TABLE);
      return;
    }
    await guard.set(guardedPorts(this.#scene));
    await rules.set({ bridges: ruledBridges(this.#scene), published: publishedPorts(this.#scene) });
  }

  /** With its addresses, and in the kernel if it is a bridge. */
  async #ensure(id: string): Promise<LocalNetwork> {
    const known = this.#require(id);
    const device = deviceOf(known);
    if (known.ipam && (device.kind !== 'bridge' || this.usersOf(id).length > 0)) return known;
    const ipam = known.ipam ?? resolvedPool(undefined, await this.#poolFor(known.spec, device));
    const network = { ...known, ipam };
    if (device.kind === 'bridge') {
      const { route } = await this.#open();
      if (await this.#isOurs(route, network, device.link)) await removeLink(route, device.link);
      await this.#checkLink(device);
      checkRoutes(ipam.subnet, await routesOf(route)); // since it was made others may have taken it
      const cidr = `${ipam.gateway}/${parsePrefix(ipam.subnet).length}`;
      const { mtuBytes } = device;
      await makeBridge(route, device.link, { mac: macOf(ipam.gateway), mtuBytes, cidr });
      await openBridge(device.link);
    }
    this.#networks.set(id, network);
    return network;
  }

  async #poolFor(spec: NetworkSpec, device: LocalDevice): Promise<Prefix> {
    const { route } = await this.#open();
    return choosePool(spec, device, this.subnets.map(parsePrefix), await routesOf(route));
  }

  /** Rejects when somebody else has a link of that name. */
  async #checkLink(device: LocalDevice): Promise<void> {
    if (device.kind !== 'bridge') return;
    const { route } = await this.#open();
    const isTaken = [...this.#networks.values()].filter((network) => {
      const other = deviceOf(network);
      const isUsed = this.usersOf(network.id).length > 0;
      return isUsed && other.kind === 'bridge' && other.link === device.link;
    });
    if (isTaken.length === 0 && !(await findLink(route, device.link))) return;
    throw new SkepError('permission-denied', `bridge name ${device.link} is taken on this host`);
  }

  /** A bridge with the network's address: left by an earlier life, or by a container that went. */
  async #isOurs(route: NetlinkSocket, { ipam }: LocalNetwork, name: string): Promise<boolean> {
    const link = await findLink(route, name);
    if (link?.kind !== 'bridge' || !ipam) return false;
    const addresses = readAddresses(await route.dump(dumpAddresses()));
    return addresses.some(({ index, address }) => {
      return index === link.index && address === ipam.gateway;
    });
  }

  /** The pool of a built-in bridge that an earlier life of the daemon left. */
  async #readBridge(route: NetlinkSocket, network: LocalNetwork): Promise<void> {
    const device = deviceOf(network);
    if (!isBuiltIn(network) || device.kind !== 'bridge') return;
    const link = await findLink(route, device.link);
    if (!link) return;
    const addresses = readAddresses(await route.dump(dumpAddresses()));
    const own = addresses.find(({ index }) => index === link.index);
    if (!own) return removeLink(route, device.link);
    const ipam = { ...resolvedPool(undefined, own), gateway: own.address };
    this.#networks.set(network.id, { ...network, ipam });
  }

  #linkOf(holder: Holder, { networkId }: LocalSeat): WantedLink {
    const found = linksOf(this.#scene, holder).find((one) => one.networkId === networkId);
    if (found) return found;
    throw new SkepError('internal', `network ${networkId}: the container is not in it`);
  }

  get #scene(): LocalScene {
    return { networks: this.#networks, holders: this.#holders };
  }

  #require(id: string): LocalNetwork {
    const network = this.#networks.get(id);
    if (network) return network;
    throw new SkepError('not-found', `network ${id} not found`);
  }

  async #open(): Promise<Sockets> {
    if (this.#sockets) return this.#sockets;
    const route = await NetlinkSocket.open(OWN_NAMESPACE, NETLINK_ROUTE);
    const filter = await NetlinkSocket.open(OWN_NAMESPACE, NETLINK_NETFILTER);
    const rules = new LocalRules(filter);
    const guard = new LocalGuard(filter);
    this.#sockets = { route, filter, rules, guard };
    return this.#sockets;
  }

  #serial<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#tail.then(work);
    this.#tail = result.catch(() => {}); // its caller sees the failure; the next one goes on
    return result;
  }
}

function isAbsent(err: unknown): boolean {
  return ['ENOENT', 'ESRCH'].includes((err as NodeJS.ErrnoException).code ?? '');
}

function macFor(wanted: string, address: string): string {
  return macText(wanted === '' ? macOf(address) : macBytes(wanted));
}

/** Other parts may have made links in there too. */
async function freeLinkName(netnsPath: string): Promise<string> {
  const taken = await withRoute(netnsPath, async (route) =>
    (await listLinks(route)).map(({ name }) => name),
  );
  for (let i = 0; i < LINKS_MAX; i++) if (!taken.includes(`eth${i}`)) return `eth${i}`;
  throw new SkepError('resource-exhausted', `attach to a network: ${LINKS_MAX} links are there`);
}

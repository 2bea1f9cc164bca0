/**
 * Networks whose links this node makes by itself, its own or those of the cluster: which there are, their pools, and their
 * bridges in the kernel. Knows that a network is used, not by whom. Not for concurrent use: its owner runs one call after another.
 */
import type { Clock } from '../../common/base/clock.ts';
import { SkepError } from '../../common/base/errors.ts';
import type { Random } from '../../common/base/random.ts';
import type { IpamConfig, NetworkSpec } from '../../common/model/network.ts';
import { checkConfiguration } from '../../common/model/node-network.ts';
import { macOf, type Prefix, parsePrefix } from '../../native/ffi/net/address.ts';
import {
  type AddressInfo,
  dumpAddresses,
  readAddresses,
} from '../../native/ffi/net/rtnl-address.ts';
import type { LinkInfo } from '../../native/ffi/net/rtnl-link.ts';
import type { NetlinkSocket } from '../../native/ffi/net/sockets.ts';
import { type ConfigByName, configured, refuseConfig } from './config-network.ts';
import { findLink, listLinks, removeLink } from './legs.ts';
import { checkRoutes, choosePool } from './local-addresses.ts';
import { makeBridge, routesOf } from './local-links.ts';
import {
  deviceOf,
  GATEWAY_NETWORK_ID,
  isBuiltIn,
  type LocalDevice,
  type LocalNetwork,
  resolvedPool,
} from './local-network.ts';
import type { LocalNetworkStore } from './local-network-store.ts';
import { openBridge } from './local-proof.ts';

const ID_BYTES = 32;

export interface LocalNetworkSetOptions {
  readonly store: LocalNetworkStore;
  readonly clock: Clock;
  readonly random: Random;
  /** rtnetlink in the host's namespace */
  readonly route: () => Promise<NetlinkSocket>;
  /** a container has a seat in it */
  readonly isUsed: (networkId: string) => boolean;
  readonly builtIns: readonly LocalNetwork[];
  /** absent = those of this set */
  readonly configOf?: ConfigByName;
  /** a network of another set takes its configuration from the one of that name */
  readonly isConfigUsed?: (name: string) => boolean;
  /** names are another's concern: for a while two may have the same */
  readonly namesOfOthers?: boolean;
  /** of networks of others: no new one may have addresses of these */
  readonly otherSubnets?: () => readonly string[];
}

export class LocalNetworkSet {
  readonly #options: LocalNetworkSetOptions;
  readonly #networks = new Map<string, LocalNetwork>();

  constructor(options: LocalNetworkSetOptions) {
    this.#options = options;
    for (const network of options.builtIns) this.#networks.set(network.id, network);
  }

  /** Those that have links: no configuration networks. */
  get #linked(): LocalNetwork[] {
    return [...this.#networks.values()].filter(({ spec }) => !spec.configOnly);
  }

  /** A configuration network by its name. */
  config(name: string): LocalNetwork | null {
    const found = this.list().find(({ spec }) => spec.configOnly && spec.name === name);
    return found ?? null;
  }

  /** One of these takes its configuration from the one of that name. */
  usesConfig(name: string): boolean {
    return this.list().some(({ spec }) => spec.configFrom === name);
  }

  get all(): ReadonlyMap<string, LocalNetwork> {
    return this.#networks;
  }

  /** Those of an earlier life. */
  async load(): Promise<void> {
    for (const network of await this.#options.store.load()) {
      this.#networks.set(network.id, network);
    }
  }

  /** Throws `not-found`. */
  require(id: string): LocalNetwork {
    const network = this.#networks.get(id);
    if (network) return network;
    throw new SkepError('not-found', `network ${id} not found`);
  }

  /** Names of the bridges that there are or may be. */
  get bridgeLinks(): string[] {
    return this.#linked.flatMap((network) => {
      const device = deviceOf(network);
      return device.kind === 'bridge' ? [device.link] : [];
    });
  }

  /** Those that people see. */
  list(): LocalNetwork[] {
    return [...this.#networks.values()].filter(({ id }) => id !== GATEWAY_NETWORK_ID);
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
    return this.#linked.flatMap(({ ipam }) => (ipam ? [ipam.subnet] : []));
  }

  /**
   * The spec is one that can be by itself. Rejects with `name-conflict`, `conflict` for a subnet that is taken, `not-found` without the
   * configuration network that it names, else as `checkConfiguration` of what that says.
   */
  async create(given: NetworkSpec, id = this.#newId()): Promise<LocalNetwork> {
    const isTaken = this.list().some(({ spec }) => spec.name === given.name);
    if (isTaken && !this.#options.namesOfOthers) {
      throw new SkepError('name-conflict', `network with name ${given.name} already exists`);
    }
    const spec = configured(given, this.#options.configOf ?? ((name) => this.config(name)));
    if (spec.configFrom !== '') checkConfiguration(spec);
    const createdAtMs = this.#options.clock.wallMs();
    const ipam = spec.configOnly ? (spec.ipam.configs[0] ?? null) : await this.#ipamFor(id, spec);
    const network: LocalNetwork = { id, createdAtMs, spec, ipam };
    await this.#options.store.put(network);
    this.#networks.set(id, network);
    return network;
  }

  #newId(): string {
    return Buffer.from(this.#options.random.bytes(ID_BYTES)).toString('hex');
  }

  async #ipamFor(id: string, spec: NetworkSpec): Promise<IpamConfig> {
    const device = deviceOf({ id, spec });
    await this.#checkLink(device);
    return resolvedPool(spec.ipam.configs[0], await this.#poolFor(spec, device));
  }

  /** Rejects with `permission-denied` for a predefined one, or when it is in use. */
  async remove(id: string): Promise<void> {
    const network = this.require(id);
    const { name } = network.spec;
    if (isBuiltIn(network)) {
      const words = `${name} is a pre-defined network and cannot be removed`;
      throw new SkepError('permission-denied', words);
    }
    if (this.#options.isUsed(id)) {
      throw new SkepError('permission-denied', `network ${name} id ${id} has active endpoints`);
    }
    const isConfigUsed = this.usesConfig(name) || this.#options.isConfigUsed?.(name);
    if (network.spec.configOnly && isConfigUsed) {
      throw new SkepError('permission-denied', `configuration network "${name}" is in use`);
    }
    // Afterwards nobody knows that it is ours.
    if (!network.spec.configOnly) await this.#removeBridges([network]);
    await this.#options.store.remove(id);
    this.#networks.delete(id);
  }

  /** With its addresses, and in the kernel if it is a bridge. */
  async ensure(id: string): Promise<LocalNetwork> {
    const known = this.require(id);
    refuseConfig(known);
    const device = deviceOf(known);
    if (known.ipam && (device.kind !== 'bridge' || this.#options.isUsed(id))) return known;
    const ipam = known.ipam ?? resolvedPool(undefined, await this.#poolFor(known.spec, device));
    const network = { ...known, ipam };
    if (device.kind === 'bridge') {
      const route = await this.#options.route();
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
    const route = await this.#options.route();
    const others = [...this.subnets, ...(this.#options.otherSubnets?.() ?? [])].map(parsePrefix);
    return choosePool(spec, device, others, await routesOf(route));
  }

  /** Rejects when somebody else has a link of that name. */
  async #checkLink(device: LocalDevice): Promise<void> {
    if (device.kind !== 'bridge') return;
    const route = await this.#options.route();
    const isTaken = this.#linked.filter((network) => {
      const other = deviceOf(network);
      const isUsed = this.#options.isUsed(network.id);
      return isUsed && other.kind === 'bridge' && other.link === device.link;
    });
    if (isTaken.length === 0 && !(await findLink(route, device.link))) return;
    throw new SkepError('permission-denied', `bridge name ${device.link} is taken on this host`);
  }

  /** A bridge with the network's address: left by an earlier life, or by a container that went. */
  async #isOurs(route: NetlinkSocket, network: LocalNetwork, name: string): Promise<boolean> {
    const link = await findLink(route, name);
    if (link?.kind !== 'bridge') return false;
    return isOwnBridge(network, link, readAddresses(await route.dump(dumpAddresses())));
  }

  /** The pools of built-in bridges that an earlier life of the daemon left. */
  async readBridges(): Promise<void> {
    const route = await this.#options.route();
    for (const network of this.#networks.values()) await this.#readBridge(route, network);
  }

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

  /** Bridges of ours that are not among `used` go. */
  async removeUnused(used: ReadonlySet<string>): Promise<void> {
    const unused = this.#linked.filter((network) => {
      const device = deviceOf(network);
      return device.kind === 'bridge' && !used.has(device.link);
    });
    await this.#removeBridges(unused);
    for (const network of unused) {
      if (isBuiltIn(network)) this.#networks.set(network.id, { ...network, ipam: null });
    }
  }

  /** Two dumps, however many there are. */
  async #removeBridges(networks: readonly LocalNetwork[]): Promise<void> {
    const route = await this.#options.route();
    const links = await listLinks(route);
    const present = networks.flatMap((network) => {
      const device = deviceOf(network);
      const link = links.find(({ name }) => device.kind === 'bridge' && name === device.link);
      return link?.kind === 'bridge' ? [{ network, link }] : [];
    });
    if (present.length === 0) return;
    const addresses = readAddresses(await route.dump(dumpAddresses()));
    for (const { network, link } of present) {
      if (isOwnBridge(network, link, addresses)) await removeLink(route, link.name);
    }
  }
}

function isOwnBridge(
  { ipam }: LocalNetwork,
  { index }: LinkInfo,
  addresses: readonly AddressInfo[],
): boolean {
  if (!ipam) return false;
  return addresses.some((own) => own.index === index && own.address === ipam.gateway);
}

/** Which subnet a network of this node gets, and which address a container in it. No I/O. */
import { SkepError } from '../../common/base/errors.ts';
import type { IpamConfig, NetworkSpec } from '../../common/model/network.ts';
import { overlap, type Prefix, parsePrefix } from '../../native/ffi/net/address.ts';
import { chooseGatewayPool, DEFAULT_GATEWAY_POOLS } from './gateway-bridge.ts';
import {
  DEFAULT_BRIDGE_ID,
  freeAddress,
  isHostOf,
  type LocalDevice,
  type LocalNetwork,
} from './local-network.ts';
import type { Holder } from './local-plan.ts';

/** Docker's own bridge has the first one. */
const DEFAULT_BRIDGE_POOLS: readonly string[] = ['172.17.0.0/16', ...DEFAULT_GATEWAY_POOLS];

const words = ({ address, length }: Prefix): string => `${address}/${length}`;

/**
 * What the user chose, or the first pool that nothing else of this host has.
 * @param others subnets of this node's other networks
 * @param routes of the host; what stands on a link of the host has that link's subnet
 */
export function choosePool(
  spec: NetworkSpec,
  device: LocalDevice,
  others: readonly Prefix[],
  routes: readonly Prefix[],
): Prefix {
  const chosen = spec.ipam.configs[0]?.subnet ?? '';
  if (chosen === '') {
    const pools = spec.name === DEFAULT_BRIDGE_ID ? DEFAULT_BRIDGE_POOLS : DEFAULT_GATEWAY_POOLS;
    const pool = chooseGatewayPool(pools, [...others, ...routes]);
    if (pool) return pool;
    const all = `all ${pools.length} address pools are in use or overlap routes of this host`;
    throw new SkepError('resource-exhausted', `network ${spec.name}: ${all}`);
  }
  const subnet = parsePrefix(chosen);
  const other = others.find((one) => overlap(one, subnet));
  if (other) {
    const pool = 'Pool overlaps with other one on this address space';
    throw new SkepError('permission-denied', `${pool}: ${chosen} with ${words(other)}`);
  }
  if (device.kind === 'bridge') checkRoutes(chosen, routes);
  return subnet;
}

/** Throws `permission-denied` when the host goes elsewhere for an address of the subnet. */
export function checkRoutes(subnet: string, routes: readonly Prefix[]): void {
  const inTheWay = routes.find((one) => overlap(one, parsePrefix(subnet)));
  if (!inTheWay) return;
  const text = `subnet ${subnet} overlaps route ${words(inTheWay)} of this host`;
  throw new SkepError('permission-denied', text);
}

export class LocalAddresses {
  /** the last address that was given in a network: freed ones come again only after all others */
  readonly #lastGiven = new Map<string, string>();

  /**
   * @param wanted '' = any
   * Throws `resource-exhausted` when there is none, `permission-denied` for one that is in use,
   * `invalid-argument` for one that the network does not have.
   */
  choose(
    network: LocalNetwork,
    pool: IpamConfig,
    holders: Iterable<Holder>,
    wanted: string,
  ): string {
    const used = usedIn(network.id, holders);
    if (wanted !== '') return fixedAddress(network, pool, used, wanted);
    const address = freeAddress(pool, used, this.#lastGiven.get(network.id) ?? null);
    if (address === null) {
      const text = `attach to network ${network.spec.name}: all addresses of ${pool.range || pool.subnet} are in use`;
      throw new SkepError('resource-exhausted', text);
    }
    this.#lastGiven.set(network.id, address);
    return address;
  }

  /** The network is gone. */
  forget(networkId: string): void {
    this.#lastGiven.delete(networkId);
  }
}

function usedIn(id: string, holders: Iterable<Holder>): Set<string> {
  const seats = Array.from(holders, (holder) => holder.seats).flat();
  return new Set(seats.filter(({ networkId }) => networkId === id).map(({ address }) => address));
}

function fixedAddress(
  { spec }: LocalNetwork,
  pool: IpamConfig,
  used: ReadonlySet<string>,
  wanted: string,
): string {
  if (!spec.ipam.configs.some(({ subnet }) => subnet !== '')) {
    const words =
      'user specified IP address is supported only when connecting to networks with user configured subnets';
    throw new SkepError('invalid-argument', words);
  }
  if (!isHostOf(parsePrefix(pool.subnet), wanted)) {
    const words = `no configured subnet contains IP address ${wanted}: network ${spec.name} is ${pool.subnet}`;
    throw new SkepError('invalid-argument', words);
  }
  const taken = [...used, pool.gateway, ...Object.values(pool.reserved)];
  if (!taken.includes(wanted)) return wanted;
  throw new SkepError('permission-denied', `Address already in use: ${wanted}`);
}

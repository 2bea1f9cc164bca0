/** Which address a container gets in a network of this node. No I/O. */
import { SkepError } from '../../common/base/errors.ts';
import type { IpamConfig } from '../../common/model/network.ts';
import { parsePrefix } from '../../native/ffi/net/address.ts';
import { freeAddress, isHostOf, type LocalNetwork } from './local-network.ts';
import type { Holder } from './local-plan.ts';

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
      const words = `attach to network ${network.spec.name}: all addresses of ${pool.range || pool.subnet} are in use`;
      throw new SkepError('resource-exhausted', words);
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
  if (!used.has(wanted) && wanted !== pool.gateway) return wanted;
  throw new SkepError('permission-denied', `Address already in use: ${wanted}`);
}

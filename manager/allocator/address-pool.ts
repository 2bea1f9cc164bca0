/**
 * The addresses of one network: its subnets in the order of its specification, each with a bitmap.
 * Addresses come serially; the subnet's own, the broadcast, gateway and reserved ones are never given.
 */
import { SkepError } from '../../common/base/errors.ts';
import { withheldAddresses } from '../../common/model/fixed-address.ts';
import type { IpamConfig } from '../../common/model/network.ts';
import {
  contains,
  formatInterface,
  type Ipv4Subnet,
  parseInterfaceAddress,
  parseIpv4,
  parseIpv4Subnet,
  subnetSize,
} from './cidr.ts';
import { SerialBitmap } from './serial-bitmap.ts';

/** Larger subnets are usable up to this many addresses from their start (2 MiB of bitmap). */
const WINDOW_ADDRESSES_MAX = 2 ** 24;

const NONE_KEPT: ReadonlySet<number> = new Set();

interface PoolSubnet {
  readonly subnet: Ipv4Subnet;
  /** the addresses that may be given: `windowBase + index` */
  readonly windowBase: number;
  readonly bitmap: SerialBitmap;
  /** fixed addresses given outside the window */
  readonly outside: Set<number>;
}

export class AddressPool {
  readonly #subnets: readonly PoolSubnet[];
  /** addresses that tasks, VIPs and nodes can never get: network, broadcast, gateway, reserved */
  readonly #withheld: number;

  readonly #kept: Pick<ReadonlySet<number>, 'has'>;

  /**
   * @param configs resolved: each has a subnet and a gateway
   * @param kept addresses for those who name them: they are given to nobody else. May change at any time.
   * Throws `invalid-argument`.
   */
  constructor(configs: readonly IpamConfig[], kept: Pick<ReadonlySet<number>, 'has'> = NONE_KEPT) {
    this.#kept = kept;
    this.#subnets = configs.map(openSubnet);
    this.#withheld = this.#subnets.reduce((sum, { bitmap }) => sum + bitmap.taken, 0);
  }

  get size(): number {
    return this.#subnets.reduce((sum, { bitmap }) => sum + bitmap.size, 0) - this.#withheld;
  }

  get used(): number {
    const taken = this.#subnets.reduce((sum, { bitmap }) => sum + bitmap.taken, 0);
    return taken - this.#withheld;
  }

  /** Interface notation, e.g. `10.0.1.5/24`; null when every address is taken. */
  takeNext(): string | null {
    for (const home of this.#subnets) {
      const index = this.#takeNextIn(home);
      if (index !== null) return formatInterface(home.windowBase + index, home.subnet);
    }
    return null;
  }

  /** Those that are kept are passed over. */
  #takeNextIn({ windowBase, bitmap }: PoolSubnet): number | null {
    const passed: number[] = [];
    let index = bitmap.takeNext();
    while (index !== null && this.#kept.has(windowBase + index)) {
      passed.push(index);
      index = bitmap.takeNext();
    }
    for (const one of passed) bitmap.release(one);
    return index;
  }

  /**
   * Takes the address named by `text` (with or without prefix length) and returns it in interface
   * notation; null when it is taken. Throws `invalid-argument` when no subnet holds it.
   */
  take(text: string): string | null {
    const address = parseInterfaceAddress(text);
    const home = this.#subnets.find(({ subnet }) => contains(subnet, address));
    if (!home) {
      throw new SkepError(
        'invalid-argument',
        `take address: ${text} is in no subnet of the network`,
      );
    }
    return takeIn(home, address) ? formatInterface(address, home.subnet) : null;
  }

  /** An address in use, met while a new leader rebuilds its books. False if it was known already. */
  restore(text: string): boolean {
    const address = parseInterfaceAddress(text);
    const home = this.#subnets.find(({ subnet }) => contains(subnet, address));
    if (!home) return false;
    const fresh = takeIn(home, address);
    if (inWindow(home, address)) home.bitmap.continueAbove(address - home.windowBase);
    return fresh;
  }

  release(text: string): void {
    const address = parseInterfaceAddress(text);
    for (const home of this.#subnets) {
      if (!contains(home.subnet, address)) continue;
      if (inWindow(home, address)) home.bitmap.release(address - home.windowBase);
      else home.outside.delete(address);
      return;
    }
  }
}

function openSubnet(config: IpamConfig): PoolSubnet {
  const subnet = parseIpv4Subnet(config.subnet);
  const window = config.range === '' ? subnet : parseIpv4Subnet(config.range);
  const size = Math.min(subnetSize(window), WINDOW_ADDRESSES_MAX);
  const pool: PoolSubnet = {
    subnet,
    windowBase: window.base,
    bitmap: new SerialBitmap(size),
    outside: new Set(),
  };
  for (const reserved of Object.values(config.reserved)) parseIpv4(reserved);
  for (const { address } of withheldAddresses(config)) takeIn(pool, address);
  return pool;
}

function inWindow(pool: PoolSubnet, address: number): boolean {
  return address >= pool.windowBase && address < pool.windowBase + pool.bitmap.size;
}

function takeIn(pool: PoolSubnet, address: number): boolean {
  if (inWindow(pool, address)) return pool.bitmap.take(address - pool.windowBase);
  if (pool.outside.has(address)) return false;
  pool.outside.add(address);
  return true;
}

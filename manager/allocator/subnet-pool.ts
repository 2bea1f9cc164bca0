/**
 * Cuts subnets of one size from the cluster's default pools: the lowest that overlaps no subnet in
 * use, be it cut from here or chosen by a user.
 */
import {
  contains,
  formatSubnet,
  type Ipv4Subnet,
  overlaps,
  parseIpv4Subnet,
  subnetSize,
} from './cidr.ts';

export class SubnetPool {
  readonly #pools: readonly Ipv4Subnet[];
  readonly #prefixLength: number;
  /** in use, by CIDR text; several networks may have chosen the same one */
  readonly #used = new Map<string, { readonly subnet: Ipv4Subnet; count: number }>();

  /** Throws `invalid-argument` when a pool is no IPv4 CIDR. */
  constructor(pools: readonly string[], prefixLength: number) {
    this.#pools = pools.map(parseIpv4Subnet);
    this.#prefixLength = prefixLength;
  }

  /** How many subnets all pools together hold. */
  get size(): number {
    const block = 2 ** (32 - this.#prefixLength);
    return this.#pools.reduce((sum, pool) => sum + Math.floor(subnetSize(pool) / block), 0);
  }

  /**
   * CIDR of a free subnet, now in use; null when there is none.
   * @param avoid addresses that it must not hold
   */
  takeNext(avoid: readonly number[] = []): string | null {
    const blockSize = 2 ** (32 - this.#prefixLength);
    for (const pool of this.#pools) {
      const end = pool.base + subnetSize(pool);
      let base = pool.base;
      while (base + blockSize <= end) {
        const candidate = { base, prefixLength: this.#prefixLength };
        // What is in use may be skipped at once, however many blocks it covers; each address to avoid costs a look at a block.
        const obstacle = this.#obstacle(candidate) ?? avoided(candidate, avoid);
        if (obstacle === null) {
          const cidr = formatSubnet(candidate);
          this.use(cidr);
          return cidr;
        }
        const obstacleEnd = obstacle.base + subnetSize(obstacle);
        base += Math.max(1, Math.ceil((obstacleEnd - base) / blockSize)) * blockSize;
      }
    }
    return null;
  }

  /** Marks a subnet as in use; once more for each user of the same one. */
  use(cidr: string): void {
    const subnet = parseIpv4Subnet(cidr);
    const key = formatSubnet(subnet);
    const entry = this.#used.get(key);
    if (entry) entry.count++;
    else this.#used.set(key, { subnet, count: 1 });
  }

  release(cidr: string): void {
    const key = formatSubnet(parseIpv4Subnet(cidr));
    const entry = this.#used.get(key);
    if (!entry) return;
    entry.count--;
    if (entry.count === 0) this.#used.delete(key);
  }

  #obstacle(candidate: Ipv4Subnet): Ipv4Subnet | null {
    const same = this.#used.get(formatSubnet(candidate));
    if (same) return same.subnet;
    // Subnets of exactly the pool's size overlap only when equal: the look-up above found those.
    for (const { subnet } of this.#used.values()) {
      if (subnet.prefixLength !== this.#prefixLength && overlaps(subnet, candidate)) return subnet;
    }
    return null;
  }
}

/** The block itself, when it holds one of the addresses. */
function avoided(candidate: Ipv4Subnet, avoid: readonly number[]): Ipv4Subnet | null {
  return avoid.some((address) => contains(candidate, address)) ? candidate : null;
}

/**
 * The rules of a task's namespace in both families: those of IPv6 follow from those of IPv4, network by
 * network. Without a network that has both there is no table of IPv6.
 */
import { address6Of } from '../../common/base/ipv6.ts';
import type { Random } from '../../common/base/random.ts';
import { overlap, type Prefix, parsePrefix } from '../../native/ffi/net/address.ts';
import { NFPROTO_IPV6 } from '../../native/ffi/net/nft.ts';
import type { NetlinkSocket } from '../../native/ffi/net/sockets.ts';
import type { EntryRules } from './entry-rules.ts';
import type { Difference } from './kernel-facts.ts';
import { TaskRules } from './task-rules.ts';

/** A network of the task that has both families; CIDRs. */
export interface DualSubnet {
  readonly subnet: string;
  readonly subnet6: string;
}

export class TaskTables {
  readonly #ipv4: TaskRules;
  readonly #ipv6: TaskRules;
  #dual: readonly { readonly subnet: Prefix; readonly subnet6: string }[] = [];

  constructor(socket: NetlinkSocket, random: Random) {
    this.#ipv4 = new TaskRules(socket, random);
    this.#ipv6 = new TaskRules(socket, random, NFPROTO_IPV6);
  }

  /** The virtual IPs balanced here, of IPv4. */
  get virtualIps(): IterableIterator<string> {
    return this.#ipv4.virtualIps;
  }

  /** The last transaction failed: `rebuild` is due. */
  get stale(): boolean {
    return this.#ipv4.stale || this.#ipv6.stale;
  }

  /** True when they are others than before: virtual IPs are due to be set, and `rebuild`. */
  setDual(subnets: readonly DualSubnet[]): boolean {
    const known = this.#dual.map(({ subnet6 }) => subnet6).join();
    if (known === subnets.map(({ subnet6 }) => subnet6).join()) return false;
    this.#dual = subnets.map(({ subnet, subnet6 }) => ({ subnet: parsePrefix(subnet), subnet6 }));
    return true;
  }

  /** The address in IPv6 of whoever has this one of IPv4; null in a network without. */
  ipv6Of(address: string): string | null {
    const host = parsePrefix(address);
    const network = this.#dual.find(({ subnet }) => overlap(subnet, host));
    return network ? address6Of(network.subnet6, address) : null;
  }

  /** How connections from outside find their way back; takes effect at the next `rebuild`. */
  setEntry(entry: EntryRules, entry6: EntryRules | null): void {
    this.#ipv4.setEntry(entry);
    this.#ipv6.setEntry(entry6);
  }

  /** As `TaskRules.set`, in words of IPv4. */
  async set(
    changes: ReadonlyMap<string, ReadonlySet<string> | null>,
    sticky: ReadonlySet<string> = new Set(),
  ): Promise<void> {
    await this.#ipv4.set(changes, sticky);
    if (this.#dual.length === 0) return;
    const changes6 = new Map<string, ReadonlySet<string> | null>();
    for (const [virtualIp, wanted] of changes) {
      const key = this.ipv6Of(virtualIp);
      if (key !== null) changes6.set(key, wanted && this.#allIpv6Of(wanted));
    }
    await this.#ipv6.set(changes6, this.#allIpv6Of(sticky));
  }

  async rebuild(): Promise<void> {
    await this.#ipv4.rebuild();
    if (this.#dual.length > 0) await this.#ipv6.rebuild();
  }

  async differences(): Promise<Difference[]> {
    const differences = await this.#ipv4.differences();
    if (this.#dual.length === 0) return differences;
    const six = await this.#ipv6.differences();
    return [...differences, ...six.map((it) => ({ ...it, what: `${it.what} of IPv6` }))];
  }

  #allIpv6Of(addresses: ReadonlySet<string>): Set<string> {
    return new Set([...addresses].flatMap((address) => this.ipv6Of(address) ?? []));
  }
}

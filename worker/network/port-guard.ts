/**
 * The nft table that keeps tasks and containers from sending as somebody else: what comes from a guarded port
 * of a bridge must carry the MAC and an address of the seat behind it, in ARP and neighbour discovery too.
 * Everything else from there is dropped; without an IPv6 subnet so is IPv6. Knows ports and addresses,
 * not whose they are.
 */
import { address6Of } from '../../common/base/ipv6.ts';
import { linkLocalOf, macOf } from '../../native/ffi/net/address.ts';
import {
  type Expression,
  interfaceKey,
  NFPROTO_BRIDGE,
  NFT_TYPE,
  type NftTransaction,
  portSeatKey,
  type TableWriter,
} from '../../native/ffi/net/nft.ts';
import {
  ETHERTYPE,
  etherType,
  fromInterface,
  fromInterfaceInSet,
  ICMPV6,
  icmpv6Type,
  senderInSet,
  verdict,
} from '../../native/ffi/net/nft-expressions.ts';
import type { NetlinkSocket } from '../../native/ffi/net/sockets.ts';
import { NFT_TABLE } from './kernel-names.ts';
import { OwnedTable } from './nft-table.ts';

const PORTS = 'ports';
const SEATS = 'seats';
const SEATS6 = 'seats6';
/** Before anything that others do with bridged frames (NF_BR_PRI_NAT_DST_BRIDGED). */
const PRIORITY = -300;

/** What may be sent from behind a port. */
export interface GuardedSeat {
  readonly address: string;
  /** 6 bytes */
  readonly mac: Uint8Array;
}

/** Seats whose MAC follows from their address. @param ports link -> the address behind it */
export function seatsOf(ports: Iterable<readonly [string, string]>): Map<string, GuardedSeat> {
  return new Map([...ports].map(([link, address]) => [link, { address, mac: macOf(address) }]));
}

export class PortGuard extends OwnedTable {
  /** link -> who is behind it */
  #ports = new Map<string, GuardedSeat>();
  #subnet6 = '';
  #free: readonly string[] = [];

  constructor(socket: NetlinkSocket, table = NFT_TABLE) {
    super(socket, NFPROTO_BRIDGE, table);
  }

  /**
   * Takes effect at the next `rebuild`. @param free links of the bridge that never are guarded ports: what comes by them
   * is looked up in no set; each is a rule more for everything else
   */
  setFree(free: readonly string[]): void {
    this.#free = free;
  }

  /** CIDR in which seats have addresses too; takes effect at the next `rebuild`. */
  setSubnet6(subnet6: string): void {
    this.#subnet6 = subnet6;
  }

  /** Before the link is made, so that it never is without. The MAC follows from the address. */
  async add(link: string, address: string): Promise<void> {
    await this.change((tx) => {
      this.#forget(tx, link);
      const seat = { address, mac: macOf(address) };
      this.#ports.set(link, seat);
      this.#introduce(tx, link, seat);
    });
  }

  /** The link is gone. */
  async forget(link: string): Promise<void> {
    if (this.#ports.has(link)) await this.change((tx) => this.#forget(tx, link));
  }

  /** What the table is to hold; `differences` and `rebuild` go by it. */
  expect(ports: ReadonlyMap<string, GuardedSeat>): void {
    this.#ports = new Map(ports);
    this.adopt();
  }

  /** Replaces what the kernel has. */
  async set(ports: ReadonlyMap<string, GuardedSeat>): Promise<void> {
    this.#ports = new Map(ports);
    await this.rebuild();
  }

  protected override build(table: TableWriter): void {
    table.addSet(PORTS, { keyType: NFT_TYPE.interfaceName, keyBytes: 16 });
    table.addSet(SEATS, { keyType: NFT_TYPE.portSeat, keyBytes: 28 });
    table.addChain('guard', { type: 'filter', hook: 'prerouting', priority: PRIORITY });
    const accept = verdict({ kind: 'accept' });
    for (const link of this.#free) table.addRule('guard', [...fromInterface(link), ...accept]);
    table.addRule('guard', [
      ...etherType(ETHERTYPE.ipv4),
      ...senderInSet(SEATS, 'frame', 'ipv4'),
      ...accept,
    ]);
    table.addRule('guard', [
      ...etherType(ETHERTYPE.arp),
      ...senderInSet(SEATS, 'frame', 'arp'),
      ...senderInSet(SEATS, 'arp', 'arp'),
      ...accept,
    ]);
    // Not first: what a seat may send, which is nearly all, is looked up once.
    table.addRule('guard', [...fromInterfaceInSet(PORTS, true), ...accept]);
    if (this.#subnet6 !== '') buildIpv6(table);
    table.addRule('guard', verdict({ kind: 'drop' }));
    for (const [link, seat] of this.#ports) this.#introduce(table, link, seat);
  }

  #forget(tx: NftTransaction, link: string): void {
    const seat = this.#ports.get(link);
    if (!seat) return;
    this.#ports.delete(link);
    tx.deleteElements(PORTS, [interfaceKey(link)]);
    tx.deleteElements(SEATS, [portSeatKey(link, seat.mac, seat.address)]);
    if (this.#subnet6 !== '') tx.deleteElements(SEATS6, this.#keys6(link, seat));
  }

  #introduce(table: TableWriter, link: string, seat: GuardedSeat): void {
    table.addElements(PORTS, [{ key: interfaceKey(link) }]);
    table.addElements(SEATS, [{ key: portSeatKey(link, seat.mac, seat.address) }]);
    if (this.#subnet6 === '') return;
    const keys = this.#keys6(link, seat);
    table.addElements(
      SEATS6,
      keys.map((key) => ({ key })),
    );
  }

  /** The address of the network, and the link-local one that neighbour discovery goes by. */
  #keys6(link: string, { address, mac }: GuardedSeat): Buffer[] {
    return [address6Of(this.#subnet6, address), linkLocalOf(mac)].map((it) =>
      portSeatKey(link, mac, it),
    );
  }
}

function buildIpv6(table: TableWriter): void {
  table.addSet(SEATS6, { keyType: NFT_TYPE.portSeat6, keyBytes: 40 });
  const rule = (...parts: readonly (readonly Expression[])[]): void =>
    table.addRule('guard', [...etherType(ETHERTYPE.ipv6), ...parts.flat()]);
  // There are no routers among tasks.
  for (const type of [ICMPV6.routerAdvertisement, ICMPV6.redirect]) {
    rule(icmpv6Type(type), verdict({ kind: 'drop' }));
  }
  const accept = verdict({ kind: 'accept' });
  const advertised = senderInSet(SEATS6, 'frame', 'advertisement');
  rule(
    icmpv6Type(ICMPV6.neighbourAdvertisement),
    senderInSet(SEATS6, 'frame', 'ipv6'),
    advertised,
    accept,
  );
  rule(icmpv6Type(ICMPV6.neighbourAdvertisement), verdict({ kind: 'drop' }));
  rule(senderInSet(SEATS6, 'frame', 'ipv6'), accept);
}

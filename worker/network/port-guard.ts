/**
 * The nft table that keeps tasks from sending as somebody else: what comes from a guarded port of a
 * bridge must carry the MAC and an address of the seat behind it, in ARP and neighbour discovery too.
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
  fromInterfaceInSet,
  ICMPV6,
  icmpv6Type,
  senderInSet,
  verdict,
} from '../../native/ffi/net/nft-expressions.ts';
import type { NetlinkSocket } from '../../native/ffi/net/sockets.ts';
import { OwnedTable } from './nft-table.ts';

const PORTS = 'ports';
const SEATS = 'seats';
const SEATS6 = 'seats6';
/** Before anything that others do with bridged frames (NF_BR_PRI_NAT_DST_BRIDGED). */
const PRIORITY = -300;

export class PortGuard extends OwnedTable {
  /** link -> the address behind it */
  #ports = new Map<string, string>();
  #subnet6 = '';

  constructor(socket: NetlinkSocket) {
    super(socket, NFPROTO_BRIDGE);
  }

  /** CIDR in which seats have addresses too; takes effect at the next `rebuild`. */
  setSubnet6(subnet6: string): void {
    this.#subnet6 = subnet6;
  }

  /** Before the link is made, so that it never is without. */
  async add(link: string, address: string): Promise<void> {
    await this.change((tx) => {
      this.#remove(tx, link);
      this.#ports.set(link, address);
      this.#introduce(tx, link, address);
    });
  }

  /** The link is gone. */
  async remove(link: string): Promise<void> {
    if (this.#ports.has(link)) await this.change((tx) => this.#remove(tx, link));
  }

  /** What the table is to hold; `differences` and `rebuild` go by it. */
  expect(ports: ReadonlyMap<string, string>): void {
    this.#ports = new Map(ports);
    this.adopt();
  }

  protected override build(table: TableWriter): void {
    table.addSet(PORTS, { keyType: NFT_TYPE.interfaceName, keyBytes: 16 });
    table.addSet(SEATS, { keyType: NFT_TYPE.portSeat, keyBytes: 28 });
    table.addChain('guard', { type: 'filter', hook: 'prerouting', priority: PRIORITY });
    const accept = verdict({ kind: 'accept' });
    table.addRule('guard', [...fromInterfaceInSet(PORTS, true), ...accept]);
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
    if (this.#subnet6 !== '') buildIpv6(table);
    table.addRule('guard', verdict({ kind: 'drop' }));
    for (const [link, address] of this.#ports) this.#introduce(table, link, address);
  }

  #remove(tx: NftTransaction, link: string): void {
    const address = this.#ports.get(link);
    if (address === undefined) return;
    this.#ports.delete(link);
    tx.deleteElements(PORTS, [interfaceKey(link)]);
    tx.deleteElements(SEATS, [portSeatKey(link, macOf(address), address)]);
    if (this.#subnet6 !== '') tx.deleteElements(SEATS6, this.#keys6(link, address));
  }

  #introduce(table: TableWriter, link: string, address: string): void {
    table.addElements(PORTS, [{ key: interfaceKey(link) }]);
    table.addElements(SEATS, [{ key: portSeatKey(link, macOf(address), address) }]);
    if (this.#subnet6 === '') return;
    const keys = this.#keys6(link, address);
    table.addElements(
      SEATS6,
      keys.map((key) => ({ key })),
    );
  }

  /** The address of the network, and the link-local one that neighbour discovery goes by. */
  #keys6(link: string, address: string): Buffer[] {
    const mac = macOf(address);
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

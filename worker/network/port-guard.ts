/**
 * The nft table that keeps tasks from sending as somebody else: what comes from a guarded port of a
 * bridge must carry the MAC and the IPv4 address of the seat behind it, in ARP too. Everything else
 * from there is dropped, IPv6 included. Knows ports and addresses, not whose they are.
 */
import { macOf } from '../../native/ffi/net/address.ts';
import {
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
  senderInSet,
  verdict,
} from '../../native/ffi/net/nft-expressions.ts';
import type { NetlinkSocket } from '../../native/ffi/net/sockets.ts';
import { OwnedTable } from './nft-table.ts';

const PORTS = 'ports';
const SEATS = 'seats';
/** Before anything that others do with bridged frames (NF_BR_PRI_NAT_DST_BRIDGED). */
const PRIORITY = -300;

export class PortGuard extends OwnedTable {
  /** link -> the address behind it */
  #ports = new Map<string, string>();

  constructor(socket: NetlinkSocket) {
    super(socket, NFPROTO_BRIDGE);
  }

  /** Before the link is made, so that it never is without. */
  async add(link: string, address: string): Promise<void> {
    await this.change((tx) => {
      this.#remove(tx, link);
      this.#ports.set(link, address);
      introduce(tx, link, address);
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
    table.addRule('guard', verdict({ kind: 'drop' }));
    for (const [link, address] of this.#ports) introduce(table, link, address);
  }

  #remove(tx: NftTransaction, link: string): void {
    const address = this.#ports.get(link);
    if (address === undefined) return;
    this.#ports.delete(link);
    tx.deleteElements(PORTS, [interfaceKey(link)]);
    tx.deleteElements(SEATS, [portSeatKey(link, macOf(address), address)]);
  }
}

function introduce(table: TableWriter, link: string, address: string): void {
  table.addElements(PORTS, [{ key: interfaceKey(link) }]);
  table.addElements(SEATS, [{ key: portSeatKey(link, macOf(address), address) }]);
}

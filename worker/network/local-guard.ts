/**
 * The nft table that keeps containers outside of services from sending as somebody else: what comes from
 * a port of a bridge of this node must carry the MAC and the address of the seat behind it. Written anew
 * as a whole. Knows ports and addresses, not whose they are.
 */
import {
  interfaceKey,
  NFPROTO_BRIDGE,
  NFT_TYPE,
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
import { LOCAL_TABLE } from './kernel-names.ts';
import { macBytes } from './local-network.ts';
import { OwnedTable } from './nft-table.ts';

const PORTS = 'ports';
const SEATS = 'seats';
/** Before anything that others do with bridged frames (NF_BR_PRI_NAT_DST_BRIDGED). */
const PRIORITY = -300;

export interface GuardedPort {
  readonly link: string;
  readonly address: string;
  /** as text */
  readonly mac: string;
}

export class LocalGuard extends OwnedTable {
  #ports: readonly GuardedPort[] = [];

  constructor(socket: NetlinkSocket) {
    super(socket, NFPROTO_BRIDGE, LOCAL_TABLE);
  }

  /** Replaces what the kernel has. */
  async set(ports: readonly GuardedPort[]): Promise<void> {
    this.#ports = ports;
    await this.rebuild();
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
    table.addElements(
      PORTS,
      this.#ports.map(({ link }) => ({ key: interfaceKey(link) })),
    );
    table.addElements(
      SEATS,
      this.#ports.map(({ link, mac, address }) => ({
        key: portSeatKey(link, macBytes(mac), address),
      })),
    );
  }
}

/**
 * The nft table in a task's namespace: connections to a service's virtual IP go to one of its
 * serving tasks, at once refused when there is none. Knows the table, not how it is decided.
 */
import type { Random } from '../../common/base/random.ts';
import {
  addressKey,
  type IpFamily,
  NFPROTO_IPV4,
  NFPROTO_IPV6,
  NFT_TYPE,
  type NftTransaction,
  type TableWriter,
} from '../../native/ffi/net/nft.ts';
import {
  connectionDirection,
  dnatByMap,
  rejectPortUnreachable,
  type Spread,
  verdictByDestination,
} from '../../native/ffi/net/nft-expressions.ts';
import type { NetlinkSocket } from '../../native/ffi/net/sockets.ts';
import { BackendMap, spreadFor } from './balancer.ts';
import { type EntryRules, writeEntryRules } from './entry-rules.ts';
import { PRIORITY } from './kernel-names.ts';
import { OwnedTable } from './nft-table.ts';

const VIP_VERDICTS = 'vips';

interface BalancedVip {
  readonly map: BackendMap;
  backends: ReadonlySet<string>;
  spread: Spread;
}

const chainOf = (virtualIp: string): string => `vip_${virtualIp}`;

export class TaskRules extends OwnedTable {
  readonly #random: Random;
  readonly #ip: IpFamily;
  readonly #vips = new Map<string, BalancedVip>();
  #entry: EntryRules | null = null;

  constructor(socket: NetlinkSocket, random: Random, family: IpFamily = NFPROTO_IPV4) {
    super(socket, family);
    this.#ip = family;
    this.#random = random;
  }

  /** The virtual IPs balanced here. */
  get virtualIps(): IterableIterator<string> {
    return this.#vips.keys();
  }

  /** How connections from outside find their way back; takes effect at the next `rebuild`. */
  setEntry(entry: EntryRules | null): void {
    this.#entry = entry;
  }

  /**
   * @param changes virtual IP -> its backends; null = it is no longer one
   * @param sticky those of them that keep a client with its backend
   */
  async set(
    changes: ReadonlyMap<string, ReadonlySet<string> | null>,
    sticky: ReadonlySet<string> = new Set(),
  ): Promise<void> {
    const steps = [...changes].filter(([virtualIp, wanted]) => {
      return this.#differs(virtualIp, wanted, spreadFor(sticky.has(virtualIp)));
    });
    if (steps.length === 0) return;
    await this.change((tx) => {
      for (const [virtualIp, wanted] of steps) {
        if (wanted === null) this.#remove(tx, virtualIp);
        else this.#set(tx, virtualIp, wanted, spreadFor(sticky.has(virtualIp)));
      }
    });
  }

  protected override build(table: TableWriter): void {
    const address =
      this.#ip === NFPROTO_IPV6
        ? { keyType: NFT_TYPE.ipv6Address, keyBytes: 16 }
        : { keyType: NFT_TYPE.ipv4Address, keyBytes: 4 };
    table.addSet(VIP_VERDICTS, { ...address, data: 'verdict' });
    table.addChain('output', { type: 'nat', hook: 'output', priority: PRIORITY.dstnat });
    table.addRule('output', verdictByDestination(VIP_VERDICTS, this.#ip));
    for (const [virtualIp, vip] of this.#vips) {
      this.#introduce(table, virtualIp, vip.map);
      this.#writeBalancing(table, virtualIp, vip);
    }
    if (this.#entry) writeEntryRules(table, this.#entry);
  }

  #differs(virtualIp: string, wanted: ReadonlySet<string> | null, spread: Spread): boolean {
    const vip = this.#vips.get(virtualIp);
    const current = vip?.backends;
    if (!vip || !current || !wanted) return (current === undefined) !== (wanted === null);
    if (vip.spread.kind !== spread.kind) return true;
    return current.size !== wanted.size || [...wanted].some((address) => !current.has(address));
  }

  #set(tx: NftTransaction, virtualIp: string, wanted: ReadonlySet<string>, spread: Spread): void {
    const vip = this.#vips.get(virtualIp) ?? this.#create(tx, virtualIp);
    vip.backends = wanted;
    const isOther = vip.spread.kind !== spread.kind;
    vip.spread = spread;
    const resized = vip.map.update(tx, wanted, spread.kind === 'source-hash');
    if (!resized && !isOther) return;
    tx.flushChain(chainOf(virtualIp));
    this.#writeBalancing(tx, virtualIp, vip);
  }

  #create(tx: NftTransaction, virtualIp: string): BalancedVip {
    const vip = {
      map: new BackendMap(`backends_${virtualIp}`, this.#random, this.#ip),
      backends: new Set<string>(),
      spread: spreadFor(false),
    };
    this.#vips.set(virtualIp, vip);
    this.#introduce(tx, virtualIp, vip.map);
    return vip;
  }

  #introduce(table: TableWriter, virtualIp: string, map: BackendMap): void {
    map.write(table);
    table.addChain(chainOf(virtualIp));
    const key = addressKey(virtualIp);
    table.addElements(VIP_VERDICTS, [{ key, data: { kind: 'jump', chain: chainOf(virtualIp) } }]);
  }

  #remove(tx: NftTransaction, virtualIp: string): void {
    const vip = this.#vips.get(virtualIp);
    if (!vip) return;
    this.#vips.delete(virtualIp);
    const key = addressKey(virtualIp);
    tx.deleteElements(VIP_VERDICTS, [key]);
    tx.flushChain(chainOf(virtualIp));
    tx.deleteChain(chainOf(virtualIp));
    tx.deleteSet(vip.map.name);
  }

  /**
   * Asked for the first packet of a connection alone: who is refused has none. The direction is said so that the kernel
   * follows connections at all: in a namespace where no rule asks for them or translates it calls no chain of translation.
   */
  #writeBalancing(table: TableWriter, virtualIp: string, { map, spread }: BalancedVip): void {
    const chain = chainOf(virtualIp);
    if (map.size > 0) table.addRule(chain, dnatByMap(map.name, map.size, null, spread, this.#ip));
    const refused = rejectPortUnreachable(this.#ip);
    table.addRule(chain, [...connectionDirection('original'), ...refused]);
  }
}

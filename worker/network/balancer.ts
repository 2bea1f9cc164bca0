/**
 * One balanced set of backends in an nft table: a map from slot to address. Changes go into a
 * transaction; when that fails, the owner of the table writes it anew from what is remembered here.
 */
import type { Random } from '../../common/base/random.ts';
import {
  addressKey,
  type IpFamily,
  NFPROTO_IPV4,
  NFPROTO_IPV6,
  NFT_TYPE,
  type NftTransaction,
  numberKey,
  type SetElement,
  type TableWriter,
} from '../../native/ffi/net/nft.ts';
import type { Spread } from '../../native/ffi/net/nft-expressions.ts';
import { planSameSlots, planSlots } from './backend-slots.ts';

/** The same seed on every node: a client that enters by another one gets the same slot. */
const SEED = 0x736b6570;

export function spreadFor(clientAffinity: boolean): Spread {
  return clientAffinity ? { kind: 'source-hash', seed: SEED } : { kind: 'round-robin' };
}

export class BackendMap {
  readonly name: string;
  readonly #random: Random;
  readonly #family: IpFamily;
  #slots: readonly string[] = [];

  constructor(name: string, random: Random, family: IpFamily = NFPROTO_IPV4) {
    this.name = name;
    this.#family = family;
    this.#random = random;
  }

  get size(): number {
    return this.#slots.length;
  }

  /** The map with its backends, into a table that does not have it. */
  write(table: TableWriter): void {
    table.addSet(this.name, {
      keyType: NFT_TYPE.mark,
      keyBytes: 4,
      data:
        this.#family === NFPROTO_IPV6
          ? { type: NFT_TYPE.ipv6Address, bytes: 16 }
          : { type: NFT_TYPE.ipv4Address, bytes: 4 },
    });
    table.addElements(this.name, this.#elements(this.#slots.keys()));
  }

  /**
   * True when the number of slots changes: rules that pick from the map must be written again.
   * @param clientAffinity the same backends have the same slots, on every node and after every start
   */
  update(tx: NftTransaction, wanted: ReadonlySet<string>, clientAffinity: boolean): boolean {
    const plan = clientAffinity
      ? planSameSlots(this.#slots, wanted)
      : planSlots(this.#slots, wanted, this.#random);
    const resized = plan.slots.length !== this.#slots.length;
    tx.deleteElements(this.name, plan.deleted.map(numberKey));
    this.#slots = plan.slots;
    tx.addElements(this.name, this.#elements(plan.added));
    return resized;
  }

  #elements(slots: Iterable<number>): SetElement[] {
    return Array.from(slots, (slot) => ({
      key: numberKey(slot),
      data: addressKey(this.#slots[slot] as string),
    }));
  }
}

/**
 * One balanced set of backends in an nft table: a map from slot to address. Writes into a
 * transaction; when that fails, the owner of the table builds it anew (`create` starts empty).
 */
import type { Random } from '../../common/base/random.ts';
import { addressKey, NFT_TYPE, type NftTransaction, numberKey } from '../../native/ffi/net/nft.ts';
import { planSlots } from './backend-slots.ts';

export class BackendMap {
  readonly name: string;
  readonly #random: Random;
  #slots: readonly string[] = [];

  constructor(name: string, random: Random) {
    this.name = name;
    this.#random = random;
  }

  get size(): number {
    return this.#slots.length;
  }

  create(tx: NftTransaction): void {
    this.#slots = [];
    tx.addSet(this.name, {
      keyType: NFT_TYPE.mark,
      keyBytes: 4,
      data: { type: NFT_TYPE.ipv4Address, bytes: 4 },
    });
  }

  /** True when the number of slots changes: rules that pick from the map must be written again. */
  update(tx: NftTransaction, wanted: ReadonlySet<string>): boolean {
    const plan = planSlots(this.#slots, wanted, this.#random);
    const resized = plan.slots.length !== this.#slots.length;
    tx.deleteElements(this.name, plan.deleted.map(numberKey));
    tx.addElements(
      this.name,
      plan.added.map((slot) => ({
        key: numberKey(slot),
        data: addressKey(plan.slots[slot] as string),
      })),
    );
    this.#slots = plan.slots;
    return resized;
  }
}

/**
 * An nft table that we own whole: kept by incremental transactions, built anew in one transaction
 * when one fails or the kernel's contents are unknown. Knows nothing of what the rules are for.
 */
import {
  NFPROTO_IPV4,
  type NftFamily,
  NftTransaction,
  type TableWriter,
} from '../../native/ffi/net/nft.ts';
import { readTable } from '../../native/ffi/net/nft-state.ts';
import type { NetlinkSocket } from '../../native/ffi/net/sockets.ts';
import type { Difference } from './kernel-facts.ts';
import { NFT_TABLE } from './kernel-names.ts';
import { TableImage } from './table-image.ts';

export abstract class OwnedTable {
  readonly #socket: NetlinkSocket;
  readonly #family: NftFamily;
  readonly #name: string;
  /** the kernel has what our memory says */
  #known = false;
  /** `rebuild` was asked for once: from then on memory and kernel are to agree */
  #live = false;

  constructor(socket: NetlinkSocket, family: NftFamily = NFPROTO_IPV4, name = NFT_TABLE) {
    this.#socket = socket;
    this.#family = family;
    this.#name = name;
  }

  /** Writes the whole contents as remembered; the table is there and empty. Changes nothing else. */
  protected abstract build(table: TableWriter): void;

  /** The last transaction failed: `rebuild` is due. */
  get stale(): boolean {
    return this.#live && !this.#known;
  }

  /** Replaces whatever the kernel has by our contents, in one transaction. */
  async rebuild(): Promise<void> {
    this.#live = true;
    this.#known = false;
    const tx = new NftTransaction(this.#name, this.#family);
    tx.addTable();
    tx.deleteTable();
    tx.addTable();
    this.build(tx);
    await tx.commit(this.#socket);
    this.#known = true;
  }

  /** As `rebuild`, of a table that was written once: what is remembered is to be in force. */
  async refresh(): Promise<void> {
    if (this.#live) await this.rebuild();
  }

  /** Takes the table away; success when there is none. What is remembered is written again by the next `rebuild` only. */
  async remove(): Promise<void> {
    this.#live = false;
    this.#known = false;
    const tx = new NftTransaction(this.#name, this.#family);
    tx.addTable();
    tx.deleteTable();
    await tx.commit(this.#socket);
  }

  /** From now on memory and kernel are to agree, though nothing is written yet. */
  protected adopt(): void {
    this.#live = true;
  }

  /** What the kernel has otherwise than we do; all of it when it was never written. */
  async differences(): Promise<Difference[]> {
    const image = new TableImage();
    this.build(image);
    return image.differences(await readTable(this.#socket, this.#family, this.#name));
  }

  /** Applies a step; before the first `rebuild` it changes memory only. */
  protected async change(step: (tx: NftTransaction) => void): Promise<void> {
    const tx = new NftTransaction(this.#name, this.#family);
    const known = this.#known;
    step(tx);
    if (!known) {
      if (this.#live) await this.rebuild();
      return;
    }
    this.#known = false;
    try {
      await tx.commit(this.#socket);
      this.#known = true;
    } catch {
      await this.rebuild(); // somebody else altered the table; a second failure is the caller's
    }
  }
}

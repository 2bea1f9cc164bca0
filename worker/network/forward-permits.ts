/**
 * Other firewalls of the host that drop what is forwarded unless they know it: each of their chains at
 * the hook forward with policy drop gets rules of ours at its head, two for each of our links. What may pass
 * there is decided by our own tables. Known by their comment; nothing else of others is touched.
 */
import { describeError } from '../../common/base/errors.ts';
import {
  type Expression,
  NFPROTO_INET,
  NFPROTO_IPV4,
  NFPROTO_IPV6,
  type NftFamily,
  NftTransaction,
} from '../../native/ffi/net/nft.ts';
import { fromInterface, toInterface, verdict } from '../../native/ffi/net/nft-expressions.ts';
import { type ChainRule, readHookedChains, readRules } from '../../native/ffi/net/nft-state.ts';
import type { NetlinkSocket } from '../../native/ffi/net/sockets.ts';
import type { Difference } from './kernel-facts.ts';
import { LOCAL_NAMES, MADE_NAMES, NFT_TABLE, type OwnNames } from './kernel-names.ts';
import { LegacyPermits } from './legacy-permits.ts';

const ACCEPT = verdict({ kind: 'accept' });

/** For the cluster's links, or for those of networks that this node makes; each knows its own rules by this. */
export type PermitOwner = typeof NFT_TABLE | OwnNames['table'];
const OWNERS: readonly string[] = [NFT_TABLE, LOCAL_NAMES.table, MADE_NAMES.table];

interface Permit {
  readonly comment: string;
  readonly rule: readonly Expression[];
}

interface StrictChain {
  readonly family: NftFamily;
  readonly table: string;
  readonly chain: string;
  readonly rules: readonly ChainRule[];
}

export class ForwardPermits {
  readonly #socket: NetlinkSocket;
  readonly #owner: PermitOwner;
  readonly #legacy: LegacyPermits;
  /** chains that did not take the rules at the last try, and why */
  readonly #refusals = new Map<string, string>();

  /** @param known links for which there may be rules of ours */
  constructor(socket: NetlinkSocket, owner: PermitOwner, known: () => readonly string[]) {
    this.#socket = socket;
    this.#owner = owner;
    this.#legacy = new LegacyPermits(known);
  }

  /** Chains that would drop what goes by `links`. */
  async differences(links: readonly string[]): Promise<Difference[]> {
    const strict = await this.#strictChains();
    const lacking = strict.filter((it) => !this.#isPermitted(it, links));
    return [
      ...lacking.map((it) => ({
        what: `permits in chain ${it.chain} of table ${it.table}`,
        wanted: 'there',
        found: this.#refusals.get(keyOf(it)) ?? null,
      })),
      ...(await this.#legacy.differences(links)),
    ];
  }

  /**
   * Puts the rules for `links`, and no others, where they lack; those that are there in part, or not first, are written
   * again. Never rejects: what belongs to others may refuse, which is no fault of ours. `differences` tells of it.
   */
  async restore(links: readonly string[]): Promise<void> {
    this.#refusals.clear();
    const chains = await this.#strictChains().catch(() => []);
    for (const strict of chains.filter((it) => !this.#isPermitted(it, links))) {
      const { family, table, chain } = strict;
      const tx = new NftTransaction(table, family);
      this.#removeOwn(tx, strict);
      for (const { rule, comment } of this.#permits(links).reverse()) {
        tx.insertRule(chain, rule, comment);
      }
      try {
        await tx.commit(this.#socket);
      } catch (err) {
        this.#refusals.set(keyOf(strict), `refused: ${describeError(err)}`);
      }
    }
    await this.#legacy.restore(links);
  }

  /** Takes the rules out again, from chains of any policy. */
  async remove(): Promise<void> {
    for (const strict of await this.#chains(() => true)) {
      if (!strict.rules.some((rule) => this.#isOwn(rule))) continue;
      const tx = new NftTransaction(strict.table, strict.family);
      this.#removeOwn(tx, strict);
      await tx.commit(this.#socket);
    }
    await this.#legacy.remove();
  }

  #permits(links: readonly string[]): Permit[] {
    return links.flatMap((link) => {
      const comment = `${this.#owner} ${link}`;
      return [
        { comment, rule: [...fromInterface(link), ...ACCEPT] },
        { comment, rule: [...toInterface(link), ...ACCEPT] },
      ];
    });
  }

  #isOwn({ comment }: ChainRule): boolean {
    return ownerOf(comment) === this.#owner;
  }

  /** What we wrote is there as it is wanted, and before it nothing but what is ours as well. */
  #isPermitted({ rules }: StrictChain, links: readonly string[]): boolean {
    const others = rules.findIndex(({ comment }) => !OWNERS.includes(ownerOf(comment)));
    const head = others < 0 ? rules : rules.slice(0, others);
    const wanted = this.#permits(links).map(({ comment }) => comment);
    const found = head.filter((rule) => this.#isOwn(rule)).map(({ comment }) => comment);
    const count = rules.filter((rule) => this.#isOwn(rule)).length;
    return count === found.length && wanted.join() === found.join();
  }

  #removeOwn(tx: NftTransaction, { chain, rules }: StrictChain): void {
    for (const rule of rules) if (this.#isOwn(rule)) tx.deleteRule(chain, rule.handle);
  }

  #strictChains(): Promise<StrictChain[]> {
    return this.#chains(({ policy }) => policy === 'drop');
  }

  async #chains(wanted: (chain: { readonly policy: string }) => boolean): Promise<StrictChain[]> {
    const found: StrictChain[] = [];
    for (const family of [NFPROTO_IPV4, NFPROTO_IPV6, NFPROTO_INET] as const) {
      for (const it of await readHookedChains(this.#socket, family)) {
        if (it.hook !== 'forward' || it.type !== 'filter' || !wanted(it)) continue;
        const { table, chain } = it;
        const rules = await readRules(this.#socket, family, table, chain);
        found.push({ family, table, chain, rules });
      }
    }
    return found;
  }
}

const keyOf = ({ family, table, chain }: StrictChain): string => `${family} ${table} ${chain}`;

/** The first word: the second is the link. */
const ownerOf = (comment: string | null | undefined): string => (comment ?? '').split(' ')[0] ?? '';

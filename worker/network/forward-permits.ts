/**
 * Other firewalls of the host that drop what is forwarded unless they know it: each of their chains at
 * the hook forward with policy drop gets four rules of ours at its head, for our links. What may pass
 * there is decided by our own table. Known by their comment; nothing else of others is touched.
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
import { GATEWAY_BRIDGE, INGRESS_LINK } from './kernel-names.ts';

const COMMENT = 'skep';
const ACCEPT = verdict({ kind: 'accept' });
const PERMITS: readonly (readonly Expression[])[] = [GATEWAY_BRIDGE, INGRESS_LINK].flatMap(
  (link) => [
    [...fromInterface(link), ...ACCEPT],
    [...toInterface(link), ...ACCEPT],
  ],
);

interface StrictChain {
  readonly family: NftFamily;
  readonly table: string;
  readonly chain: string;
  readonly rules: readonly ChainRule[];
}

export class ForwardPermits {
  readonly #socket: NetlinkSocket;
  /** chains that did not take the rules at the last try, and why */
  readonly #refusals = new Map<string, string>();

  constructor(socket: NetlinkSocket) {
    this.#socket = socket;
  }

  /** Chains that would drop what is ours. */
  async differences(): Promise<Difference[]> {
    const strict = await this.#strictChains();
    return strict
      .filter((it) => !isPermitted(it))
      .map((it) => ({
        what: `permits in chain ${it.chain} of table ${it.table}`,
        wanted: 'there',
        found: this.#refusals.get(keyOf(it)) ?? null,
      }));
  }

  /**
   * Puts the rules where they lack; those that are there in part, or not first, are written again. Never
   * rejects: what belongs to others may refuse, which is no fault of ours. `differences` tells of it.
   */
  async restore(): Promise<void> {
    this.#refusals.clear();
    const chains = await this.#strictChains().catch(() => []);
    for (const strict of chains.filter((it) => !isPermitted(it))) {
      const { family, table, chain } = strict;
      const tx = new NftTransaction(table, family);
      removeOwn(tx, strict);
      for (const permit of [...PERMITS].reverse()) tx.insertRule(chain, permit, COMMENT);
      try {
        await tx.commit(this.#socket);
      } catch (err) {
        this.#refusals.set(keyOf(strict), `refused: ${describeError(err)}`);
      }
    }
  }

  /** Takes the rules out again, from chains of any policy. */
  async remove(): Promise<void> {
    for (const strict of await this.#chains(() => true)) {
      const tx = new NftTransaction(strict.table, strict.family);
      removeOwn(tx, strict);
      await tx.commit(this.#socket);
    }
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

const isOwn = ({ comment }: ChainRule): boolean => comment === COMMENT;

function isPermitted({ rules }: StrictChain): boolean {
  return rules.length >= PERMITS.length && PERMITS.every((_, i) => isOwn(rules[i] as ChainRule));
}

function removeOwn(tx: NftTransaction, { chain, rules }: StrictChain): void {
  for (const rule of rules) if (isOwn(rule)) tx.deleteRule(chain, rule.handle);
}

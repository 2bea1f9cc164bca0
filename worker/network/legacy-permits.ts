/**
 * iptables-legacy whose chain FORWARD drops by policy: two rules of ours at its head for each of our links. They have no
 * comment there (a module of its own would be needed), so the links tell whose they are.
 */
import { describeError } from '../../common/base/errors.ts';
import {
  changeLegacyFilter,
  isLegacyBusy,
  LEGACY_FAMILIES,
  type LegacyFamily,
  readLegacyFilter,
} from '../../native/ffi/net/legacy-filter.ts';
import {
  dropsForwarded,
  hasPermits,
  withoutPermits,
  withPermits,
} from '../../native/ffi/net/legacy-table.ts';
import { AF_INET6 } from '../../native/ffi/net/rtnl-family.ts';
import type { Difference } from './kernel-facts.ts';

export class LegacyPermits {
  readonly #known: () => readonly string[];
  /** tables that did not take the rules at the last try, and why */
  readonly #refusals = new Map<LegacyFamily, string>();

  /** @param known links for which there may be rules of ours */
  constructor(known: () => readonly string[]) {
    this.#known = known;
  }

  /** Tables that would drop what goes by `links`. */
  async differences(links: readonly string[]): Promise<Difference[]> {
    const found: Difference[] = [];
    for (const family of LEGACY_FAMILIES) {
      const table = await readLegacyFilter(family);
      if (!table || !dropsForwarded(table) || hasPermits(table, links, this.#known())) continue;
      const command = family === AF_INET6 ? 'ip6tables-legacy' : 'iptables-legacy';
      const what = `permits in chain FORWARD of ${command}`;
      found.push({ what, wanted: 'there', found: this.#refusals.get(family) ?? null });
    }
    return found;
  }

  /** Never rejects: `differences` tells of what is not there. */
  async restore(links: readonly string[]): Promise<void> {
    this.#refusals.clear();
    const known = this.#known();
    for (const family of LEGACY_FAMILIES) {
      try {
        await changeLegacyFilter(family, (table) => {
          const isRight = !dropsForwarded(table) || hasPermits(table, links, known);
          return isRight ? null : withPermits(table, links, known);
        });
      } catch (err) {
        this.#refusals.set(family, `refused: ${describeError(err)}`);
      }
    }
  }

  /** From a table that somebody else does not let go of they are not taken: they permit what goes by links that are gone. */
  async remove(): Promise<void> {
    const known = this.#known();
    for (const family of LEGACY_FAMILIES) {
      try {
        await changeLegacyFilter(family, (table) =>
          hasPermits(table, [], known) ? null : withoutPermits(table, known),
        );
      } catch (err) {
        if (!isLegacyBusy(err)) throw err;
      }
    }
  }
}

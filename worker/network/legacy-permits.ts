/**
 * iptables-legacy whose chain FORWARD drops by policy: two rules of ours at its head for each of our links. They have no
 * comment there (a module of its own would be needed), so the links tell whose they are.
 */
import { describeError, hasCode } from '../../common/base/errors.ts';
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
      const refusal = await this.#whyNot(family, links);
      if (refusal === undefined) continue;
      const command = family === AF_INET6 ? 'ip6tables-legacy' : 'iptables-legacy';
      const what = `permits in chain FORWARD of ${command}`;
      found.push({ what, wanted: 'there', found: refusal });
    }
    return found;
  }

  /** undefined = a table is as it ought to be, null = it lacks them; else why it has not got them, or may not have them. */
  async #whyNot(
    family: LegacyFamily,
    links: readonly string[],
  ): Promise<string | null | undefined> {
    try {
      const table = await readLegacyFilter(family);
      if (!table || !dropsForwarded(table) || hasPermits(table, links, this.#known())) return;
    } catch (err) {
      if (!hasCode(err, 'resource-exhausted')) throw err;
      return describeError(err);
    }
    return this.#refusals.get(family) ?? null;
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

  /** From a table that somebody else does not let go of, or too large, they are not taken: they permit what goes by links that are gone. */
  async remove(): Promise<void> {
    const known = this.#known();
    for (const family of LEGACY_FAMILIES) {
      try {
        await changeLegacyFilter(family, (table) =>
          hasPermits(table, [], known) ? null : withoutPermits(table, known),
        );
      } catch (err) {
        if (!isLegacyBusy(err) && !hasCode(err, 'resource-exhausted')) throw err;
      }
    }
  }
}

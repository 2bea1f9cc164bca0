/**
 * Whether a task's resolver answers as the tables say: asked as the task would ask it, in its namespace. Decides nothing
 * about when.
 */
import dnsPacket from 'dns-packet';
import type { NetworkId } from '../../common/model/ids.ts';
import type { ClusterTables } from './cluster-tables.ts';
import type { DnsAsker } from './dns-asker.ts';
import { RCODE } from './dns-message.ts';
import { lookupName } from './dns-resolver.ts';
import type { Difference } from './kernel-facts.ts';
import { RESOLVER_ADDRESS } from './name-files.ts';

const WHAT = `answer of ${RESOLVER_ADDRESS} to `;

/** A resolver is this process, which asks nobody for its own names. */
export const RESOLVER_TIMEOUT_MS = 1_000;

export interface WantedName {
  readonly name: string;
  /** IPv4, of which some may be answered */
  readonly addresses: readonly string[];
}

export const isOfResolver = ({ what }: Difference): boolean => what.startsWith(WHAT);

/** A service that the task knows, best one with addresses; null = it knows none. */
export function nameToAsk(
  tables: ClusterTables,
  legs: readonly { readonly networkId: NetworkId }[],
): WantedName | null {
  const networkIds = legs.map(({ networkId }) => networkId);
  let known: WantedName | null = null;
  for (const id of networkIds) {
    const table = tables.networks.get(id);
    if (table?.network?.ingress) continue;
    for (const { name } of table?.services.values() ?? []) {
      const addresses = lookupName(tables, { networkIds }, name.toLowerCase());
      if (!addresses) continue;
      known ??= { name, addresses };
      if (addresses.length > 0) return { name, addresses };
    }
  }
  return known;
}

/** @param nsPath of the task */
export async function nameDifferences(
  { name, addresses }: WantedName,
  asker: DnsAsker,
  nsPath: string,
): Promise<Difference[]> {
  const found = await ask(asker, name, nsPath);
  // Of several that share the name those of one may be answered, and of many as many as fit.
  const isOfOurs = found?.every((address) => addresses.includes(address)) ?? false;
  if (isOfOurs && (found?.length === 0) === (addresses.length === 0)) return [];
  const words = (some: readonly string[]): string => [...some].sort().join(' ') || 'no address';
  return [{ what: `${WHAT}${name}`, wanted: words(addresses), found: found && words(found) }];
}

/** null = no answer, or that there is no such name. */
async function ask(asker: DnsAsker, name: string, nsPath: string): Promise<string[] | null> {
  const query = dnsPacket.encode({ type: 'query', questions: [{ type: 'A', name }] });
  const answer = await asker.ask(query, RESOLVER_ADDRESS, 'udp', nsPath);
  if (!answer || (answer.readUInt16BE(2) & 0xf) !== RCODE.noError) return null;
  const { answers = [] } = dnsPacket.decode(answer);
  return answers.flatMap((it) => (it.type === 'A' ? it.data : []));
}

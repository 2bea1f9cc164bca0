/**
 * Resolvers of containers outside of services as subjects of the self-proof: each is asked, as its container would ask it, for
 * names that it knows. Decides nothing about when.
 */
import { existsSync } from 'node:fs';
import type { DnsAsker } from './dns-asker.ts';
import { nameDifferences, type WantedName } from './name-check.ts';
import type { Subject } from './self-proof.ts';

export interface AskedResolver {
  /** for people, e.g. `container 0123456789ab` */
  readonly where: string;
  readonly netnsPath: string;
  /** what it is to answer, as things are now; null = the container is let go of */
  readonly wanted: () => readonly WantedName[] | null;
  readonly reopen: () => Promise<void>;
}

export function resolverSubject(asker: DnsAsker, resolver: AskedResolver): Subject {
  const { where, netnsPath, wanted, reopen } = resolver;
  return {
    where,
    suspect: () => true,
    trust: () => {},
    // Its links are compared with those of the networks.
    differences: async () => [],
    tried: async () => {
      const found = [];
      for (const name of wanted() ?? []) {
        found.push(...(await nameDifferences(name, asker, netnsPath)));
      }
      // One that has ended meanwhile answers nothing, and need not.
      return wanted() !== null && existsSync(netnsPath) ? found : [];
    },
    repair: reopen,
  };
}

/** How connections to a service are spread, as its labels say. A change of them replaces no task. */
import { SkepError } from '../base/errors.ts';
import type { StringMap } from './objects.ts';

/** `client-ip`: a client's connections go to the same task as long as the tasks stay the same. */
export const AFFINITY_LABEL = 'com.skep.affinity';
/** `local-only`: a node answers on published ports with its own tasks or not at all. */
export const INGRESS_LABEL = 'com.skep.ingress';

export interface Balancing {
  readonly clientAffinity: boolean;
  readonly localOnly: boolean;
}

/** Throws `invalid-argument` for a word that means nothing. */
export function balancingOf(labels: StringMap): Balancing {
  return {
    clientAffinity: isChosen(labels, AFFINITY_LABEL, 'client-ip', 'none'),
    localOnly: isChosen(labels, INGRESS_LABEL, 'local-only', 'any-node'),
  };
}

function isChosen(labels: StringMap, label: string, chosen: string, otherwise: string): boolean {
  const value = labels[label] ?? otherwise;
  if (value === chosen || value === otherwise) return value === chosen;
  const words = `label ${label}: '${value}' is neither ${otherwise} nor ${chosen}`;
  throw new SkepError('invalid-argument', words);
}

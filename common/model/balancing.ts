/** How connections to a service are spread, as its labels say. A change of them replaces no task. */
import { SkepError } from '../base/errors.ts';
import type { StringMap } from './objects.ts';

/** `client-ip`: a client's connections go to the same task as long as the tasks stay the same. */
export const AFFINITY_LABEL = 'com.skep.affinity';
/** `local-only`: a node answers on published ports with its own tasks or not at all. */
export const INGRESS_LABEL = 'com.skep.ingress';
/** A whole number: the service's share of the answers for a name that it has in common with others. */
export const WEIGHT_LABEL = 'com.skep.weight';

const WEIGHT_MAX = 1_000;

export interface Balancing {
  readonly clientAffinity: boolean;
  readonly localOnly: boolean;
  /** null = not told; 0 = none while another one serves */
  readonly weight: number | null;
}

/** Nothing is said of it. */
export const NO_BALANCING: Balancing = { clientAffinity: false, localOnly: false, weight: null };

/** Throws `invalid-argument` for a word that means nothing. */
export function balancingOf(labels: StringMap): Balancing {
  return {
    clientAffinity: isChosen(labels, AFFINITY_LABEL, 'client-ip', 'none'),
    localOnly: isChosen(labels, INGRESS_LABEL, 'local-only', 'any-node'),
    weight: weightOf(labels),
  };
}

function isChosen(labels: StringMap, label: string, chosen: string, otherwise: string): boolean {
  const value = labels[label] ?? otherwise;
  if (value === chosen || value === otherwise) return value === chosen;
  const words = `label ${label}: '${value}' is neither ${otherwise} nor ${chosen}`;
  throw new SkepError('invalid-argument', words);
}

function weightOf({ [WEIGHT_LABEL]: text }: StringMap): number | null {
  if (text === undefined) return null;
  if (/^\d{1,4}$/.test(text) && Number(text) <= WEIGHT_MAX) return Number(text);
  const words = `label ${WEIGHT_LABEL}: '${text}' is no whole number from 0 to ${WEIGHT_MAX}`;
  throw new SkepError('invalid-argument', words);
}

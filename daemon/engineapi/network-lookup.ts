/** The network that a user means: this node's own ones and the cluster's, by one rule. Changes nothing. */
import { SkepError } from '../../common/base/errors.ts';
import type { Network } from '../../common/model/network.ts';
import type { NetworkRow } from './json/local-network.ts';
import { nodeNetworkRows } from './node-networks.ts';
import { controlOf, type RouteParts } from './parts.ts';

interface Named {
  readonly id: string;
  readonly name: string;
}

export type FoundNetwork =
  | (Named & { readonly kind: 'own'; readonly row: NetworkRow })
  | (Named & { readonly kind: 'cluster'; readonly network: Network });

type LookupParts = Pick<RouteParts, 'worker' | 'engineId'> & Partial<Pick<RouteParts, 'swarm'>>;

export interface LookupOptions {
  /** '' = every one */
  readonly scope: string;
  readonly signal: AbortSignal;
}

/** '' = every scope. */
export const hasSwarm = (scope: string): boolean => scope === '' || scope === 'swarm';
export const hasOwn = (scope: string): boolean => scope === '' || scope === 'local';

/** By id, then name, then the beginning of an id; null = none. Throws `invalid-argument` when several could be meant. */
export function findNetwork<T extends Named>(ref: string, all: readonly T[]): T | null {
  if (ref === '') return null;
  const steps = [
    { by: 'ID', found: all.filter(({ id }) => id === ref) },
    { by: 'name', found: all.filter(({ name }) => name === ref) },
    { by: 'ID prefix', found: all.filter(({ id }) => id.startsWith(ref)) },
  ];
  const step = steps.find(({ found }) => found.length > 0);
  if (!step) return null;
  if (step.found.length > 1) {
    const words = `network ${ref} is ambiguous (${step.found.length} matches found on ${step.by})`;
    throw new SkepError('invalid-argument', words);
  }
  return step.found[0] ?? null;
}

/** As `findNetwork`, of what the cluster has now. Rejects with what the control API does when that cannot be told. */
export async function lookUpNetwork(
  parts: LookupParts,
  ref: string,
  { scope, signal }: LookupOptions,
): Promise<FoundNetwork | null> {
  const own = hasOwn(scope) ? ownNetworks(parts) : [];
  if (!hasSwarm(scope) || !parts.swarm?.manager) return findNetwork(ref, own);
  // What is named whole needs no word of the leader: a node's own networks are there without one.
  const isOwn = own.some(({ id, name }) => id === ref || name === ref);
  const cluster = isOwn
    ? knownOfCluster(parts)
    : (await controlOf({ swarm: parts.swarm }).listNetworks({}, signal)).map(ofCluster);
  return findNetwork<FoundNetwork>(ref, [...own, ...cluster]);
}

/** As `findNetwork`, of what this node knows. */
export function lookUpKnownNetwork(parts: LookupParts, ref: string): FoundNetwork | null {
  return findNetwork<FoundNetwork>(ref, [...ownNetworks(parts), ...knownOfCluster(parts)]);
}

/** A reference as the worker takes it, which does not know the ids of predefined networks, nor those of the cluster's. */
export function workerRef(parts: LookupParts, ref: string): string {
  return lookUpKnownNetwork(parts, ref)?.name ?? ref;
}

function ownNetworks(parts: LookupParts): FoundNetwork[] {
  return nodeNetworkRows(parts).map((row) => ({ kind: 'own', id: row.Id, name: row.Name, row }));
}

function knownOfCluster({ swarm }: LookupParts): FoundNetwork[] {
  return swarm?.manager?.store.view((view) => view.list('network').map(ofCluster)) ?? [];
}

function ofCluster(network: Network): FoundNetwork {
  return { kind: 'cluster', id: network.id, name: network.spec.name, network };
}

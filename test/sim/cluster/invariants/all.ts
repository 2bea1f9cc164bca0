/** The invariants of the cluster's world; docs/design/simulation.md has them as a table. */
import type { ClusterChecker } from '../checker.ts';
import type { ClusterWorld } from '../world.ts';
import { OneTaskPerSlot } from './slots.ts';

export function clusterInvariants(world: ClusterWorld): ClusterChecker[] {
  return [new OneTaskPerSlot(world)];
}

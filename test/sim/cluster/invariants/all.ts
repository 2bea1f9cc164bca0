/** The invariants of the cluster's world; docs/design/simulation.md has them as a table. */
import type { ClusterChecker } from '../checker.ts';
import type { ClusterWorld } from '../world.ts';
import { GivenOnce } from './addresses.ts';
import { BoundedMessages } from './limits.ts';
import { LivenessIsTrue } from './liveness.ts';
import { LostIsReplaced } from './lost.ts';
import { NodeHasNeeds } from './needs.ts';
import { AllowedNodes } from './placement.ts';
import { NothingNamedIsGone } from './references.ts';
import { OneRun } from './runs.ts';
import { SetsAreWhole } from './sets.ts';
import { OneTaskPerSlot } from './slots.ts';
import { NoLostStatus } from './statuses.ts';
import { SameStores } from './stores.ts';
import { AcknowledgedStays } from './writes.ts';

/** Number 2, that everything asked for is reached, is judged by `life.ts`. */
export function clusterInvariants(world: ClusterWorld): ClusterChecker[] {
  return [
    new OneTaskPerSlot(world),
    new AcknowledgedStays(world),
    new AllowedNodes(world),
    new GivenOnce(),
    new NoLostStatus(world),
    new OneRun(world),
    new NodeHasNeeds(world),
    new LivenessIsTrue(world),
    new BoundedMessages(world),
    new SameStores(world),
    new LostIsReplaced(world),
    new NothingNamedIsGone(),
    new SetsAreWhole(),
  ];
}

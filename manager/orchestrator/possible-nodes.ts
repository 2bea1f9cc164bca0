/** A rough forecast of placement, for a seat whose next task the scheduler has not seen yet. */
import { nodeMeetsConstraints, storedConstraints } from '../../common/model/constraint.ts';
import type { ServiceWorld } from './world.ts';

/** How long after a "no" to ask again: nodes that are no seat's do not tell us that they have changed. */
export const POSSIBLE_AGAIN_MS = 5_000;

/**
 * Whether a node takes new tasks, meets the service's constraints, and has in all what a task reserves of CPUs and memory. What
 * other tasks have there is the scheduler's affair. The nodes are looked at once, when it is first asked.
 */
export function possibleNode({
  nodes,
  service,
}: Pick<ServiceWorld, 'nodes' | 'service'>): () => boolean {
  let known: boolean | null = null;
  const look = (): boolean => {
    const { placement, resources } = service.spec.task;
    const constraints = storedConstraints(placement.constraints);
    const { nanoCpus, memoryBytes } = resources.reservations;
    return nodes.some((node) => {
      const { status, spec, description } = node;
      if (status.state !== 'ready' || spec.availability !== 'active') return false;
      if (nanoCpus > (description?.nanoCpus ?? 0)) return false;
      if (memoryBytes > (description?.memoryBytes ?? 0)) return false;
      return nodeMeetsConstraints(node, constraints);
    });
  };
  return () => {
    known ??= look();
    return known;
  };
}

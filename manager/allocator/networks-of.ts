/** Which allocated networks a task spec names. */
import { asId, type NetworkId } from '../../common/model/ids.ts';
import type { NetworkAttachmentConfig } from '../../common/model/service.ts';
import type { ReadView } from '../store/types.ts';
import { type AllocatedNetwork, type AllocationBook, isOverlay } from './allocation-book.ts';
import type { Problem } from './problem.ts';

/** Networks of the machine itself: no object in the store, no addresses from us. */
const LOCAL_NETWORKS: ReadonlySet<string> = new Set(['host', 'bridge', 'none']);

/**
 * The overlay networks of `configs` in their order, without repetition, the ingress network first
 * when `ingress`; or which of them is missing or not set up. Networks of other drivers are left out.
 */
export function requireNetworks(
  book: AllocationBook,
  view: ReadView,
  configs: readonly NetworkAttachmentConfig[],
  ingress: boolean,
): AllocatedNetwork[] | Problem {
  const found = new Map<NetworkId, AllocatedNetwork>();
  if (ingress) {
    const entry = book.ingress;
    if (!entry) return { problem: 'ports are published, but there is no ingress network' };
    found.set(entry.network.id, entry);
  }
  for (const { target } of configs) {
    const id = asId<NetworkId>(target);
    const entry = book.networks.get(id);
    if (entry) {
      found.set(id, entry);
      continue;
    }
    const network = view.get('network', id);
    if (!network && LOCAL_NETWORKS.has(target)) continue;
    if (!network) return { problem: `network ${target} not found` };
    if (isOverlay(network)) {
      const obstacle = book.obstacles.get(id);
      return { problem: obstacle ?? `network '${network.spec.name}' has no subnet yet` };
    }
  }
  return [...found.values()];
}

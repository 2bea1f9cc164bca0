/** Which allocated networks a task spec names. */
import { asId, type NetworkId } from '../../common/model/ids.ts';
import { isNodeMade, isOverlay, type Network } from '../../common/model/network.ts';
import { isPredefinedNetwork } from '../../common/model/predefined-networks.ts';
import type { NetworkAttachmentConfig } from '../../common/model/service.ts';
import type { ReadView } from '../store/types.ts';
import type { AllocatedNetwork, AllocationBook } from './allocation-book.ts';
import type { Problem } from './problem.ts';

/**
 * The overlay networks of `configs` in their order, without repetition, the ingress network first
 * when `ingress`; or which of them is missing or not set up. Those whose addresses nodes give are left out
 * (`nodeMadeNetworks`), and those that each node has by itself: no object in the store.
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
    if (isPredefinedNetwork(target)) continue;
    const id = asId<NetworkId>(target);
    const entry = book.networks.get(id);
    if (entry) {
      found.set(id, entry);
      continue;
    }
    const network = view.get('network', id);
    if (!network) return { problem: `network ${target} not found` };
    if (isOverlay(network.spec)) {
      const obstacle = book.obstacles.get(id);
      return { problem: obstacle ?? `network '${network.spec.name}' has no subnet yet` };
    }
  }
  return [...found.values()];
}

/** Those of `configs` whose links each node makes itself: a task is in them without an address from here. */
export function nodeMadeNetworks(
  view: ReadView,
  configs: readonly NetworkAttachmentConfig[],
): Network[] {
  return configs.flatMap(({ target }) => {
    const network = isPredefinedNetwork(target)
      ? undefined
      : view.get('network', asId<NetworkId>(target));
    return network && isNodeMade(network.spec) ? [network] : [];
  });
}

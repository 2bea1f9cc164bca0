/**
 * The filters, in the order in which they are asked; the first refusal counts. Swarm's order.
 * Cluster volumes have none: the control API refuses them.
 */
import type { Filter } from './filter.ts';
import { hostPort, maxReplicas, resource } from './load-filters.ts';
import { constraint, platform, plugin, ready } from './node-filters.ts';

export const FILTERS: readonly Filter[] = [
  ready,
  resource,
  plugin,
  constraint,
  platform,
  hostPort,
  maxReplicas,
];

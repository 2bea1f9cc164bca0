/**
 * The filters, in the order in which they are asked; the first refusal counts. Swarm's order;
 * that for devices is ours.
 * Cluster volumes have none: the control API refuses them.
 */
import type { Filter } from './filter.ts';
import { hostPort, maxReplicas, resource } from './load-filters.ts';
import { constraint, device, platform, plugin, ready } from './node-filters.ts';

export const FILTERS: readonly Filter[] = [
  ready,
  resource,
  plugin,
  device,
  constraint,
  platform,
  hostPort,
  maxReplicas,
];

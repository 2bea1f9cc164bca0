/**
 * The filters, in the order in which they are asked; the first refusal counts. Swarm's order;
 * those for devices and for companions are ours.
 * Cluster volumes have none: the control API refuses them.
 */
import type { Filter } from './filter.ts';
import { companion, hostPort, maxReplicas, resource } from './load-filters.ts';
import { constraint, device, platform, plugin, ready } from './node-filters.ts';

export const FILTERS: readonly Filter[] = [
  ready,
  resource,
  plugin,
  device,
  constraint,
  platform,
  companion,
  hostPort,
  maxReplicas,
];

/** Is everything as it was asked for? An oracle of its own: it reads specs, tasks and machines. */
import type { ClusterWorld } from './world.ts';

/** What is not so yet, in words; null = all is. */
export function unmet(world: ClusterWorld): string | null {
  for (const host of world.hosts.values()) {
    if (!host.gone && !host.isUp) return `machine ${host.id} is not up`;
  }
  if (world.leader() === null) return 'nobody leads';
  return null;
}

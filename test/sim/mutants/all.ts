/** All bugs that are planted. To add one: docs/design/simulation.md. */
import type { WorldName } from '../options.ts';
import { CLUSTER_MUTANTS } from './cluster.ts';
import { CORE_MUTANTS } from './core.ts';
import { DRIVER_MUTANTS } from './driver.ts';
import type { Mutant } from './mutant.ts';
import { STORAGE_MUTANTS } from './storage.ts';

const RAFT_MUTANTS: readonly Mutant[] = [...CORE_MUTANTS, ...DRIVER_MUTANTS, ...STORAGE_MUTANTS];

export const MUTANTS: readonly Mutant[] = [...RAFT_MUTANTS, ...CLUSTER_MUTANTS];

/** Those that a world is to find. */
export function mutantsOf(world: WorldName): readonly Mutant[] {
  return world === 'raft' ? RAFT_MUTANTS : CLUSTER_MUTANTS;
}

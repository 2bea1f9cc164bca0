/** Bugs of the rooms of a manager and of the agent. */
import type { Mutant } from './mutant.ts';

export const CLUSTER_MUTANTS: readonly Mutant[] = [];

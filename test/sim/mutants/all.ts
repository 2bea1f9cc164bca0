/** All bugs that are planted. To add one: docs/design/simulation.md. */
import { CORE_MUTANTS } from './core.ts';
import { DRIVER_MUTANTS } from './driver.ts';
import type { Mutant } from './mutant.ts';
import { STORAGE_MUTANTS } from './storage.ts';

export const MUTANTS: readonly Mutant[] = [...CORE_MUTANTS, ...DRIVER_MUTANTS, ...STORAGE_MUTANTS];

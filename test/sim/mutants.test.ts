import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { clusterInvariants } from './cluster/invariants/all.ts';
import type { ClusterWorld } from './cluster/world.ts';
import { MUTANTS } from './mutants/all.ts';
import { CLUSTER_MUTANTS } from './mutants/cluster.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

describe('planted bugs', () => {
  test.each(MUTANTS)('$name can be planted', (mutant) => {
    for (const { file, find, replace } of [mutant, ...(mutant.also ?? [])]) {
      const source = readFileSync(`${ROOT}${file}`, 'utf8');
      expect(source.split(find)).toHaveLength(2);
      expect(replace).not.toBe(find);
    }
  });

  test('are there for each invariant of the world of clusters', () => {
    const noticed = new Set(CLUSTER_MUTANTS.flatMap(({ invariants }) => invariants));
    const judges = clusterInvariants({} as ClusterWorld); // nothing happens in it
    for (const { number, name } of judges) expect(noticed, name).toContain(number);
  });

  test('have names of their own', () => {
    expect(new Set(MUTANTS.map(({ name }) => name)).size).toBe(MUTANTS.length);
  });
});

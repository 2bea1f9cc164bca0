import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { MUTANTS } from './mutants/all.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

describe('planted bugs', () => {
  test.each(MUTANTS)('$name can be planted', (mutant) => {
    for (const { file, find, replace } of [mutant, ...(mutant.also ?? [])]) {
      const source = readFileSync(`${ROOT}${file}`, 'utf8');
      expect(source.split(find)).toHaveLength(2);
      expect(replace).not.toBe(find);
    }
  });

  test('have names of their own', () => {
    expect(new Set(MUTANTS.map(({ name }) => name)).size).toBe(MUTANTS.length);
  });
});

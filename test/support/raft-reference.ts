/**
 * Suites of scenario scripts. Those of etcd/raft are not part of this repository: they run where
 * they are at hand and are skipped, visibly, where not.
 */
import { existsSync } from 'node:fs';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { checkScript, findScripts } from './raft-conformance.ts';

const REFERENCE = fileURLToPath(
  new URL('../../../shared/reference/raft-testdata', import.meta.url),
);
const OWN = fileURLToPath(new URL('../scenarios/raft', import.meta.url));

export function describeReferenceSuite(
  suite: 'quorum' | 'confchange' | 'interaction',
  title: string,
): void {
  const folder = join(REFERENCE, suite);
  describe(title, () => {
    if (existsSync(folder)) testScripts(folder);
    else test.skip(`etcd/raft test data is not at ${folder}`, () => {});
  });
}

export function describeOwnScenarios(title: string): void {
  describe(title, () => testScripts(OWN));
}

function testScripts(folder: string): void {
  test.each(findScripts(folder).map((path) => ({ name: basename(path, '.txt'), path })))(
    '$name',
    ({ path }) => {
      const { directives, failures } = checkScript(path, { exact: true });
      expect(failures.map(({ line, command, diff }) => `${line}: ${command}\n${diff}`)).toEqual([]);
      expect(directives).toBeGreaterThan(0);
    },
  );
}

// The same operations, stack files among them, on skep and on Debian's Docker engine: each field agrees, or docs/differences.md
// says why not. Where no engine is to be had skep is compared with what it answered when one was.
import { describe, expect, test } from 'vitest';
import { clusterTestsCanRun, REPOSITORY, run } from '../support/cluster.ts';

/** Status of a comparison with an engine that cannot be had here. */
const SKIPPED = 77;

async function compared(...flags: readonly string[]) {
  const argv = ['node', '--import', 'tsx', 'test/differential/main.ts', ...flags];
  return run(argv, { cwd: REPOSITORY, limitMs: 580_000 });
}

describe.skipIf(!clusterTestsCanRun)('two hundred operations', () => {
  /** null = it was compared with Docker */
  let whyNot: string | null = 'the comparison with Docker did not run';

  test('come to what they come to on Docker', { timeout: 600_000 }, async ({ skip }) => {
    const { code, stdout, stderr } = await compared('--docker');
    whyNot = code === SKIPPED ? stderr.trim() : null;
    skip(code === SKIPPED, whyNot ?? '');
    expect(stdout, stderr).toMatch(/^operations=\d{3} against=docker,recorded unknown=0$/m);
    expect(code).toBe(0);
  });

  test('come to what was recorded', { timeout: 600_000 }, async ({ skip }) => {
    skip(whyNot === null, 'they were compared with Docker itself');
    const { code, stdout, stderr } = await compared();
    expect(stdout, stderr).toMatch(/^operations=\d{3} against=recorded unknown=0$/m);
    expect(code).toBe(0);
  });
});

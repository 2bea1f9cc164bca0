// What skep answers is what it answered when it was last compared with Docker; and the same stack files, compared now.
import { describe, expect, test } from 'vitest';
import { clusterTestsCanRun, REPOSITORY, run } from '../support/cluster.ts';

/** Status of a comparison with an engine that cannot be had here. */
const SKIPPED = 77;

async function compared(...flags: readonly string[]) {
  const argv = ['node', '--import', 'tsx', 'test/differential/main.ts', ...flags];
  return run(argv, { cwd: REPOSITORY, limitMs: 280_000 });
}

describe.skipIf(!clusterTestsCanRun)('two hundred operations', () => {
  test('come to what was recorded', { timeout: 300_000 }, async () => {
    const { code, stdout, stderr } = await compared();
    expect(stdout, stderr).toMatch(/^operations=\d{3} against=recorded unknown=0$/m);
    expect(code).toBe(0);
  });
});

describe.skipIf(!clusterTestsCanRun)('stack files', () => {
  test('become the same services on Docker', { timeout: 300_000 }, async ({ skip }) => {
    const { code, stdout, stderr } = await compared('--docker', '--only', 'stack files');
    skip(code === SKIPPED, stderr.trim());
    expect(stdout, stderr).toMatch(/^operations=3 against=docker unknown=0$/m);
    expect(code).toBe(0);
  });
});

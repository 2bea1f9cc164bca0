// What skep answers is what it answered when it was last compared with Docker.
import { describe, expect, test } from 'vitest';
import { clusterTestsCanRun, REPOSITORY, run } from '../support/cluster.ts';

describe.skipIf(!clusterTestsCanRun)('two hundred operations', () => {
  test('come to what was recorded', { timeout: 300_000 }, async () => {
    const argv = ['node', '--import', 'tsx', 'test/differential/main.ts'];
    const { code, stdout, stderr } = await run(argv, { cwd: REPOSITORY, limitMs: 280_000 });
    expect(stdout, stderr).toMatch(/^operations=\d{3} against=recorded unknown=0$/m);
    expect(code).toBe(0);
  });
});

import { describe, expect, test } from 'vitest';
import { RaftNodeLife } from '../support/raft-node-life.ts';

const SEEDS = 25;
const STEPS = 250;

describe('whole raft nodes under faults', () => {
  test.each(Array.from({ length: SEEDS }, (_, i) => i + 1))('seed %i', async (seed) => {
    const report = await new RaftNodeLife(seed).run(STEPS);
    expect(report.acknowledged + report.unknown + report.refused).toBeGreaterThan(0);
  });
});

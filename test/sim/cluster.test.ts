import { describe, expect, test } from 'vitest';
import { runClusterSeed } from './cluster/life.ts';
import { SimWorker } from './workers.ts';

/** Those of `npm run check`; `scripts/test` runs 300. */
const SEEDS = 10;
const TRACE_LINES = 40;
/** Nothing but computing: seconds for a seed, times what else the machine does. */
const LIMIT = { timeout: 180_000 };

async function mustHold(seed: number): Promise<void> {
  const { violation, lastLines } = await runClusterSeed(seed, TRACE_LINES);
  if (violation === null) return;
  const command = `npm run sim -- --world cluster --seed ${seed}`;
  violation.message += `\n${lastLines.join('\n')}\nreplay with: ${command}`;
  throw violation;
}

describe('whole clusters under faults', LIMIT, () => {
  test.each(Array.from({ length: SEEDS }, (_, i) => 10_001 + i))('seed %i holds', mustHold);
});

describe('one seed of a cluster', LIMIT, () => {
  test('has one trace, byte for byte, also in another process and after other runs', async () => {
    const worker = new SimWorker('cluster');
    try {
      for (const seed of [10_012, 10_013]) {
        const here = await runClusterSeed(seed, TRACE_LINES);
        const again = await runClusterSeed(seed, TRACE_LINES);
        const there = await worker.run(seed, TRACE_LINES);
        expect(here.violation).toBeNull();
        expect(here.traceLines).toBeGreaterThan(400);
        expect([again.traceHash, there.traceHash]).toEqual([here.traceHash, here.traceHash]);
      }
    } finally {
      worker.stop();
    }
  });

  test('has another trace than other seeds', async () => {
    const [one, other] = [
      await runClusterSeed(3, TRACE_LINES),
      await runClusterSeed(4, TRACE_LINES),
    ];
    expect(one.traceHash).not.toBe(other.traceHash);
  });
});

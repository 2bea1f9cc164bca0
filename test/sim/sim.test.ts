import { describe, expect, test } from 'vitest';
import { runSeed } from './life.ts';
import { KEPT_SEEDS } from './seeds.ts';
import { SimWorker } from './workers.ts';

/** Those of `npm run check`; `scripts/test` runs 1,000. */
const SEEDS = 25;
const TRACE_LINES = 40;
/** Nothing but computing: seconds for a seed, times what else the machine does. */
const LIMIT = { timeout: 180_000 };

async function mustHold(seed: number): Promise<void> {
  const { violation, lastLines } = await runSeed(seed, TRACE_LINES);
  if (violation === null) return;
  violation.message += `\n${lastLines.join('\n')}\nreplay with: npm run sim -- --seed ${seed}`;
  throw violation;
}

describe('whole raft nodes under faults', LIMIT, () => {
  test.each(Array.from({ length: SEEDS }, (_, i) => 10_001 + i))('seed %i holds', mustHold);

  test.each(KEPT_SEEDS)('seed $seed holds, which found: $found', ({ seed }) => mustHold(seed));
});

describe('one seed', LIMIT, () => {
  test('has one trace, byte for byte, also in another process and after other runs', async () => {
    const worker = new SimWorker('raft');
    try {
      for (const seed of [3, 11]) {
        const here = await runSeed(seed, TRACE_LINES);
        const again = await runSeed(seed, TRACE_LINES);
        const there = await worker.run(seed, TRACE_LINES);
        expect(here.traceLines).toBeGreaterThan(1_000);
        expect([again.traceHash, there.traceHash]).toEqual([here.traceHash, here.traceHash]);
      }
    } finally {
      worker.stop();
    }
  });

  test('has another trace than other seeds', async () => {
    const [one, other] = [await runSeed(3, TRACE_LINES), await runSeed(4, TRACE_LINES)];
    expect(one.traceHash).not.toBe(other.traceHash);
  });
});

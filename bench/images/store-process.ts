/** A process with an image store, as the daemon has one: what its loop and its memory have of the work. */
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { UnpackPool } from '../../worker/images/unpack-pool.ts';
import { serve } from '../support/helper-process.ts';
import { openStore } from './store.ts';

export interface Cost {
  readonly ms: number;
  /** longest time that a timer came late */
  readonly lagMs: number;
  /** of resident memory, from before the work to its largest */
  readonly rssGrowthBytes: number;
}

const RESOLUTION_MS = 2;
const RSS_PERIOD_MS = 20;

async function costOf(work: () => Promise<unknown>): Promise<Cost> {
  globalThis.gc?.();
  const beforeBytes = process.memoryUsage.rss();
  let mostBytes = beforeBytes;
  const sampler = setInterval(() => {
    mostBytes = Math.max(mostBytes, process.memoryUsage.rss());
  }, RSS_PERIOD_MS);
  const lag = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  lag.enable();
  const beganMs = performance.now();
  await work();
  const ms = performance.now() - beganMs;
  lag.disable();
  clearInterval(sampler);
  return { ms, lagMs: lag.max / 1e6 - RESOLUTION_MS, rssGrowthBytes: mostBytes - beforeBytes };
}

const operations = {
  unpack(job: { blobPath: string; diffId: string; targetDir: string }): Promise<Cost> {
    const pool = new UnpackPool();
    return costOf(async () => {
      await pool.unpack(job, new AbortController().signal);
      await pool.stop();
    });
  },

  async pull({ dir, name }: { dir: string; name: string }): Promise<Cost> {
    const store = await openStore(dir);
    try {
      return await costOf(() => store.pull(name, null));
    } finally {
      await store.stop();
    }
  },
};

export type StoreOperations = typeof operations;
serve(operations);

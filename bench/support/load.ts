/** Closed-loop load: so many requests in flight, each followed by the next. */
import { percentile } from './statistics.ts';

export interface Load {
  readonly inFlight: number;
  /** Measured stretch; as much as a quarter of it goes before, unmeasured. */
  readonly durationMs: number;
}

export interface LoadResult {
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

/** @param request one request; a rejection ends the load and is thrown */
export async function runLoad(load: Load, request: () => Promise<unknown>): Promise<LoadResult> {
  const { inFlight, durationMs } = load;
  const startMs = performance.now() + durationMs / 4;
  const endMs = startMs + durationMs;
  const latenciesMs: number[] = [];
  const loop = async (): Promise<void> => {
    for (let sentMs = performance.now(); sentMs < endMs; ) {
      await request();
      const doneMs = performance.now();
      if (sentMs >= startMs && doneMs < endMs) latenciesMs.push(doneMs - sentMs);
      sentMs = doneMs;
    }
  };
  await Promise.all(Array.from({ length: inFlight }, loop));
  return {
    perSecond: (latenciesMs.length * 1000) / durationMs,
    p50Ms: percentile(latenciesMs, 0.5),
    p99Ms: percentile(latenciesMs, 0.99),
  };
}

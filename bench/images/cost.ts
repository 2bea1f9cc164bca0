/** What work costs the process that it is done in, besides time. */
import { type IntervalHistogram, monitorEventLoopDelay } from 'node:perf_hooks';

export interface Cost {
  /** longest time that a timer came late */
  readonly lagMs: number;
  /** of resident memory, from before the work to its largest */
  readonly rssGrowthBytes: number;
}

const RESOLUTION_MS = 2;
const RSS_PERIOD_MS = 20;

/** Measures this process from its making to `end`. */
export class CostMeter {
  readonly #beforeBytes: number;
  readonly #lag: IntervalHistogram = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  readonly #sampler: NodeJS.Timeout;
  #mostBytes: number;

  constructor() {
    globalThis.gc?.();
    this.#beforeBytes = process.memoryUsage.rss();
    this.#mostBytes = this.#beforeBytes;
    this.#sampler = setInterval(() => this.#sample(), RSS_PERIOD_MS);
    this.#lag.enable();
  }

  end(): Cost {
    this.#sample();
    clearInterval(this.#sampler);
    this.#lag.disable();
    return {
      lagMs: this.#lag.max / 1e6 - RESOLUTION_MS,
      rssGrowthBytes: this.#mostBytes - this.#beforeBytes,
    };
  }

  #sample(): void {
    this.#mostBytes = Math.max(this.#mostBytes, process.memoryUsage.rss());
  }
}

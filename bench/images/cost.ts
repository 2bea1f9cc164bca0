/** What work costs the process that it is done in, besides time. */
import { TurnWatch } from '../support/turn-watch.ts';

export interface Cost {
  /** longest time that a timer came late */
  readonly lagMs: number;
  /** longest turn of the event loop, CPU time of its thread: what of the lag is the process's own doing on a busy machine */
  readonly turnMs: number;
  /** of resident memory, from before the work to its largest */
  readonly rssGrowthBytes: number;
}

const RSS_PERIOD_MS = 20;

/** Measures this process from its making to `end`. */
export class CostMeter {
  readonly #beforeBytes: number;
  readonly #turns = new TurnWatch();
  readonly #sampler: NodeJS.Timeout;
  #mostBytes: number;

  constructor() {
    globalThis.gc?.();
    this.#beforeBytes = process.memoryUsage.rss();
    this.#mostBytes = this.#beforeBytes;
    this.#sampler = setInterval(() => this.#sample(), RSS_PERIOD_MS);
    this.#turns.start();
  }

  end(): Cost {
    const { wallMs, cpuMs } = this.#turns.stop();
    this.#sample();
    clearInterval(this.#sampler);
    return {
      lagMs: wallMs,
      turnMs: cpuMs,
      rssGrowthBytes: this.#mostBytes - this.#beforeBytes,
    };
  }

  #sample(): void {
    this.#mostBytes = Math.max(this.#mostBytes, process.memoryUsage.rss());
  }
}

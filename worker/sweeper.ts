/** Has every room look for what belongs to nothing, again and again. Knows neither the rooms nor their things. */
import type { Clock, Timer } from '../common/base/clock.ts';
import type { Logger } from '../common/base/log.ts';

export interface SweeperOptions {
  /** one after another; each may reject */
  readonly sweeps: readonly (() => Promise<void>)[];
  readonly clock: Clock;
  readonly log: Logger;
}

const PERIOD_MS = 60_000;

/** INVARIANT: one round at a time; one that takes long makes the next one late. */
export class Sweeper {
  readonly #options: SweeperOptions;
  #timer: Timer | null = null;
  #round: Promise<void> = Promise.resolve();
  #stopped = false;

  constructor(options: SweeperOptions) {
    this.#options = options;
  }

  /** The first round comes after a minute: a start of the rooms sweeps too. */
  async start(): Promise<void> {
    this.#arm();
  }

  /** Idempotent. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#timer?.cancel();
    await this.#round;
  }

  #arm(): void {
    if (this.#stopped) return;
    this.#timer = this.#options.clock.setTimer(PERIOD_MS, () => {
      this.#round = this.#sweep().then(() => this.#arm());
    });
  }

  async #sweep(): Promise<void> {
    for (const sweep of this.#options.sweeps) {
      if (this.#stopped) return;
      try {
        await sweep();
      } catch (err) {
        this.#options.log.warn({ err }, 'sweep failed');
      }
    }
  }
}

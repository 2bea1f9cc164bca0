/** The clocks of a process on a machine. */
import { ProcessClock, type SimClock } from '../clock.ts';

/** As wrong as the machine's clock is: every life of a process sees the same wall. */
export class HostClock extends ProcessClock {
  readonly #clock: SimClock;
  readonly #originMs: number;
  readonly #errorMs: number;

  constructor(clock: SimClock, host: number, isAlive: () => boolean, errorMs: number) {
    super(clock, { owner: host, rate: () => 1, isAlive, ticked: () => {} });
    this.#clock = clock;
    this.#originMs = clock.nowMs;
    this.#errorMs = errorMs;
  }

  override monotonicMs(): number {
    return this.#clock.nowMs - this.#originMs;
  }

  override wallMs(): number {
    return Math.floor(Date.UTC(2026, 0, 1) + this.#clock.nowMs + this.#errorMs);
  }
}

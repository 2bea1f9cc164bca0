/**
 * The longest turn of the event loop: how late a timer of 1 ms comes, as it would a heartbeat. On a busy
 * machine a process also waits for a core, which is nothing that it does: the kernel counts that time
 * (run delay in /proc/self/schedstat, nanoseconds), and it is taken off.
 */
import { readFileSync } from 'node:fs';

const PERIOD_MS = 1;

export interface LongestTurns {
  /** Without the time spent waiting for a core. */
  readonly ownMs: number;
  /** With it. */
  readonly wallMs: number;
}

export class TurnWatch {
  #ownMs = 0;
  #wallMs = 0;
  #lastMs = 0;
  #lastDelayMs = 0;
  #timer: NodeJS.Timeout | null = null;

  start(): void {
    this.#ownMs = 0;
    this.#wallMs = 0;
    this.#lastMs = performance.now();
    this.#lastDelayMs = runDelayMs();
    this.#timer = setInterval(() => this.#look(), PERIOD_MS);
  }

  stop(): LongestTurns {
    this.#look();
    clearInterval(this.#timer ?? undefined);
    this.#timer = null;
    return { ownMs: this.#ownMs, wallMs: this.#wallMs };
  }

  #look(): void {
    const nowMs = performance.now();
    const delayMs = runDelayMs();
    const lateMs = nowMs - this.#lastMs - PERIOD_MS;
    this.#wallMs = Math.max(this.#wallMs, lateMs);
    this.#ownMs = Math.max(this.#ownMs, lateMs - (delayMs - this.#lastDelayMs));
    this.#lastMs = nowMs;
    this.#lastDelayMs = delayMs;
  }
}

/** Time in which the main thread of this process could have run and waited for a core, ms. */
export function runDelayMs(): number {
  return Number(readFileSync('/proc/self/schedstat', 'latin1').split(' ')[1]) / 1e6;
}

/**
 * Heartbeats of one session, at the period that the dispatcher chooses, and whether they are answered: a
 * manager that is cut off, stopped or hung says nothing.
 */
import type { Clock, Timer } from '../../common/base/clock.ts';
import type { Random } from '../../common/base/random.ts';

/** Heartbeats are spread by +-10 %, so that a thousand agents do not beat as one. */
const JITTER = 0.1;
/** The manager is given up with the beat before which so many were not answered, */
const UNANSWERED_MAX = 2;
/** and the oldest of them for so long. */
const ANSWER_LIMIT_MS = 3_500;

export interface PulseOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly beat: () => void;
  readonly onAnswer: (elapsedMs: number) => void;
  /** Told once; it beats no more. */
  readonly onSilence: () => void;
}

/** Begins with the first `setPeriod`. */
export class Pulse {
  readonly #options: PulseOptions;
  #periodMs = 0;
  #timer: Timer | null = null;
  /** when the beats that wait for an answer were sent, the oldest first */
  #unanswered: number[] = [];

  constructor(options: PulseOptions) {
    this.#options = options;
  }

  /** What is no period (0, less, no number) changes nothing: a timer of 0 ms is a loop. */
  setPeriod(periodMs: number): void {
    if (!(periodMs > 0) || periodMs === this.#periodMs) return;
    this.#periodMs = periodMs;
    this.stop();
    this.#schedule();
  }

  answered(): void {
    const sentMs = this.#unanswered.shift();
    if (sentMs !== undefined) this.#options.onAnswer(this.#options.clock.monotonicMs() - sentMs);
  }

  stop(): void {
    this.#timer?.cancel();
    this.#timer = null;
  }

  #schedule(): void {
    const { clock, random } = this.#options;
    const spread = 1 + JITTER * (2 * random.unit() - 1);
    this.#timer = clock.setTimer(this.#periodMs * spread, () => {
      const nowMs = clock.monotonicMs();
      const [oldestMs = nowMs] = this.#unanswered;
      if (this.#unanswered.length >= UNANSWERED_MAX && nowMs - oldestMs >= ANSWER_LIMIT_MS) {
        this.#options.onSilence();
        return;
      }
      this.#unanswered.push(nowMs);
      this.#options.beat();
      this.#schedule();
    });
  }
}

/** When a container that ended by itself runs again, by its rule. */
import type { Clock, Timer } from '../../common/base/clock.ts';
import type { ExitRecord } from '../runtime/native-runtime.ts';
import type { ContainerRecord } from './record-store.ts';
import { restartDelayMs } from './restart-policy.ts';

export class NextStart {
  readonly #clock: Clock;
  #timer: Timer | null = null;
  #lastDelayMs = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** How long to wait after `exit`; null = it rests. */
  delayMs(record: ContainerRecord, exit: ExitRecord): number | null {
    return restartDelayMs({
      rule: record.definition.restart,
      exitCode: exit.exitCode,
      restartCount: record.restartCount,
      isStopped: record.isStopped,
      ranMs: exit.startedAtMs > 0 ? exit.finishedAtMs - exit.startedAtMs : 0,
      lastDelayMs: this.#lastDelayMs,
    });
  }

  set(delayMs: number, start: () => void): void {
    this.#lastDelayMs = delayMs;
    this.#timer = this.#clock.setTimer(delayMs, start);
  }

  /** Nothing starts by itself any more, and the delays begin anew. */
  forget(): void {
    this.#timer?.cancel();
    this.#timer = null;
    this.#lastDelayMs = 0;
  }
}

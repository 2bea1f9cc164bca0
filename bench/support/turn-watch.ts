/**
 * The longest turn of the event loop, as a timer of 1 ms sees it, or a heartbeat would. Three measures, since on a
 * busy machine a turn is long for reasons that are none of its own: the process waits for a core; or the
 * main thread waits for another thread of the process (a helper of the garbage collector, one of the thread
 * pool that holds its lock) which has none.
 */
import { openSync, readSync } from 'node:fs';
import koffi from 'koffi';

const PERIOD_MS = 1;
const CLOCK_THREAD_CPUTIME_ID = 3; // time.h

export interface LongestTurns {
  /** CPU time of the main thread: what the turn itself does. */
  readonly cpuMs: number;
  /** Of the lateness what the main thread did not wait for a core; what it waited for other threads is in it. */
  readonly ownMs: number;
  /** All of the lateness. */
  readonly wallMs: number;
}

export const NO_TURNS: LongestTurns = { cpuMs: 0, ownMs: 0, wallMs: 0 };

/** What the clocks say. */
interface Moment {
  readonly nowMs: number;
  readonly cpuMs: number;
  readonly delayMs: number;
}

function moment(): Moment {
  return { nowMs: performance.now(), cpuMs: threadCpuMs(), delayMs: runDelayMs() };
}

/** Each of the three has its own longest turn. */
export class TurnWatch {
  #longest = NO_TURNS;
  #last: Moment = { nowMs: 0, cpuMs: 0, delayMs: 0 };
  #timer: NodeJS.Timeout | null = null;

  start(): void {
    this.#longest = NO_TURNS;
    this.#last = moment();
    this.#timer = setInterval(() => this.#look(), PERIOD_MS);
  }

  stop(): LongestTurns {
    this.#look();
    clearInterval(this.#timer ?? undefined);
    this.#timer = null;
    return this.#longest;
  }

  /**
   * All turns since the last look count as one: there was more than one only if they were short. The CPU time is not
   * less the period, as the lateness is, so it is up to 1 ms too much.
   */
  #look(): void {
    const now = moment();
    const { cpuMs, ownMs, wallMs } = this.#longest;
    const lateMs = now.nowMs - this.#last.nowMs - PERIOD_MS;
    this.#longest = {
      cpuMs: Math.max(cpuMs, now.cpuMs - this.#last.cpuMs),
      ownMs: Math.max(ownMs, lateMs - (now.delayMs - this.#last.delayMs)),
      wallMs: Math.max(wallMs, lateMs),
    };
    this.#last = now;
  }
}

const schedstat = openSync('/proc/self/schedstat', 'r');
const line = Buffer.alloc(128);

/**
 * Time in which the main thread of this process could have run and waited for a core, ms: run delay of
 * /proc/self/schedstat, nanoseconds.
 */
export function runDelayMs(): number {
  const length = readSync(schedstat, line, 0, line.length, 0);
  return Number(line.toString('latin1', 0, length).split(' ')[1]) / 1e6;
}

const clockGetTime = koffi.load(null).func('int clock_gettime(int id, _Out_ int64_t *time)');
const time = new BigInt64Array(2);

/** CPU time of the calling thread, ms. */
function threadCpuMs(): number {
  clockGetTime(CLOCK_THREAD_CPUTIME_ID, time);
  return Number(time[0]) * 1e3 + Number(time[1]) / 1e6;
}

/**
 * Gives back what a daemon no longer needs once it rests: V8 collects when it allocates, and keeps the space
 * that a busy time needed, so that one with nothing to do holds some 30 MB for nothing. Knows nothing of what
 * the daemon does.
 */
import type { Clock, Timer } from '../common/base/clock.ts';

const LOOK_MS = 1_000;
/** So many in a row at rest: now. */
const RESTED_LOOKS = 3;
/** More of a processor than this: not now. */
const REST_CPU_SHARE = 0.05;
/** Over which the least that was in use is taken for what is alive: the rest of it was garbage that waited. */
const ALIVE_LOOKS = 60;
/** To collect stops everything for 2 to 3 ms per MB that is alive: not where that would be felt, as by those that follow a leader. */
const ALIVE_BYTES_MAX = 96 << 20;
/** As much may be alive at the worst, if it all came to be in these looks: half a second. */
const HEAP_USED_BYTES_MAX = 224 << 20;
/** After it gave back the process has to grow by so much before it is worth it again. */
const GROWN_BYTES_MIN = 8 << 20;

export interface MemoryTrimParts {
  readonly clock: Clock;
  /** microseconds of processor time that this process has used */
  readonly cpuMicros: () => number;
  /** bytes of the machine's memory that this process holds */
  readonly residentBytes: () => number;
  /** bytes of V8's objects, dead ones that are not collected yet among them */
  readonly heapUsedBytes: () => number;
  /** has V8 collect, and keep no more room than what is left needs */
  readonly collect: () => Promise<void>;
  /** of the C library, to the kernel */
  readonly releaseFreed: () => void;
  /** it could not collect; it will try no more */
  readonly onFailure: (err: unknown) => void;
}

/** Lifecycle: constructed, `start`, `stop`. */
export class MemoryTrim {
  readonly #parts: MemoryTrimParts;
  #timer: Timer | null = null;
  /** looks in a row that found it at rest */
  #rested = 0;
  /** at the last look */
  #cpuMicros = 0;
  #lookMs = 0;
  /** the least that was held since it gave back; null: it never did */
  #leftBytes: number | null = null;
  /** it gave back without collecting, since too much was alive */
  #putOff = false;
  /** of V8's objects, at the latest looks */
  readonly #used: number[] = [];
  #giving = false;

  constructor(parts: MemoryTrimParts) {
    this.#parts = parts;
  }

  start(): void {
    this.#noteTime();
    this.#timer = this.#parts.clock.setPeriodic(LOOK_MS, () => this.#look());
  }

  /** Idempotent. */
  stop(): void {
    this.#timer?.cancel();
    this.#timer = null;
  }

  #look(): void {
    if (this.#giving) return;
    this.#rested = this.#noteTime() < REST_CPU_SHARE ? this.#rested + 1 : 0;
    if (this.#used.push(this.#parts.heapUsedBytes()) > ALIVE_LOOKS) this.#used.shift();
    const held = this.#parts.residentBytes();
    if (this.#leftBytes !== null) this.#leftBytes = Math.min(this.#leftBytes, held);
    if (this.#rested < RESTED_LOOKS) return;
    const hasGrown = this.#leftBytes === null || held > this.#leftBytes + GROWN_BYTES_MIN;
    if (!hasGrown && !(this.#putOff && this.#mayCollect)) return;
    this.#giving = true;
    this.#giveBack()
      .catch((err: unknown) => {
        this.stop();
        this.#parts.onFailure(err);
      })
      .finally(() => {
        this.#giving = false;
      });
  }

  async #giveBack(): Promise<void> {
    const { residentBytes, collect, releaseFreed } = this.#parts;
    this.#putOff = !this.#mayCollect;
    if (!this.#putOff) await collect();
    releaseFreed();
    this.#leftBytes = residentBytes();
  }

  get #mayCollect(): boolean {
    const now = this.#used.at(-1) ?? 0;
    return now <= HEAP_USED_BYTES_MAX && Math.min(...this.#used) <= ALIVE_BYTES_MAX;
  }

  /** @returns what this process used of a processor since the last call, 1: all of one */
  #noteTime(): number {
    const [micros, nowMs] = [this.#parts.cpuMicros(), this.#parts.clock.monotonicMs()];
    const share = (micros - this.#cpuMicros) / 1_000 / (nowMs - this.#lookMs);
    this.#cpuMicros = micros;
    this.#lookMs = nowMs;
    return share;
  }
}

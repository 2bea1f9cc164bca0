/**
 * Virtual time of a simulated cluster: a queue of events, each with the machine that it belongs to.
 * Knows nothing of what events do.
 */
import { type Clock, sleepOn, type Timer } from '../../common/base/clock.ts';

/** Of the world itself: faults, clients. Machines have ids from 1. */
export const WORLD = 0;

/** What an event is, for traces and counts. */
export type EventKind = 'timer' | 'tick' | 'deliver' | 'disk' | 'client' | 'fault' | 'snapshot';

export interface SimEvent {
  readonly atMs: number;
  readonly order: number;
  readonly owner: number;
  readonly kind: EventKind;
  readonly run: () => void;
  cancelled: boolean;
}

/** Events run between two turns of the event loop; more would starve what is not ours. */
const TURN_EVENTS = 64;

/**
 * INVARIANTS: events run by time, those of one time in the order they were scheduled; between two
 * events everything that waits for promises alone has run.
 */
export class SimClock {
  #nowMs = 0;
  #order = 0;
  /** Binary heap, the earliest first. */
  readonly #heap: SimEvent[] = [];
  readonly #grainMs: number;

  /**
   * @param grainMs all times are multiples of it; 0 = any. A power of 2, so that sums are exact: who waits
   * until a time and looks must not find it a rounding error away, for ever.
   */
  constructor(grainMs = 0) {
    this.#grainMs = grainMs;
  }

  get nowMs(): number {
    return this.#nowMs;
  }

  schedule(delayMs: number, owner: number, kind: EventKind, run: () => void): SimEvent {
    const atMs = this.#nowMs + this.#whole(Math.max(delayMs, 0));
    const event = { atMs, order: this.#order++, owner, kind, run, cancelled: false };
    this.#push(event);
    return event;
  }

  sleep(delayMs: number, owner: number, kind: EventKind): Promise<void> {
    return new Promise((resolve) => this.schedule(delayMs, owner, kind, resolve));
  }

  /**
   * Runs events until `untilMs`, or until `isOver` says so, which is asked after each event with the
   * event and all that followed from it done.
   */
  run(untilMs: number, dispatch: (event: SimEvent) => void, isOver: () => boolean): Promise<void> {
    return new Promise((resolve, reject) => {
      let done = false;
      const finish = (): void => {
        done = true;
        resolve();
      };
      const one = (): void => {
        if (done) return;
        try {
          if (isOver()) {
            finish();
            return;
          }
          const event = this.#takeUntil(untilMs);
          if (event === null) {
            this.#nowMs = Math.max(this.#nowMs, untilMs);
            finish();
          } else {
            dispatch(event);
          }
        } catch (err) {
          done = true;
          reject(err);
        }
      };
      // Promises are settled between two immediates, also of one turn.
      const turn = (): void => {
        for (let i = 0; i < TURN_EVENTS; i++) setImmediate(one);
        setImmediate(() => {
          if (!done) turn();
        });
      };
      turn();
    });
  }

  #whole(delayMs: number): number {
    const grainMs = this.#grainMs;
    return grainMs === 0 ? delayMs : Math.ceil(delayMs / grainMs) * grainMs;
  }

  #takeUntil(untilMs: number): SimEvent | null {
    for (let first = this.#heap[0]; first !== undefined; first = this.#heap[0]) {
      if (first.atMs > untilMs && !first.cancelled) return null;
      this.#pop();
      if (first.cancelled) continue;
      this.#nowMs = Math.max(this.#nowMs, first.atMs);
      return first;
    }
    return null;
  }

  #push(event: SimEvent): void {
    const heap = this.#heap;
    let at = heap.length;
    heap.push(event);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!isBefore(event, heap[parent]!)) break;
      heap[at] = heap[parent]!;
      at = parent;
    }
    heap[at] = event;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop()!;
    if (heap.length === 0) return;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && isBefore(heap[child + 1]!, heap[child]!)) child++;
      if (!isBefore(heap[child]!, last)) break;
      heap[at] = heap[child]!;
      at = child;
    }
    heap[at] = last;
  }
}

function isBefore(a: SimEvent, b: SimEvent): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);
}

/** What a process clock needs to know of its process. */
export interface ClockOwner {
  readonly owner: number;
  /** Local milliseconds per millisecond of the world; may change. */
  rate(): number;
  isAlive(): boolean;
  /** Told of each periodic tick. */
  ticked(): void;
}

/** The clock of one life of a process: too fast or too slow, and dead with its process. */
export class ProcessClock implements Clock {
  readonly #clock: SimClock;
  readonly #owner: ClockOwner;
  #localMs = 0;
  #sinceMs: number;
  #rate: number;

  constructor(clock: SimClock, owner: ClockOwner) {
    this.#clock = clock;
    this.#owner = owner;
    this.#sinceMs = clock.nowMs;
    this.#rate = owner.rate();
  }

  monotonicMs(): number {
    this.#localMs += (this.#clock.nowMs - this.#sinceMs) * this.#rate;
    this.#sinceMs = this.#clock.nowMs;
    this.#rate = this.#owner.rate();
    return this.#localMs;
  }

  wallMs(): number {
    return Date.UTC(2026, 0, 1) + this.monotonicMs();
  }

  setTimer(delayMs: number, callback: () => void): Timer {
    const event = this.#clock.schedule(this.#real(delayMs), this.#owner.owner, 'timer', () => {
      if (this.#owner.isAlive()) callback();
    });
    return {
      cancel: () => {
        event.cancelled = true;
      },
    };
  }

  /** As in Node, a process that was stopped gets one late call, not all that it missed. */
  setPeriodic(periodMs: number, callback: () => void): Timer {
    let event: SimEvent;
    let isCancelled = false;
    const arm = (): void => {
      event = this.#clock.schedule(this.#real(periodMs), this.#owner.owner, 'tick', () => {
        if (!this.#owner.isAlive() || isCancelled) return;
        this.#owner.ticked();
        callback();
        if (!isCancelled) arm();
      });
    };
    arm();
    return {
      cancel: () => {
        isCancelled = true;
        event.cancelled = true;
      },
    };
  }

  sleep(delayMs: number, signal?: AbortSignal): Promise<void> {
    return sleepOn(this, delayMs, signal);
  }

  #real(delayMs: number): number {
    return delayMs / this.#owner.rate();
  }
}

/**
 * The rooms that run while this manager leads: opened when leadership is won, closed when it is lost,
 * one change after the other. Knows nothing of what the rooms do.
 */
import { Backoff } from '../common/base/backoff.ts';
import type { Clock } from '../common/base/clock.ts';
import { describeError, hasCode } from '../common/base/errors.ts';
import { CancelledError, type OnFailure } from '../common/base/lifecycle.ts';
import type { Logger } from '../common/base/log.ts';
import type { Random } from '../common/base/random.ts';

export interface Room {
  start(): Promise<void>;
  stop(): Promise<void>;
}

export interface LeaderRoomsOptions<R> {
  /** Makes new rooms for each try; `all` in the order of their start. */
  readonly compose: () => { readonly rooms: R; readonly all: readonly Room[] };
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly onFailure: OnFailure;
}

const RETRY = { baseMs: 100, maxMs: 2_000 };

/** INVARIANT: at most one set of rooms is open, and none after `stop` resolved. */
export class LeaderRooms<R> {
  readonly #options: LeaderRoomsOptions<R>;
  readonly #backoff: Backoff;
  /** of the leadership that lasts; null = this manager does not lead */
  #term: AbortController | null = null;
  #current: R | null = null;
  #running: readonly Room[] = [];
  #turn: Promise<void> = Promise.resolve();
  #stopped = false;

  constructor(options: LeaderRoomsOptions<R>) {
    this.#options = options;
    this.#backoff = new Backoff(RETRY, options.random);
  }

  /** The rooms once all of them are started, else null. */
  get current(): R | null {
    return this.#current;
  }

  /** Leadership was won or lost; carried out in the background. */
  lead(leads: boolean): void {
    this.#term?.abort(new CancelledError());
    this.#term = null;
    if (this.#stopped) return;
    if (!leads) {
      this.#inTurn(() => this.#close());
      return;
    }
    const term = new AbortController();
    this.#term = term;
    this.#inTurn(() => this.#open(term.signal));
  }

  /** Resolves when the changes told so far are carried out, or given up. */
  settled(): Promise<void> {
    return this.#turn;
  }

  /** Closes what is open, also what is being opened now. Idempotent. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.lead(false);
    await this.#turn;
    await this.#close();
  }

  #inTurn(change: () => Promise<void>): void {
    this.#turn = this.#turn.then(change).catch((err: unknown) => this.#options.onFailure(err));
  }

  /** Tries for as long as leadership lasts: a leader without its rooms would be of no use. */
  async #open(signal: AbortSignal): Promise<void> {
    const { compose, clock, log } = this.#options;
    while (!signal.aborted && this.#current === null) {
      const { rooms, all } = compose();
      try {
        await this.#startAll(all, signal);
        this.#current = rooms;
        this.#backoff.reset();
        log.info({}, 'leading');
      } catch (err) {
        await this.#close();
        if (signal.aborted) return;
        if (!hasCode(err, 'not-leader', 'no-leader', 'unavailable', 'deadline-exceeded')) throw err;
        log.warn({ reason: describeError(err) }, 'taking up leadership failed, will be retried');
        await clock.sleep(this.#backoff.nextDelayMs(), signal).catch(() => {}); // leadership ended
      }
    }
  }

  async #startAll(rooms: readonly Room[], signal: AbortSignal): Promise<void> {
    for (const room of rooms) {
      signal.throwIfAborted();
      this.#running = [...this.#running, room];
      await room.start();
    }
    signal.throwIfAborted();
  }

  async #close(): Promise<void> {
    const wasLeading = this.#current !== null;
    const rooms = this.#running;
    this.#current = null;
    this.#running = [];
    await Promise.all(rooms.map((room) => room.stop()));
    if (wasLeading) this.#options.log.info({}, 'no longer leading');
  }
}

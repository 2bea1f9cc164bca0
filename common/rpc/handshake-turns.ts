/**
 * New connections in turn: few handshakes at a time. When thousands come at once, as to a new leader, each is served in its
 * time; all together none would be done before its client gives up, and what was done for it would be for nothing.
 * Knows no TLS: it sees that the other end has begun to speak.
 */
import type { Socket } from 'node:net';
import type { Clock, Timer } from '../base/clock.ts';
import { HANDSHAKE_TIMEOUT_MS, HANDSHAKE_TURN_MS, HANDSHAKES_AT_ONCE_MAX } from './limits.ts';

/** What a client says before it is answered is a kilobyte or two. */
const FIRST_WORDS_BYTES_MAX = 64 * 1024;

/** What is used of a connection. */
export type NewConnection = Pick<
  Socket,
  'on' | 'once' | 'off' | 'pause' | 'unshift' | 'destroy' | 'destroyed'
>;

export interface HandshakeTurnsOptions<C extends NewConnection> {
  readonly clock: Clock;
  /** It is a connection's turn; what came by it so far is there to be read. `over` is to be called when it is done. */
  readonly begin: (connection: C) => void;
}

/**
 * Turns go to the one that has waited longest and to the newest, one after the other: of a herd everyone has his turn, and
 * those who come meanwhile and have less patience (managers' links, calls) need not wait for all of it.
 */
export class HandshakeTurns<C extends NewConnection> {
  readonly #options: HandshakeTurnsOptions<C>;
  /** They have spoken, the oldest first. */
  readonly #waiting: C[] = [];
  /** Of those whose turn it is; it ends by itself, so that some that stop half-way do not hold up all others. */
  readonly #turns = new Map<C, Timer>();
  readonly #handOver = new Map<C, () => void>();
  #newestIsNext = false;

  constructor(options: HandshakeTurnsOptions<C>) {
    this.#options = options;
  }

  /** Takes a new connection. One that its client leaves before its turn is closed, and costs nothing more. */
  add(connection: C): void {
    const chunks: Buffer[] = [];
    let bytes = 0;
    const silence = this.#options.clock.setTimer(HANDSHAKE_TIMEOUT_MS, leave);
    const take = (chunk: Buffer): void => {
      chunks.push(chunk);
      bytes += chunk.length;
      if (bytes > FIRST_WORDS_BYTES_MAX) leave();
      else if (chunks.length === 1) {
        silence.cancel();
        this.#waiting.push(connection);
        this.#next();
      }
    };
    function leave(): void {
      connection.destroy();
    }
    connection.on('data', take);
    connection.once('end', leave);
    connection.on('error', () => {}); // it closes
    connection.once('close', () => {
      silence.cancel();
      this.#handOver.delete(connection);
      const at = this.#waiting.indexOf(connection);
      if (at >= 0) this.#waiting.splice(at, 1);
      this.over(connection);
    });
    this.#handOver.set(connection, () => {
      connection.off('data', take);
      connection.off('end', leave);
      connection.pause();
      connection.unshift(Buffer.concat(chunks));
    });
  }

  /** Its handshake is done. Idempotent. */
  over(connection: C): void {
    const turn = this.#turns.get(connection);
    if (!turn) return;
    turn.cancel();
    this.#turns.delete(connection);
    this.#next();
  }

  #next(): void {
    while (this.#waiting.length > 0 && this.#turns.size < HANDSHAKES_AT_ONCE_MAX) {
      const connection = (this.#newestIsNext ? this.#waiting.pop() : this.#waiting.shift())!;
      this.#newestIsNext = !this.#newestIsNext;
      const end = (): void => this.over(connection);
      this.#turns.set(connection, this.#options.clock.setTimer(HANDSHAKE_TURN_MS, end));
      this.#handOver.get(connection)!();
      this.#handOver.delete(connection);
      this.#options.begin(connection);
    }
  }
}

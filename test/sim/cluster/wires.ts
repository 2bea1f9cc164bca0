/**
 * Connections between processes, as TCP makes them: bytes in order, delays, silence when a link is
 * cut, an end that one side sees and the other does not. Knows nothing of calls.
 */
import type { SeededRandom } from '../../../common/base/random.ts';
import type { SimClock } from '../clock.ts';

/** What goes over a connection, as one piece. */
export interface Frame {
  readonly bytes: number;
}

/** One life of a process on a machine, as the network sees it. */
export interface Process {
  readonly host: number;
  readonly isAlive: () => boolean;
}

export interface Quality {
  readonly delayMinMs: number;
  /** Mean of what comes on top, exponentially distributed. */
  readonly delayMeanMs: number;
}

/** A side of a connection. */
export interface Side<F extends Frame> {
  receive(frame: F): void;
  /** The connection is of no use any more; told once, by the network or by this side's patience. */
  broken(why: string): void;
}

/** How long a side hears nothing until it gives up: gRPC's keepalive. */
export interface Patience {
  readonly periodMs: number;
  readonly timeoutMs: number;
}

interface End<F extends Frame> {
  readonly process: Process;
  readonly patience: Patience;
  side: Side<F>;
  isBroken: boolean;
  /** Counts the times that silence began or ended: an alarm of an earlier one is void. */
  silence: number;
}

/**
 * INVARIANTS: frames of one direction arrive in order, each once, or not at all; after `broken` a side
 * gets no more of them.
 */
export class Connection<F extends Frame> {
  readonly #wires: Wires<F>;
  readonly ends: readonly [End<F>, End<F>];
  /** Sent and not arrived, by direction: index of the sender. */
  readonly #underWay: [F[], F[]] = [[], []];
  readonly #dueMs: [number, number] = [0, 0];
  /** Of those under way: came to a link that was cut, and are sent again when it is whole. */
  readonly #stalled: [number, number] = [0, 0];

  constructor(wires: Wires<F>, ends: readonly [End<F>, End<F>]) {
    this.#wires = wires;
    this.ends = ends;
  }

  send(from: 0 | 1, frame: F): void {
    if (this.ends[from].isBroken) return;
    this.#underWay[from].push(frame);
    this.#carry(from);
  }

  /** This side is done with it; the other one hears so, if a packet gets there. */
  close(from: 0 | 1): void {
    const end = this.ends[from];
    if (end.isBroken) return;
    end.isBroken = true;
    this.#tellEnd(other(from));
  }

  /** Both sides, at once: a router forgot it, somebody reset it. */
  reset(): void {
    this.#give(0, 'connection reset');
    this.#give(1, 'connection reset');
  }

  /** Links were cut, or are whole again, or a process stopped or goes on. */
  changed(): void {
    for (const to of [0, 1] as const) {
      const end = this.ends[to];
      if (end.isBroken) continue;
      if (this.#isUnknownThere(to)) this.#tellEnd(to);
      const silent = this.#isSilent(to);
      if (silent === (end.silence % 2 === 1)) continue;
      const mark = ++end.silence;
      if (!silent) continue;
      const { periodMs, timeoutMs } = end.patience;
      const waitMs = this.#wires.random.unit() * periodMs + timeoutMs;
      this.#wires.clock.schedule(waitMs, end.process.host, 'timer', () => {
        if (end.silence === mark) this.#give(to, 'no answer to a ping');
      });
    }
    for (const from of [0, 1] as const) {
      if (this.#wires.isCut(this.ends[from].process.host, this.ends[other(from)].process.host))
        continue;
      const again = this.#stalled[from];
      this.#stalled[from] = 0;
      for (let i = 0; i < again; i++) this.#carry(from);
    }
  }

  /** The process of a side is gone and its kernel knows nothing of the connection. */
  orphaned(of: 0 | 1): void {
    this.ends[of].isBroken = true;
    this.#tellEnd(other(of));
  }

  /** No answer comes to `to`, whatever it asks. */
  #isSilent(to: 0 | 1): boolean {
    const [here, there] = [this.ends[to].process, this.ends[other(to)].process];
    const wires = this.#wires;
    if (wires.isCut(here.host, there.host) || wires.isCut(there.host, here.host)) return true;
    return !there.isAlive() || wires.isStopped(there.host);
  }

  /** The far kernel answers with a reset whatever comes from `to`. */
  #isUnknownThere(to: 0 | 1): boolean {
    const far = this.ends[other(to)];
    if (!far.isBroken && far.process.isAlive()) return false;
    return !this.#wires.isDown(far.process.host);
  }

  #carry(from: 0 | 1): void {
    const [sender, receiver] = [this.ends[from], this.ends[other(from)]];
    const now = this.#wires.clock.nowMs;
    const dueMs = Math.max(now + this.#wires.delayMs(), this.#dueMs[from]);
    this.#dueMs[from] = dueMs;
    this.#wires.clock.schedule(dueMs - now, receiver.process.host, 'deliver', () => {
      if (receiver.isBroken) return;
      // What does not get through is sent again when the link is whole: see `changed`.
      if (this.#wires.isCut(sender.process.host, receiver.process.host)) {
        this.#stalled[from]++;
        return;
      }
      if (!receiver.process.isAlive()) return;
      const frame = this.#underWay[from].shift();
      if (frame !== undefined) receiver.side.receive(frame);
    });
  }

  #tellEnd(to: 0 | 1): void {
    const end = this.ends[to];
    const from = this.ends[other(to)].process.host;
    const isCut =
      this.#wires.isCut(from, end.process.host) || this.#wires.isCut(end.process.host, from);
    if (end.isBroken || isCut || this.#wires.isDown(from)) return;
    const { clock } = this.#wires;
    const waitMs = Math.max(this.#wires.delayMs(), this.#dueMs[other(to)] - clock.nowMs);
    clock.schedule(waitMs, end.process.host, 'deliver', () => this.#give(to, 'connection closed'));
  }

  #give(to: 0 | 1, why: string): void {
    const end = this.ends[to];
    if (end.isBroken) return;
    end.isBroken = true;
    this.#wires.brokenMs = this.#wires.clock.nowMs;
    if (end.process.isAlive()) end.side.broken(why);
    this.#wires.forget(this);
    this.#tellEnd(other(to));
  }
}

function other(side: 0 | 1): 0 | 1 {
  return side === 0 ? 1 : 0;
}

export interface WiresOptions {
  readonly clock: SimClock;
  readonly random: SeededRandom;
  readonly quality: Quality;
  /** No process runs there, nor answers its kernel. */
  readonly isDown: (host: number) => boolean;
  /** A process that stands still. */
  readonly isStopped: (host: number) => boolean;
}

export class Wires<F extends Frame> {
  readonly clock: SimClock;
  readonly random: SeededRandom;
  readonly isDown: (host: number) => boolean;
  readonly isStopped: (host: number) => boolean;
  readonly #quality: Quality;
  readonly #cut = new Set<string>();
  readonly #connections = new Set<Connection<F>>();
  /** When a connection broke last. */
  brokenMs = 0;
  /** All links are quick: the time after the faults. */
  isHealed = false;

  constructor(options: WiresOptions) {
    this.clock = options.clock;
    this.random = options.random;
    this.isDown = options.isDown;
    this.isStopped = options.isStopped;
    this.#quality = options.quality;
  }

  get connections(): readonly Connection<F>[] {
    return [...this.#connections];
  }

  connect(
    client: { readonly process: Process; readonly patience: Patience },
    server: { readonly process: Process; readonly patience: Patience },
  ): Connection<F> {
    const nobody: Side<F> = { receive: () => {}, broken: () => {} };
    const end = (of: typeof client): End<F> => {
      return { ...of, side: nobody, isBroken: false, silence: 0 };
    };
    const connection = new Connection<F>(this, [end(client), end(server)]);
    this.#connections.add(connection);
    return connection;
  }

  forget(connection: Connection<F>): void {
    if (connection.ends.every(({ isBroken }) => isBroken)) this.#connections.delete(connection);
  }

  cut(from: number, to: number): void {
    this.#cut.add(`${from}>${to}`);
    this.changed();
  }

  isCut(from: number, to: number): boolean {
    return this.#cut.has(`${from}>${to}`);
  }

  heal(): void {
    this.#cut.clear();
    this.changed();
  }

  changed(): void {
    for (const connection of this.connections) connection.changed();
  }

  /** A process ended. Its kernel tells the other sides, unless the machine went down with it. */
  ended(process: Process, kernelLives: boolean): void {
    for (const connection of this.connections) {
      const of = connection.ends.findIndex((end) => end.process === process);
      if (of < 0) continue;
      if (kernelLives) connection.orphaned(of === 0 ? 0 : 1);
      connection.changed();
    }
  }

  delayMs(): number {
    const { delayMinMs, delayMeanMs } = this.#quality;
    if (this.isHealed || delayMeanMs === 0) return delayMinMs;
    return delayMinMs - delayMeanMs * Math.log(1 - this.random.unit());
  }
}

/**
 * The way to one peer: a bounded queue and one link, made again after each failure. Knows no sockets
 * and not what the messages mean.
 */
import { Backoff } from '../../common/base/backoff.ts';
import type { Clock, Timer } from '../../common/base/clock.ts';
import { TaskSet } from '../../common/base/lifecycle.ts';
import type { Logger } from '../../common/base/log.ts';
import type { Random } from '../../common/base/random.ts';
import type { Message } from '../raft/types.ts';
import { PeerQueue } from './peer-queue.ts';

/** How long news of a commit waits for entries to go along with. */
const COMPANY_WAIT_MS = 2;
const BACKOFF = { baseMs: 50, maxMs: 500 };
/** A stream that lived this long was a success. */
const STABLE_MS = 3_000;

/** A stream to the peer, as the link needs it. */
export interface LinkStream {
  /** Sends a batch before it returns. False = await `drained` before the next one. Throws when it failed. */
  write(batch: readonly Message[]): boolean;
  /** Resolves when the next batch may be sent; rejects when the stream failed. */
  drained(): Promise<void>;
  /** Rejects or resolves when the stream is over, also after `cancel`. */
  readonly ended: Promise<void>;
  cancel(): void;
}

export interface PeerLinkOptions {
  readonly raftId: number;
  readonly address: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly open: (signal: AbortSignal) => Promise<LinkStream>;
  /** Messages were dropped. */
  readonly unreachable: () => void;
}

/**
 * INVARIANTS: `send` never waits; while the peer is down nothing is queued for it, so that what it
 * gets when it is back is not stale. What is due leaves in one batch at the end of the turn: before the
 * turn's own write goes to the disk, whose thread takes the CPU at once (see `AppendLoop`).
 */
export class PeerLink {
  readonly #options: PeerLinkOptions;
  readonly #backoff: Backoff;
  readonly #tasks: TaskSet;
  readonly #queue = new PeerQueue();
  #stream: LinkStream | null = null;
  /** It takes no more at present. */
  #isFull = false;
  #flushScheduled = false;
  #companyTimer: Timer | null = null;
  #downUntilMs = 0;
  #running = false;
  #stopped = false;

  constructor(options: PeerLinkOptions) {
    this.#options = options;
    this.#backoff = new Backoff(BACKOFF, options.random);
    this.#tasks = new TaskSet((err) => options.log.error({ err }, 'raft link broke'));
  }

  get address(): string {
    return this.#options.address;
  }

  /** Sends a batch, with no message if none is due. */
  greet(): void {
    if (this.#stopped || this.#isDown()) return;
    this.#queue.greet();
    this.#start();
  }

  send(message: Message): void {
    if (this.#stopped) return;
    if (this.#isDown() || !this.#queue.push(message)) {
      this.#options.unreachable();
      return;
    }
    if (this.#queue.isDue) this.#start();
    else this.#waitForCompany();
  }

  #waitForCompany(): void {
    this.#companyTimer ??= this.#options.clock.setTimer(COMPANY_WAIT_MS, () => {
      this.#companyTimer = null;
      this.#queue.release();
      if (this.#queue.isDue) this.#start();
    });
  }

  #isDown(): boolean {
    return this.#options.clock.monotonicMs() < this.#downUntilMs;
  }

  #start(): void {
    if (!this.#running) {
      this.#running = true;
      this.#tasks.run((signal) => this.#run(signal));
    } else if (this.#stream !== null && !this.#flushScheduled) {
      this.#flushScheduled = true;
      queueMicrotask(() => {
        this.#flushScheduled = false;
        this.#flush();
      });
    }
  }

  /** Sends what is due, as far as the stream takes it. */
  #flush(): void {
    const stream = this.#stream;
    if (stream === null || this.#isFull) return;
    try {
      while (this.#queue.isDue) {
        if (stream.write(this.#queue.takeBatch())) continue;
        this.#isFull = true;
        void this.#goOn(stream);
        return;
      }
    } catch {
      stream.cancel(); // its end tells why it failed
    }
  }

  async #goOn(stream: LinkStream): Promise<void> {
    try {
      await stream.drained();
    } catch {
      return; // its end tells why
    }
    if (stream !== this.#stream) return;
    this.#isFull = false;
    this.#flush();
  }

  /** The peer is there: the next message opens a stream. */
  retryNow(): void {
    this.#downUntilMs = 0;
    this.#backoff.reset();
  }

  /** Idempotent; what is queued is dropped. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#companyTimer?.cancel();
    await this.#tasks.stop();
  }

  /** One stream from its opening to its end. */
  async #run(signal: AbortSignal): Promise<void> {
    const { clock, log, raftId, address, unreachable } = this.#options;
    let openedMs = 0;
    try {
      const stream = await this.#options.open(signal);
      openedMs = clock.monotonicMs();
      await this.#carry(stream, signal);
    } catch (err) {
      if (signal.aborted) return;
      log.debug({ err, to: raftId.toString(16), address }, 'raft link ended');
    } finally {
      this.#stream = null;
      this.#running = false;
    }
    if (openedMs > 0 && clock.monotonicMs() - openedMs >= STABLE_MS) this.#backoff.reset();
    this.#downUntilMs = clock.monotonicMs() + this.#backoff.nextDelayMs();
    this.#queue.clear();
    unreachable();
  }

  /** Until it ends, or `signal` ends it. */
  async #carry(stream: LinkStream, signal: AbortSignal): Promise<void> {
    const cancel = (): void => stream.cancel();
    signal.addEventListener('abort', cancel);
    try {
      if (signal.aborted) cancel();
      this.#stream = stream;
      this.#isFull = false;
      this.#flush();
      await stream.ended;
    } finally {
      signal.removeEventListener('abort', cancel);
    }
  }
}

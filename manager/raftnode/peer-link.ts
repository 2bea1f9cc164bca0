/**
 * The way to one peer: a bounded queue and one stream, made again after each failure. Knows no gRPC
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
  /** Resolves when the next batch may be sent; rejects when the stream failed. */
  send(batch: readonly Message[], signal: AbortSignal): Promise<void>;
  /** Rejects or resolves when the stream is over. */
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
 * gets when it is back is not stale.
 */
export class PeerLink {
  readonly #options: PeerLinkOptions;
  readonly #backoff: Backoff;
  readonly #tasks: TaskSet;
  readonly #queue = new PeerQueue();
  /** Lets `#carry` look at the queue again. */
  #wake: () => void = () => {};
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
    this.#wake();
    if (this.#running) return;
    this.#running = true;
    this.#tasks.run((signal) => this.#run(signal));
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
    let stream: LinkStream | null = null;
    try {
      stream = await this.#options.open(signal);
      openedMs = clock.monotonicMs();
      await this.#carry(stream, signal);
    } catch (err) {
      if (signal.aborted) return;
      log.debug({ err, to: raftId.toString(16), address }, 'raft stream ended');
    } finally {
      stream?.cancel();
      this.#running = false;
    }
    if (openedMs > 0 && clock.monotonicMs() - openedMs >= STABLE_MS) this.#backoff.reset();
    this.#downUntilMs = clock.monotonicMs() + this.#backoff.nextDelayMs();
    this.#queue.clear();
    unreachable();
  }

  async #carry(stream: LinkStream, signal: AbortSignal): Promise<void> {
    const over = new AbortController();
    let isOver = false;
    const ended = stream.ended.finally(() => {
      isOver = true;
      over.abort(new Error('the stream ended'));
      this.#wake();
    });
    ended.catch(() => {}); // told below
    const both = AbortSignal.any([signal, over.signal]);
    both.addEventListener('abort', () => this.#wake(), { once: true });
    for (;;) {
      while (!this.#queue.isDue && !isOver && !both.aborted) {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
      if (isOver) return await ended;
      signal.throwIfAborted();
      await stream.send(this.#queue.takeBatch(), both);
    }
  }
}

/**
 * The way to one peer: a bounded queue and one stream, made again after each failure. Knows no gRPC
 * and not what the messages mean.
 */
import { Backoff } from '../../common/base/backoff.ts';
import type { Clock } from '../../common/base/clock.ts';
import { TaskSet } from '../../common/base/lifecycle.ts';
import type { Logger } from '../../common/base/log.ts';
import { BoundedQueue } from '../../common/base/queue.ts';
import type { Random } from '../../common/base/random.ts';
import type { Message } from '../raft/types.ts';

/** Messages held for a peer; the core keeps at most 256 appends under way. */
const QUEUE_MESSAGES_MAX = 1024;
const QUEUE_BYTES_MAX = 16 * 1024 * 1024;
/** A batch ends when it holds this much; a single message may be larger. */
const BATCH_BYTES = 1024 * 1024;
/** Takes the place of a message in the queue, and adds none to its batch. */
const GREETING = Symbol('greeting');
const MESSAGE_OVERHEAD_BYTES = 64;
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
  #queue = new BoundedQueue<Message | typeof GREETING>(QUEUE_MESSAGES_MAX);
  #queuedBytes = 0;
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
    if (this.#stopped || this.#isDown() || !this.#queue.push(GREETING)) return;
    this.#start();
  }

  send(message: Message): void {
    if (this.#stopped) return;
    const bytes = messageBytes(message);
    const fits = this.#queuedBytes === 0 || this.#queuedBytes + bytes <= QUEUE_BYTES_MAX;
    if (this.#isDown() || !fits || !this.#queue.push(message)) {
      this.#options.unreachable();
      return;
    }
    this.#queuedBytes += bytes;
    this.#start();
  }

  #isDown(): boolean {
    return this.#options.clock.monotonicMs() < this.#downUntilMs;
  }

  #start(): void {
    if (this.#running) return;
    this.#running = true;
    this.#tasks.run((signal) => this.#run(signal));
  }

  /** Idempotent; what is queued is dropped. */
  async stop(): Promise<void> {
    this.#stopped = true;
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
    this.#queue = new BoundedQueue(QUEUE_MESSAGES_MAX);
    this.#queuedBytes = 0;
    unreachable();
  }

  async #carry(stream: LinkStream, signal: AbortSignal): Promise<void> {
    const over = new AbortController();
    const ended = stream.ended.finally(() => over.abort(new Error('the stream ended')));
    ended.catch(() => {}); // told by the race below
    const both = AbortSignal.any([signal, over.signal]);
    for (;;) {
      const messages = await Promise.race([this.#queue.takeAll(both), ended.then(() => null)]);
      if (messages === null) return;
      this.#queuedBytes = 0;
      for (const batch of batches(messages)) await stream.send(batch, both);
    }
  }
}

function* batches(queued: readonly (Message | typeof GREETING)[]): Iterable<Message[]> {
  let batch: Message[] = [];
  let bytes = 0;
  const messages = queued.filter((item) => item !== GREETING);
  if (messages.length === 0) yield [];
  for (const message of messages) {
    const size = messageBytes(message);
    if (batch.length > 0 && bytes + size > BATCH_BYTES) {
      yield batch;
      batch = [];
      bytes = 0;
    }
    batch.push(message);
    bytes += size;
  }
  if (batch.length > 0) yield batch;
}

/** Close enough to the encoded size. */
function messageBytes(message: Message): number {
  let bytes = MESSAGE_OVERHEAD_BYTES + message.context.length;
  for (const { data } of message.entries) bytes += data.length + MESSAGE_OVERHEAD_BYTES;
  return bytes;
}

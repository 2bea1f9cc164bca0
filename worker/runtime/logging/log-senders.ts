/**
 * Sends the lines of containers elsewhere, as their log drivers want it: reads the log that the shim
 * keeps, so that no task ever waits for it, and goes on where it was after a restart of the daemon. A line counts
 * as sent when the kernel has taken it: what was on its way when a receiver died is lost.
 */
import { readFile, rename, writeFile } from 'node:fs/promises';
import { Backoff } from '../../../common/base/backoff.ts';
import type { Clock } from '../../../common/base/clock.ts';
import { endsWithin } from '../../../common/base/deadline.ts';
import { describeError } from '../../../common/base/errors.ts';
import { CancelledError } from '../../../common/base/lifecycle.ts';
import type { Logger } from '../../../common/base/log.ts';
import type { Random } from '../../../common/base/random.ts';
import type { LogRecord } from '../log-reader.ts';
import type { LogSource } from './log-lines.ts';
import type { LogSettings } from './log-settings.ts';
import type { LogSink } from './log-sink.ts';

/** What a bundle says of its container's lines. */
export interface Logging {
  readonly settings: LogSettings;
  readonly source: LogSource;
}

export interface SendersOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  /** `signal` ends the sink, and what it is about to send. */
  readonly open: (
    settings: LogSettings,
    source: LogSource,
    random: Random,
    signal: AbortSignal,
  ) => Promise<LogSink>;
}

export interface SendRequest {
  readonly id: string;
  readonly logging: Logging;
  /** says how far it came; goes with the container */
  readonly positionFile: string;
  /** from a time on, itself included, to the end of the container */
  readonly records: (sinceNanos: bigint | null, signal: AbortSignal) => AsyncIterable<LogRecord>;
}

/** The last line that went: its time, and how many of that time went. */
interface Position {
  readonly timeNanos: bigint;
  readonly count: number;
}

const RETRY = { baseMs: 500, maxMs: 30_000 };
const SAVE_EVERY_MS = 1000;
/** For the last lines of a container that is to be removed. */
const FINISH_MS = 2000;

/** INVARIANT: one sender for each id. */
export class LogSenders {
  readonly #options: SendersOptions;
  readonly #senders = new Map<
    string,
    { readonly abort: AbortController; readonly done: Promise<void> }
  >();

  constructor(options: SendersOptions) {
    this.#options = options;
  }

  start(request: SendRequest): void {
    const abort = new AbortController();
    const before = this.#senders.get(request.id);
    before?.abort.abort(new CancelledError());
    const run = (before?.done ?? Promise.resolve()).then(() => this.#run(request, abort.signal));
    const done = run.catch((err: unknown) => {
      this.#options.log.error({ taskId: request.id, err }, 'lines of a container are not sent');
    });
    this.#senders.set(request.id, { abort, done });
  }

  /** Of a container that has ended and is to be removed: waits a moment for its last lines. Idempotent. */
  async finish(id: string): Promise<void> {
    const sender = this.#senders.get(id);
    if (!sender) return;
    this.#senders.delete(id);
    await endsWithin(this.#options.clock, FINISH_MS, sender.done);
    sender.abort.abort(new CancelledError());
    await sender.done;
  }

  /** Idempotent. */
  async stop(): Promise<void> {
    const senders = [...this.#senders.values()];
    this.#senders.clear();
    for (const { abort } of senders) abort.abort(new CancelledError());
    await Promise.all(senders.map(({ done }) => done));
  }

  async #run(request: SendRequest, signal: AbortSignal): Promise<void> {
    const { clock, random, log } = this.#options;
    const backoff = new Backoff(RETRY, random);
    const progress = new Progress(request.positionFile, clock);
    await progress.load();
    let told = '';
    while (!signal.aborted) {
      try {
        await this.#sendAll(request, progress, signal, () => backoff.reset());
        return;
      } catch (err) {
        if (signal.aborted) return;
        const words = describeError(err);
        if (words !== told)
          log.warn({ taskId: request.id, err }, 'lines of a container wait to be sent');
        told = words;
      } finally {
        await progress.save();
      }
      await clock.sleep(backoff.nextDelayMs(), signal).catch(() => {});
    }
  }

  async #sendAll(
    { logging, records }: SendRequest,
    progress: Progress,
    signal: AbortSignal,
    onSent: () => void,
  ): Promise<void> {
    const { open, random } = this.#options;
    const { settings, source } = logging;
    const sink = await open(settings, source, random, signal);
    try {
      const from = progress.position;
      let toSkip = from?.count ?? 0;
      for await (const record of records(from?.timeNanos ?? null, signal)) {
        if (toSkip > 0 && record.timeNanos === from?.timeNanos) {
          toSkip--;
          continue;
        }
        await sink.send(record);
        onSent();
        await progress.sent(record.timeNanos);
      }
    } finally {
      sink.close();
    }
  }
}

class Progress {
  readonly #file: string;
  readonly #clock: Clock;
  #position: Position | null = null;
  #savedAtMs = 0;
  #isDirty = false;

  constructor(file: string, clock: Clock) {
    this.#file = file;
    this.#clock = clock;
  }

  get position(): Position | null {
    return this.#position;
  }

  /** Damage is the same as none: all is sent again. */
  async load(): Promise<void> {
    const text = await readFile(this.#file, 'utf8').catch(() => '');
    const [, timeNanos, count] = /^(\d+) (\d+)\n$/.exec(text) ?? [];
    if (timeNanos && count) this.#position = { timeNanos: BigInt(timeNanos), count: Number(count) };
  }

  async sent(timeNanos: bigint): Promise<void> {
    const before = this.#position;
    const count = before?.timeNanos === timeNanos ? before.count + 1 : 1;
    this.#position = { timeNanos, count };
    this.#isDirty = true;
    if (this.#clock.monotonicMs() - this.#savedAtMs >= SAVE_EVERY_MS) await this.save();
  }

  /** Best effort: without it lines are sent again. */
  async save(): Promise<void> {
    if (!this.#isDirty || !this.#position) return;
    this.#isDirty = false;
    this.#savedAtMs = this.#clock.monotonicMs();
    const { timeNanos, count } = this.#position;
    try {
      await writeFile(`${this.#file}.tmp`, `${timeNanos} ${count}\n`, { mode: 0o600 });
      await rename(`${this.#file}.tmp`, this.#file);
    } catch {
      this.#isDirty = true; // a full disk, or the container is gone
    }
  }
}

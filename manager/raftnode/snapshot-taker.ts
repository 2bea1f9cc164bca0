/**
 * Takes snapshots of the state machine: when, and how without holding up the event loop. Knows
 * nothing of peers.
 */
import { assert } from '../../common/base/assert.ts';
import type { Clock } from '../../common/base/clock.ts';
import type { Logger } from '../../common/base/log.ts';
import type { Entry } from '../raft/types.ts';
import { errnoOf } from './disk.ts';
import { encodeSnapshotState, type SnapshotHead } from './durable-state.ts';
import type { StateMachine } from './node-options.ts';
import type { SnapshotDir } from './snapshot-files.ts';
import type { SnapshotPolicy } from './snapshot-policy.ts';

/** After a snapshot for which there was no space. */
const FULL_PAUSE_MS = 10_000;

/** Bytes of a snapshot for each byte of log since the one before. */
const AMPLIFICATION_MAX = 2;

export interface SnapshotTakerOptions {
  readonly dir: SnapshotDir;
  readonly stateMachine: StateMachine;
  readonly clock: Clock;
  readonly log: Logger;
  readonly policy: SnapshotPolicy;
  /** The snapshot has its final name: notes it in the log. */
  readonly taken: (head: SnapshotHead, replacesAll: boolean) => Promise<void>;
}

export class SnapshotTaker {
  readonly #options: SnapshotTakerOptions;
  #entriesSince = 0;
  #bytesSince = 0;
  /** Size of the last one; 0 = not known. */
  #lastBytes = 0;
  #busy = false;
  #notBeforeMs = 0;

  constructor(options: SnapshotTakerOptions) {
    this.#options = options;
  }

  count(entry: Entry): void {
    this.#entriesSince++;
    this.#bytesSince += entry.data.length;
  }

  /** The state was replaced: it is on disk already. */
  restart(): void {
    this.#entriesSince = 0;
    this.#bytesSince = 0;
  }

  /**
   * Whether enough came since the last one: enough entries, and with a large state, unless the interval was
   * chosen, so many that snapshots do not write more than twice what the log does.
   */
  get due(): boolean {
    if (!this.mayStart) return false;
    const { policy } = this.#options;
    const isWorthIt = this.#bytesSince >= this.#lastBytes / AMPLIFICATION_MAX;
    return (
      this.#bytesSince >= policy.intervalBytes ||
      this.#entriesSince >= (isWorthIt ? policy.intervalEntries : policy.longIntervalEntries)
    );
  }

  /** Not while one is being written, nor for a while after one for which there was no space. */
  get mayStart(): boolean {
    return !this.#busy && this.#options.clock.monotonicMs() >= this.#notBeforeMs;
  }

  /**
   * Takes a snapshot of this moment: the view is fixed before the call returns. Rejects only with
   * what must end the process.
   * @param replacesAll see `AppendLoop.snapshotTaken`
   */
  async take(head: SnapshotHead, signal: AbortSignal, replacesAll = false): Promise<void> {
    assert(!this.#busy, 'raft snapshot: one at a time');
    this.#busy = true;
    try {
      await this.#take(head, signal, replacesAll);
    } catch (err) {
      if (errnoOf(err) !== 'ENOSPC') throw err;
      this.#notBeforeMs = this.#options.clock.monotonicMs() + FULL_PAUSE_MS;
      this.#options.log.error({ err, raftIndex: head.index }, 'no space for a raft snapshot');
    } finally {
      this.#busy = false;
    }
  }

  async #take(head: SnapshotHead, signal: AbortSignal, replacesAll: boolean): Promise<void> {
    const { stateMachine, dir, clock, log, taken } = this.#options;
    const startedMs = clock.monotonicMs();
    const [entries, bytes] = [this.#entriesSince, this.#bytesSince];
    const chunks = startedView(stateMachine.snapshot());
    const writer = await dir.begin(head, encodeSnapshotState(head.confState, head.membership));
    try {
      for await (const chunk of chunks) {
        signal.throwIfAborted();
        await writer.append(chunk);
      }
      await writer.finish();
      await writer.publish();
    } finally {
      await writer.abort(); // nothing, once it is published
    }
    this.#entriesSince -= entries;
    this.#bytesSince -= bytes;
    this.#lastBytes = writer.dataBytes;
    await taken(head, replacesAll);
    const fields = { raftIndex: head.index, bytes: writer.dataBytes };
    log.info({ ...fields, elapsedMs: clock.monotonicMs() - startedMs }, 'raft snapshot taken');
  }
}

/**
 * Asks for the first chunk at once: a generator's body does not run before, and a view that it takes
 * would be of a later moment.
 */
function startedView(
  chunks: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
): AsyncIterable<Uint8Array> {
  const iterator =
    Symbol.asyncIterator in chunks ? chunks[Symbol.asyncIterator]() : chunks[Symbol.iterator]();
  const first = Promise.resolve(iterator.next());
  first.catch(() => {}); // told to whoever reads on
  return {
    async *[Symbol.asyncIterator]() {
      try {
        for (let step = await first; step.done !== true; step = await iterator.next()) {
          yield step.value;
        }
      } finally {
        await iterator.return?.();
      }
    },
  };
}

/** A snapshot of a fresh cluster, written before there is a log. */
export async function writeFirstSnapshot(
  dir: SnapshotDir,
  stateMachine: StateMachine,
  head: SnapshotHead,
): Promise<void> {
  const writer = await dir.begin(head, encodeSnapshotState(head.confState, head.membership));
  try {
    for await (const chunk of stateMachine.snapshot()) await writer.append(chunk);
    await writer.finish();
    await writer.publish();
  } finally {
    await writer.abort();
  }
}

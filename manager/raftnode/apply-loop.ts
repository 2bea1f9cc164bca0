/**
 * Applies committed entries to the state machine, in order, in slices short enough for the event
 * loop, and restores it from snapshots in between. Knows nothing of how entries came to be committed.
 */
import type { Clock } from '../../common/base/clock.ts';
import type { Entry, Message, Snapshot } from '../raft/types.ts';
import type { StateMachine } from './node-options.ts';

/** Longest stretch of work before the event loop gets a turn. */
const SLICE_MS = 3;

export interface ApplyHooks {
  /** The entry is applied; `appliedIndex` includes it. */
  applied(entry: Entry): void;
  /** Puts a conf change into force; called in place of the state machine. */
  applyConfChange(entry: Entry): void;
  /** All entries of the message are applied: deliver its responses. */
  finished(message: Message): void;
  /** The state machine is at the snapshot. */
  restored(snapshot: Snapshot): void;
  /** Final: the process must end. */
  failed(err: unknown): void;
}

type Work =
  | { readonly kind: 'entries'; readonly message: Message }
  | {
      readonly kind: 'restore';
      readonly snapshot: Snapshot;
      readonly data: AsyncIterable<Uint8Array>;
    };

/** INVARIANT: `appliedIndex` grows by one per entry, or jumps to a snapshot's index. */
export class ApplyLoop {
  readonly #stateMachine: StateMachine;
  readonly #clock: Clock;
  readonly #hooks: ApplyHooks;
  #appliedIndex: number;
  #queue: Work[] = [];
  #running: Promise<void> | null = null;
  #stopped = false;

  constructor(stateMachine: StateMachine, clock: Clock, appliedIndex: number, hooks: ApplyHooks) {
    this.#stateMachine = stateMachine;
    this.#clock = clock;
    this.#appliedIndex = appliedIndex;
    this.#hooks = hooks;
  }

  get appliedIndex(): number {
    return this.#appliedIndex;
  }

  /** Takes a `storage-apply` message. */
  push(message: Message): void {
    this.#enqueue({ kind: 'entries', message });
  }

  /** Restores after everything queued so far. */
  restore(snapshot: Snapshot, data: AsyncIterable<Uint8Array>): void {
    this.#enqueue({ kind: 'restore', snapshot, data });
  }

  /** Ends after the slice at hand. */
  async stop(): Promise<void> {
    this.#stopped = true;
    while (this.#running !== null) await this.#running;
  }

  #enqueue(work: Work): void {
    if (this.#stopped) return;
    this.#queue.push(work);
    this.#running ??= this.#run();
  }

  async #run(): Promise<void> {
    try {
      await null; // never inside the turn of the caller, who has messages to send first
      for (let next = this.#queue.shift(); next !== undefined; next = this.#queue.shift()) {
        if (this.#stopped) break;
        if (next.kind === 'entries') await this.#apply(next.message);
        else await this.#restore(next.snapshot, next.data);
      }
    } catch (err) {
      this.#stopped = true;
      this.#hooks.failed(err);
    }
    this.#running = null;
  }

  async #apply(message: Message): Promise<void> {
    let sliceEndMs = this.#clock.monotonicMs() + SLICE_MS;
    for (const entry of message.entries) {
      if (this.#stopped) return;
      if (entry.type !== 'normal') this.#hooks.applyConfChange(entry);
      else if (entry.data.length > 0) this.#stateMachine.apply(entry.index, entry.data);
      this.#appliedIndex = entry.index;
      this.#hooks.applied(entry);
      if (this.#clock.monotonicMs() < sliceEndMs) continue;
      await this.#clock.sleep(0);
      sliceEndMs = this.#clock.monotonicMs() + SLICE_MS;
    }
    this.#hooks.finished(message);
  }

  async #restore(snapshot: Snapshot, data: AsyncIterable<Uint8Array>): Promise<void> {
    const { index } = snapshot.metadata;
    await this.#stateMachine.restore(data, index);
    if (this.#stopped) return;
    this.#appliedIndex = index;
    this.#hooks.restored(snapshot);
  }
}

/**
 * Writes what the core asks to be written: everything queued in one flush, one flush in flight, then
 * the responses. Knows the log and the snapshot directory; nothing of roles or peers.
 */
import type { Clock } from '../../common/base/clock.ts';
import {
  type HardState,
  hardStateOf,
  isEmptySnapshot,
  type Message,
  type Snapshot,
} from '../raft/types.ts';
import type { Keyring } from './crypt.ts';
import type { DurableState, SnapshotHead } from './durable-state.ts';
import type { LogImage } from './log-image.ts';
import type { SnapshotId } from './snapshot-files.ts';
import type { SnapshotPolicy } from './snapshot-policy.ts';
import { WalFullError } from './wal.ts';
import type { WalRecord } from './wal-format.ts';

const FULL_RETRY_MS = 1_000;

export interface AppendHooks {
  /** A snapshot is durable and named in the log: has it restored. Called before `written`. */
  installed(snapshot: Snapshot): Promise<void>;
  /** The message is durable: deliver its responses. */
  written(message: Message): void;
  /** Gives a received snapshot its final name; called before it is named in the log. */
  publish(id: SnapshotId): Promise<void>;
  /** No space for the log; told again with false when there is. */
  full(isFull: boolean): void;
  /** Final: the process must end. */
  failed(err: unknown): void;
}

type Work =
  | { readonly kind: 'message'; readonly message: Message }
  | {
      readonly kind: 'taken';
      readonly head: SnapshotHead;
      /** Segments go even if followers could still use them. */
      readonly replacesAll: boolean;
      readonly ended: Ended;
    }
  | { readonly kind: 'rekey'; readonly keyring: Keyring; readonly ended: Ended }
  | { readonly kind: 'commit'; readonly hardState: HardState };

/** Tells whoever waits for a piece of work. */
type Ended = () => void;

export interface AppendLoopOptions {
  readonly durable: DurableState;
  readonly image: LogImage;
  /** What is durable at start. */
  readonly hardState: HardState;
  readonly clock: Clock;
  readonly policy: Pick<SnapshotPolicy, 'keepOld' | 'keepEntries'>;
  readonly hooks: AppendHooks;
}

/**
 * INVARIANTS: messages are written and answered in order; a response leaves only after everything
 * queued before it is durable; a changed commit index alone is not worth a sync, it waits for the
 * next flush or for `flushCommit`.
 */
export class AppendLoop {
  readonly #options: AppendLoopOptions;
  readonly #abort = new AbortController();
  #queue: Work[] = [];
  #running: Promise<void> | null = null;
  #durable: HardState;
  /** Newer than `#durable` in its commit only. */
  #deferred: HardState | null = null;
  #stopped = false;
  readonly #waiting = new Set<Ended>();

  constructor(options: AppendLoopOptions) {
    this.#options = options;
    this.#durable = options.hardState;
  }

  get busy(): boolean {
    return this.#running !== null;
  }

  /** A restart will not know less to be committed. */
  get durableCommit(): number {
    return this.#durable.commit;
  }

  /** Takes a `storage-append` message. */
  push(message: Message): void {
    this.#enqueue({ kind: 'message', message });
  }

  /**
   * Our own snapshot has its final name: notes it in the log, then deletes what it replaces.
   * @param replacesAll also the segments whose entries are kept for followers; those stay in memory
   */
  snapshotTaken(head: SnapshotHead, replacesAll = false): Promise<void> {
    return this.#wait((ended) => this.#enqueue({ kind: 'taken', head, replacesAll, ended }));
  }

  /** Resolves when log and snapshots use `keyring` for everything that they begin. */
  rekey(keyring: Keyring): Promise<void> {
    return this.#wait((ended) => this.#enqueue({ kind: 'rekey', keyring, ended }));
  }

  /** Writes a commit index that is waiting, when nothing else is being written. */
  flushCommit(): void {
    if (this.busy || this.#deferred === null) return;
    this.#enqueue({ kind: 'commit', hardState: this.#deferred });
  }

  /** Ends after the flush in flight and what is queued; a full disk is not waited for. */
  async stop(): Promise<void> {
    this.flushCommit();
    this.#stopped = true;
    this.#abort.abort();
    while (this.#running !== null) await this.#running;
    this.#release();
  }

  /** Resolves also when the loop ends before the work: nothing is written any more then. */
  #wait(enqueue: (ended: Ended) => void): Promise<void> {
    return new Promise((resolve) => {
      const ended = (): void => {
        this.#waiting.delete(ended);
        resolve();
      };
      this.#waiting.add(ended);
      if (this.#stopped) ended();
      else enqueue(ended);
    });
  }

  #release(): void {
    for (const ended of [...this.#waiting]) ended();
  }

  #enqueue(work: Work): void {
    if (this.#stopped) return;
    this.#queue.push(work);
    this.#running ??= this.#run();
  }

  async #run(): Promise<void> {
    try {
      await null; // gather what this turn still brings
      while (this.#queue.length > 0) {
        const batch = this.#queue;
        this.#queue = [];
        // What came after an abandoned batch would leave a gap in the log.
        if (!(await this.#write(batch))) this.#queue = [];
      }
    } catch (err) {
      this.#stopped = true;
      this.#queue = [];
      this.#options.hooks.failed(err);
      this.#release();
    }
    this.#running = null;
  }

  /** False when stopped while the disk is full: nothing of the batch is on the disk. */
  async #write(batch: readonly Work[]): Promise<boolean> {
    const records: WalRecord[] = [];
    let hardState = this.#deferred;
    let mustSync = false;
    for (const work of batch) {
      if (work.kind === 'message') {
        mustSync = (await this.#collect(work.message, records)) || mustSync;
        hardState = hardStateOf(work.message) ?? hardState;
      } else if (work.kind !== 'rekey') {
        mustSync = true;
        if (work.kind === 'taken') records.push(markOf(work.head, false));
      }
    }
    mustSync ||= hardState !== null && !sameVote(hardState, this.#durable);
    this.#deferred = hardState;
    if (mustSync) {
      if (hardState !== null) records.push({ kind: 'hard-state', hardState });
      if (!(await this.#flush(records))) return false;
      this.#durable = hardState ?? this.#durable;
      this.#deferred = null;
    }
    for (const work of batch) await this.#finish(work);
    return true;
  }

  /** Adds the records of a message; true when they need a sync. */
  async #collect(message: Message, records: WalRecord[]): Promise<boolean> {
    const { snapshot, entries } = message;
    if (snapshot !== null && !isEmptySnapshot(snapshot)) {
      await this.#options.hooks.publish(snapshot.metadata);
      records.push(markOf(snapshot.metadata, true));
    }
    for (const entry of entries) records.push({ kind: 'entry', entry });
    return records.length > 0;
  }

  /** False when stopped while the disk is full: then nothing was written. */
  async #flush(records: readonly WalRecord[]): Promise<boolean> {
    const { durable, clock, hooks } = this.#options;
    for (let full = false; ; full = true) {
      try {
        await durable.wal.append(records);
        if (full) hooks.full(false);
        return true;
      } catch (err) {
        if (!(err instanceof WalFullError)) throw err;
        if (!full) hooks.full(true);
      }
      try {
        await clock.sleep(FULL_RETRY_MS, this.#abort.signal);
      } catch {
        return false; // stopped; nobody was told that anything is durable
      }
    }
  }

  async #finish(work: Work): Promise<void> {
    const { durable, image, hooks, policy } = this.#options;
    switch (work.kind) {
      case 'commit':
        return;
      case 'taken':
        image.snapshotTaken(work.head, policy.keepEntries);
        await this.#cleanUp(work.head, work.replacesAll ? 'all' : 'own');
        work.ended();
        return;
      case 'rekey':
        await durable.wal.rekey(work.keyring);
        durable.snapshots.rekey(work.keyring);
        work.ended();
        return;
      case 'message': {
        const { snapshot, entries } = work.message;
        const hardState = hardStateOf(work.message);
        const installs = snapshot !== null && !isEmptySnapshot(snapshot);
        if (installs) {
          image.install(snapshot);
          await hooks.installed(snapshot);
        }
        image.append(entries);
        if (hardState !== null) image.setHardState(hardState);
        hooks.written(work.message);
        if (installs) await this.#cleanUp(snapshot.metadata, 'installed');
        return;
      }
    }
  }

  /** No log leads from an older snapshot to one that a leader sent: those go in any case. */
  async #cleanUp(newest: SnapshotId, which: 'own' | 'installed' | 'all'): Promise<void> {
    const { durable, image, policy } = this.#options;
    if (newest.index < image.snapshotIndex) return;
    const keepOld = which === 'own' ? policy.keepOld : 0;
    const oldest = await durable.snapshots.deleteReplaced(newest, keepOld);
    await durable.wal.purge(
      which === 'all' ? newest.index : Math.min(oldest, image.firstIndex() - 1),
    );
  }
}

function markOf({ index, term }: SnapshotId, installed: boolean): WalRecord {
  return { kind: 'mark', mark: { index, term, installed } };
}

function sameVote(a: HardState, b: HardState): boolean {
  return a.term === b.term && a.vote === b.vote;
}

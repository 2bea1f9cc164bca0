/**
 * The store: the replicated state in memory. Reads see the tables; writes become log entries through a
 * `Proposer` and take effect, here and on every other manager, when `apply` is given them in the order
 * of the log. It does not know Raft.
 */
import { assert } from '../../common/base/assert.ts';
import type { Clock } from '../../common/base/clock.ts';
import { SkepError } from '../../common/base/errors.ts';
import type { QueueState } from '../../common/base/queue.ts';
import type { Random } from '../../common/base/random.ts';
import { ShardedMap } from '../../common/base/sharded-map.ts';
import { TurnBudget } from '../../common/base/turn-budget.ts';
import type { ObjectKind } from '../../common/model/object-kinds.ts';
import {
  decodeStoreTransaction,
  encodeStoreTransaction,
  transactionIdOf,
} from '../../common/wire/store-log.ts';
import {
  applyActions,
  findConflict,
  findPresent,
  resolveTransaction,
  type StagedTransaction,
} from './apply.ts';
import { ChangeFeed } from './feed.ts';
import { readSnapshot, writeSnapshot } from './snapshot.ts';
import { Tables } from './tables.ts';
import { Transaction } from './transaction.ts';
import type { Proposer, ReadView, Store, Watch, WriteTx } from './types.ts';
import { TablesView } from './view.ts';

/** Proposals that one `update` makes before it gives up with `version-conflict`. */
export const UPDATE_ATTEMPTS_MAX = 16;

export interface MemoryStoreOptions {
  /** null = set later by `setProposer`; writes are refused until then */
  readonly proposer: Proposer | null;
  readonly clock: Clock;
  readonly random: Random;
  /**
   * Told of an item of a batch that is too large for a transaction, and left out: nobody's words may end those who write what
   * follows from them. Absent: the batch rejects.
   */
  readonly onTooLarge?: (err: SkepError) => void;
}

/** A transaction of ours that is on its way through the log. */
interface Pending extends StagedTransaction {
  /** null until applied */
  outcome: 'applied' | 'conflict' | null;
}

/**
 * INVARIANTS
 * - `apply` is a function of the state and the payload alone: every manager has the same tables at
 *   the same revision.
 * - An object's version grows strictly with each write of it, as `revision` does with each entry.
 * - A transaction checks the versions of what it writes, and its guards; not what else it read.
 */
export class MemoryStore implements Store {
  readonly #clock: Clock;
  readonly #transactionPrefix: string;
  readonly #onTooLarge: ((err: SkepError) => void) | null;
  #proposer: Proposer | null;
  #tables = new Tables();
  #nextTransaction = 1;
  readonly #feed = new ChangeFeed();
  readonly #pending = new Map<string, Pending>();
  /** id of what our pending transactions write -> resolves when that one is settled */
  readonly #inFlight: Readonly<Record<ObjectKind, ShardedMap<string, Promise<void>>>> = {
    cluster: new ShardedMap(),
    node: new ShardedMap(),
    service: new ShardedMap(),
    task: new ShardedMap(),
    network: new ShardedMap(),
    secret: new ShardedMap(),
    config: new ShardedMap(),
  };

  constructor(options: MemoryStoreOptions) {
    this.#proposer = options.proposer;
    this.#clock = options.clock;
    this.#onTooLarge = options.onTooLarge ?? null;
    this.#transactionPrefix = Buffer.from(options.random.bytes(12)).toString('base64url');
  }

  /** By whom writes are committed from now on; null = refuse them. */
  setProposer(proposer: Proposer | null): void {
    this.#proposer = proposer;
  }

  get revision(): number {
    return this.#tables.revision;
  }

  view<T>(read: (view: ReadView) => T): T {
    const view = new TablesView(this.#tables);
    try {
      return synchronous(read(view));
    } finally {
      view.close();
    }
  }

  async update<T>(write: (tx: WriteTx) => T, signal?: AbortSignal): Promise<T> {
    for (let attempt = 1; ; ) {
      signal?.throwIfAborted();
      const { result, staged } = this.#run((tx) => {
        const result = synchronous(write(tx));
        tx.requireWithinLimits();
        return result;
      });
      const outcome = await this.#commit(staged, signal);
      if (outcome === 'applied') return result;
      if (outcome === 'conflict') attempt = nextAttempt(attempt);
    }
  }

  async batch<I>(
    items: readonly I[],
    write: (tx: WriteTx, item: I) => void,
    signal?: AbortSignal,
  ): Promise<void> {
    const budget = new TurnBudget(this.#clock);
    budget.begin();
    let attempt = 1;
    for (let done = 0; done < items.length; ) {
      if (budget.spent) await budget.renew();
      signal?.throwIfAborted();
      const { result: count, staged } = this.#run((tx) =>
        writeWhileFits(tx, items, done, write, this.#onTooLarge),
      );
      const outcome = await this.#commit(staged, signal);
      if (outcome === 'applied') {
        done += count;
        attempt = 1;
      } else if (outcome === 'conflict') {
        attempt = nextAttempt(attempt);
      }
    }
  }

  watch(fromRevision?: number): Watch {
    return this.#feed.watch(fromRevision);
  }

  queues(): QueueState[] {
    return this.#feed.queues();
  }

  /**
   * Takes the committed entry of `index` into the state. An empty payload only moves the revision. A
   * transaction that conflicts changes nothing, on any manager. Throws `data-loss` for a payload that
   * cannot be decoded (with the state as it was).
   */
  apply(index: number, payload: Uint8Array): void {
    assert(index > this.revision, `apply entry ${index}: the revision is ${this.revision} already`);
    if (payload.length === 0) {
      this.#tables.revision = index;
      return;
    }
    const pending = this.#pending.get(transactionIdOf(payload) ?? '');
    const staged = pending ?? resolveTransaction(decodeStoreTransaction(payload));
    const present = findPresent(this.#tables, staged.actions);
    const conflict = findConflict(this.#tables, staged, present);
    this.#tables.revision = index;
    if (pending) pending.outcome = conflict ? 'conflict' : 'applied';
    if (conflict) return;
    const changes = applyActions(this.#tables, staged.actions, present);
    this.#feed.append({ revision: index, changes });
  }

  /** The state at the time of the call, in chunks of at most 32 KiB that are made one by one. */
  snapshot(): Iterable<Uint8Array> {
    return writeSnapshot(this.#tables.allObjects());
  }

  /**
   * Replaces the state by a snapshot that covers the log up to `appliedIndex`. Every watch is cut off.
   * Throws `data-loss` for a damaged one (with the state as it was). No `apply` meanwhile.
   */
  async restore(chunks: AsyncIterable<Uint8Array>, appliedIndex: number): Promise<void> {
    const before = this.#tables;
    const revisionBefore = before.revision;
    const tables = await readSnapshot(chunks, this.#clock);
    assert(
      this.#tables === before && before.revision === revisionBefore,
      'the state changed during a restore',
    );
    tables.revision = appliedIndex;
    this.#tables = tables;
    this.#feed.reset(appliedIndex);
  }

  #run<R>(write: (tx: Transaction) => R): { result: R; staged: StagedTransaction } {
    const tx = new Transaction(this.#tables, Math.floor(this.#clock.wallMs()));
    try {
      const result = write(tx);
      return { result, staged: { actions: tx.actions(), guards: tx.guards() } };
    } finally {
      tx.close();
    }
  }

  /**
   * Proposes and waits for the outcome. `busy` = not proposed, because an earlier transaction of ours
   * that writes the same object was still under way (it is settled now): this one was bound to fail.
   */
  async #commit(
    { actions, guards }: StagedTransaction,
    signal: AbortSignal | undefined,
  ): Promise<'applied' | 'conflict' | 'busy'> {
    if (actions.length === 0) return 'applied';
    for (const { kind, id } of actions) {
      const inFlight = this.#inFlight[kind];
      const settled = inFlight.size > 0 ? inFlight.get(id) : undefined;
      if (!settled) continue;
      await abortable(settled, signal);
      return 'busy';
    }
    if (!this.#proposer) {
      throw new SkepError(
        'unavailable',
        'commit transaction: this manager is not ready for writes',
      );
    }
    const transactionId = `${this.#transactionPrefix}${this.#nextTransaction++}`;
    const pending: Pending = { actions, guards, outcome: null };
    this.#pending.set(transactionId, pending);
    const payload = encodeStoreTransaction({ transactionId, actions, guards });
    const committed = this.#propose(payload, signal);
    const release = (): void => {
      this.#pending.delete(transactionId);
      for (const { kind, id } of actions) this.#inFlight[kind].delete(id);
    };
    const settled = committed.then(release, release);
    for (const { kind, id } of actions) this.#inFlight[kind].set(id, settled);
    await committed;
    if (pending.outcome === null) {
      throw new SkepError('unavailable', 'commit transaction: its outcome is unknown');
    }
    return pending.outcome;
  }

  /** Never throws synchronously. */
  async #propose(payload: Uint8Array, signal: AbortSignal | undefined): Promise<void> {
    await this.#proposer!.propose(payload, signal);
  }
}

/** Throws `version-conflict` after the last one. */
function nextAttempt(attempt: number): number {
  if (attempt >= UPDATE_ATTEMPTS_MAX) {
    throw new SkepError(
      'version-conflict',
      `commit transaction: lost ${attempt} times, update out of sequence`,
    );
  }
  return attempt + 1;
}

/** Writes items from `start` on until the transaction is full; answers how many. @param leaveOut one that never fits */
function writeWhileFits<I>(
  tx: Transaction,
  items: readonly I[],
  start: number,
  write: (tx: WriteTx, item: I) => void,
  leaveOut: ((err: SkepError) => void) | null,
): number {
  for (let at = start; at < items.length; at++) {
    const savepoint = tx.savepoint();
    synchronous(write(tx, items[at]!));
    if (!tx.overLimit) continue;
    const isAlone = savepoint === 0;
    if (isAlone && !leaveOut) throw tx.limitError();
    if (isAlone) leaveOut!(tx.limitError());
    tx.rollback(savepoint);
    if (!isAlone) return at - start;
  }
  return items.length - start;
}

/** A callback that awaits would read and write outside of its moment. */
function synchronous<T>(result: T): T {
  assert(!(result instanceof Promise), 'a store callback must be synchronous');
  return result;
}

async function abortable(settled: Promise<void>, signal: AbortSignal | undefined): Promise<void> {
  if (!signal) return settled;
  signal.throwIfAborted();
  let onAbort = (): void => {};
  const aborted = new Promise<void>((resolve) => {
    onAbort = resolve;
    signal.addEventListener('abort', onAbort, { once: true });
  });
  await Promise.race([settled, aborted]);
  signal.removeEventListener('abort', onAbort);
  signal.throwIfAborted();
}

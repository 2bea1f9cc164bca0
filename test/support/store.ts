/** A real store without Raft: proposals are applied at once, or when the test says so. */

import { isDeepStrictEqual } from 'node:util';
import { AssertionError, assert } from '../../common/base/assert.ts';
import type { SkepError } from '../../common/base/errors.ts';
import { SeededRandom } from '../../common/base/random.ts';
import type { ObjectKind, ObjectsByKind } from '../../common/model/object-kinds.ts';
import { decodeObject } from '../../common/wire/object.ts';
import { decodeStoreTransaction } from '../../common/wire/store-log.ts';
import { MemoryStore } from '../../manager/store/store.ts';
import type { Proposer } from '../../manager/store/types.ts';
import { FakeClock } from './fake-clock.ts';

interface Held {
  readonly payload: Uint8Array;
  readonly resolve: (index: number) => void;
  readonly reject: (reason: unknown) => void;
}

/**
 * The log of one manager that always has a quorum. INVARIANT: entries are applied in the order in which
 * they were proposed.
 */
export class LocalProposer implements Proposer {
  /** Every payload that was applied; entry i has index i + 2 (1 is the leader's empty entry). */
  readonly entries: Uint8Array[] = [];
  /** true: proposals wait for `release`, `commitOnly` or `fail`. */
  hold = false;
  readonly #held: Held[] = [];
  #store: MemoryStore | null = null;

  attach(store: MemoryStore): void {
    this.#store = store;
    store.apply(1, new Uint8Array(0));
  }

  get held(): number {
    return this.#held.length;
  }

  async propose(payload: Uint8Array, signal?: AbortSignal): Promise<number> {
    signal?.throwIfAborted();
    if (!this.hold) return this.append(payload);
    return new Promise((resolve, reject) => {
      this.#held.push({ payload, resolve, reject });
    });
  }

  /** Applies held proposals, oldest first; undefined = all. Answers how many. */
  release(count = this.#held.length): number {
    const released = this.#held.splice(0, count);
    for (const { payload, resolve } of released) resolve(this.append(payload));
    return released.length;
  }

  /** Rejects held proposals, oldest first, without applying them. */
  fail(reason: unknown, count = this.#held.length): void {
    for (const { reject } of this.#held.splice(0, count)) reject(reason);
  }

  /** Applies an entry as if another manager had proposed it. Answers its index. */
  append(payload: Uint8Array): number {
    const store = this.#store;
    assert(store !== null, 'the proposer has a store');
    const index = store.revision + 1;
    const check = encodingCheck(store, payload);
    store.apply(index, payload);
    this.entries.push(payload);
    check();
    return index;
  }
}

/**
 * The writer's store keeps the object that was handed to it, all others keep what its encoding says:
 * both must be the same, or a follower would see another cluster.
 */
function encodingCheck(store: MemoryStore, payload: Uint8Array): () => void {
  if (payload.length === 0) return () => {};
  const { actions } = decodeStoreTransaction(payload);
  const stored = () => actions.map(({ kind, id }) => store.view((view) => view.get(kind, id)));
  const before = stored();
  return () => {
    const after = stored();
    for (const [i, { action, kind, id, bytes }] of actions.entries()) {
      if (action === 'remove' || after[i] === before[i]) continue; // unchanged = it conflicted
      const decoded = decodeObject(kind, bytes);
      if (isDeepStrictEqual(plain(after[i]), plain(decoded))) continue;
      throw new AssertionError(
        `${kind} ${id} was stored with a form that does not survive its encoding:\n` +
          `${JSON.stringify(after[i])}\n${JSON.stringify(decoded)}`,
      );
    }
  };
}

/** Buffers as plain byte arrays, for comparison. */
function plain(value: unknown): unknown {
  if (ArrayBuffer.isView(value))
    return Buffer.from(value.buffer, value.byteOffset, value.byteLength);
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, plain(inner)]));
}

export interface TestStore {
  readonly store: MemoryStore;
  readonly proposer: LocalProposer;
  readonly clock: FakeClock;
  readonly random: SeededRandom;
  /** Creates objects in one transaction; answers them as stored. */
  create<K extends ObjectKind>(
    kind: K,
    ...objects: ObjectsByKind[K][]
  ): Promise<ObjectsByKind[K][]>;
  /** The object as it is now. Throws `not-found`. */
  get<K extends ObjectKind>(kind: K, id: string): ObjectsByKind[K];
}

/** An empty store at revision 1. */
export function makeStore(
  options: { clock?: FakeClock; seed?: number; onTooLarge?: (err: SkepError) => void } = {},
): TestStore {
  const clock = options.clock ?? new FakeClock();
  const random = new SeededRandom(options.seed ?? 1);
  const proposer = new LocalProposer();
  const { onTooLarge } = options;
  const store = new MemoryStore({ proposer, clock, random, ...(onTooLarge && { onTooLarge }) });
  proposer.attach(store);
  return {
    store,
    proposer,
    clock,
    random,
    create: (kind, ...objects) =>
      store.update((tx) => objects.map((object) => tx.create(kind, object))),
    get: (kind, id) => store.view((view) => view.require(kind, id)),
  };
}

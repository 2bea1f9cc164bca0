/** A store without Raft: what it proposes is committed at once, as SwarmKit's in-memory store does. */
import { SystemClock } from '../../common/base/clock.ts';
import { SeededRandom } from '../../common/base/random.ts';
import { MemoryStore } from '../../manager/store/store.ts';
import {
  MAX_CHANGES_PER_TRANSACTION,
  type Proposer,
  type WriteTx,
} from '../../manager/store/types.ts';

export interface LocalStore {
  readonly store: MemoryStore;
  readonly clock: SystemClock;
  readonly random: SeededRandom;
  /**
   * Transactions that write `items`, made and encoded, but not committed. The function that is returned
   * commits them, one in each turn of the event loop, and resolves when all are applied.
   */
  prepare<T>(
    items: readonly T[],
    write: (tx: WriteTx, item: T) => void,
  ): Promise<() => Promise<void>>;
}

/** Empty, at revision 1. */
export function localStore(): LocalStore {
  const clock = new SystemClock();
  const random = new SeededRandom(1);
  let held: (() => void)[] | null = null;
  const proposer: Proposer = {
    propose: (payload) =>
      new Promise((resolve) => {
        const commit = (): void => {
          const index = store.revision + 1;
          store.apply(index, payload);
          resolve(index);
        };
        if (held) held.push(commit);
        else commit();
      }),
  };
  const store = new MemoryStore({ proposer, clock, random });
  store.apply(1, new Uint8Array(0));
  return {
    store,
    clock,
    random,
    prepare: async (items, write) => {
      held = [];
      const written: Promise<void>[] = [];
      for (let at = 0; at < items.length; at += MAX_CHANGES_PER_TRANSACTION) {
        const part = items.slice(at, at + MAX_CHANGES_PER_TRANSACTION);
        written.push(
          store.update((tx) => {
            for (const item of part) write(tx, item);
          }),
        );
      }
      const commits = held;
      held = null;
      return async () => {
        for (const commit of commits) {
          commit();
          await nextTurn();
        }
        await Promise.all(written);
      };
    },
  };
}

export function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

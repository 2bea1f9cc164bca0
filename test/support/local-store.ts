/** A store whose proposals commit at once, here: for tests of rooms that only need a store. */
import { SkepError } from '../../common/base/errors.ts';
import { SeededRandom } from '../../common/base/random.ts';
import { MemoryStore } from '../../manager/store/store.ts';
import { InstantClock } from './instant-clock.ts';

export interface LocalStore {
  readonly store: MemoryStore;
  readonly clock: InstantClock;
  readonly random: SeededRandom;
  /** false = proposals are refused with `not-leader` */
  leading: boolean;
}

export function localStore(seed = 1, clock = new InstantClock()): LocalStore {
  const random = new SeededRandom(seed);
  let index = 0;
  const store = new MemoryStore({ proposer: null, clock, random });
  const local: LocalStore = { store, clock, random, leading: true };
  store.setProposer({
    propose: async (payload) => {
      if (!local.leading) throw new SkepError('not-leader', 'this manager is not the leader');
      store.apply(++index, payload);
      return index;
    },
  });
  return local;
}

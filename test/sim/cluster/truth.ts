/**
 * What is committed, whatever any manager believes: one more store, which gets every entry when the
 * first manager applies it, and how it came to be so.
 */
import { crc32 } from 'node:zlib';
import { SeededRandom } from '../../../common/base/random.ts';
import { MemoryStore } from '../../../manager/store/store.ts';
import type { Commit, ReadView, Watch } from '../../../manager/store/types.ts';
import { FakeClock } from '../../support/fake-clock.ts';

export class Truth {
  readonly #store = new MemoryStore({
    proposer: null,
    clock: new FakeClock(),
    random: new SeededRandom(0),
  });
  readonly #watch: Watch = this.#store.watch();
  /** By index: checksum of the entry. */
  readonly #known = new Map<number, number>();

  get revision(): number {
    return this.#store.revision;
  }

  view<T>(read: (view: ReadView) => T): T {
    return this.#store.view(read);
  }

  snapshot(): Iterable<Uint8Array> {
    return this.#store.snapshot();
  }

  /** Takes an entry; answers what it changed when it is new. Throws when another one was there. */
  take(index: number, payload: Uint8Array): readonly Commit[] {
    const checksum = crc32(payload);
    const known = this.#known.get(index);
    if (known !== undefined && known !== checksum) {
      throw new Error(`two entries were applied at index ${index}`);
    }
    if (index <= this.#store.revision) return [];
    this.#known.set(index, checksum);
    this.#store.apply(index, payload);
    return this.#watch.poll();
  }
}

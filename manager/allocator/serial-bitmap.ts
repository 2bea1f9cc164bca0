/**
 * Numbers 0..size-1 of which each is free or taken, handed out serially: the next free one above the
 * last given; freed ones come again only after a wrap-around, so that stale holders meet nobody.
 */
import { assert } from '../../common/base/assert.ts';

const WORD_BITS = 32;
const FULL_WORD = 0xffffffff;

export class SerialBitmap {
  readonly #words: Uint32Array;
  readonly size: number;
  #taken = 0;
  /** the number given last; -1 before the first */
  #last = -1;

  /** @param size 1..2^24 */
  constructor(size: number) {
    assert(Number.isInteger(size) && size >= 1 && size <= 2 ** 24, `bitmap size ${size}`);
    this.size = size;
    this.#words = new Uint32Array(Math.ceil(size / WORD_BITS));
    const spare = this.#words.length * WORD_BITS - size;
    // Bits beyond the end count as taken for the search, not for `taken`.
    if (spare > 0) this.#words[this.#words.length - 1] = (FULL_WORD << (WORD_BITS - spare)) >>> 0;
  }

  get taken(): number {
    return this.#taken;
  }

  get free(): number {
    return this.size - this.#taken;
  }

  has(index: number): boolean {
    return ((this.#words[index >>> 5]! >>> (index & 31)) & 1) === 1;
  }

  /** False when it was taken already. */
  take(index: number): boolean {
    assert(index >= 0 && index < this.size, `index ${index} outside 0..${this.size - 1}`);
    if (this.has(index)) return false;
    this.#words[index >>> 5]! |= 1 << (index & 31);
    this.#taken++;
    return true;
  }

  /** The next free number above the one given last, or null when all are taken. */
  takeNext(): number | null {
    if (this.free === 0) return null;
    const start = this.#last + 1 < this.size ? this.#last + 1 : 0;
    const found = this.#findFree(start) ?? this.#findFree(0);
    assert(found !== null, 'bitmap has a free number but none was found');
    this.take(found);
    this.#last = found;
    return found;
  }

  /** Idempotent. */
  release(index: number): void {
    assert(index >= 0 && index < this.size, `index ${index} outside 0..${this.size - 1}`);
    if (!this.has(index)) return;
    this.#words[index >>> 5]! &= ~(1 << (index & 31));
    this.#taken--;
  }

  /** Goes on above `index`: after a rebuild, with the highest number in use. */
  continueAbove(index: number): void {
    if (index > this.#last) this.#last = index;
  }

  #findFree(from: number): number | null {
    const words = this.#words;
    let word = from >>> 5;
    // Numbers below `from` in its first word count as taken here.
    let free = ~words[word]! & (FULL_WORD << (from & 31));
    for (;;) {
      if (free !== 0) return word * WORD_BITS + (31 - Math.clz32(free & -free));
      word++;
      if (word >= words.length) return null;
      free = ~words[word]!;
    }
  }
}

/**
 * The window of append messages under way to one follower, limited in messages and bytes. A ring
 * that grows on demand.
 */
import { assert } from '../../common/base/assert.ts';

interface Inflight {
  /** Index of the last entry in the message. */
  readonly index: number;
  readonly bytes: number;
}

export class Inflights {
  readonly #maxMessages: number;
  readonly #maxBytes: number;
  #ring: Inflight[] = [];
  #start = 0;
  #count = 0;
  #bytes = 0;

  /** `maxBytes` is soft: the message that reaches it is still taken. Infinity = no limit. */
  constructor(maxMessages: number, maxBytes: number) {
    this.#maxMessages = maxMessages;
    this.#maxBytes = maxBytes;
  }

  get count(): number {
    return this.#count;
  }

  get full(): boolean {
    return this.#count === this.#maxMessages || this.#bytes >= this.#maxBytes;
  }

  /** Records a message; only when not `full`, and with ascending indexes. */
  add(index: number, bytes: number): void {
    assert(!this.full, 'track inflight append: the window is full');
    assert(
      this.#count === 0 || this.#at(this.#count - 1).index <= index,
      `track inflight append: index ${index} is out of order`,
    );
    if (this.#count === this.#ring.length) this.#grow();
    this.#ring[(this.#start + this.#count) % this.#ring.length] = { index, bytes };
    this.#count++;
    this.#bytes += bytes;
  }

  /** Frees all messages that end at or before `index`. */
  freeUpTo(index: number): void {
    while (this.#count > 0) {
      const oldest = this.#at(0);
      if (oldest.index > index) return;
      this.#start = (this.#start + 1) % this.#ring.length;
      this.#count--;
      this.#bytes -= oldest.bytes;
    }
  }

  clear(): void {
    this.#ring = [];
    this.#start = 0;
    this.#count = 0;
    this.#bytes = 0;
  }

  #at(position: number): Inflight {
    return this.#ring[(this.#start + position) % this.#ring.length]!;
  }

  #grow(): void {
    const size = Math.min(Math.max(4, this.#ring.length * 2), this.#maxMessages);
    const ring: Inflight[] = [];
    for (let i = 0; i < this.#count; i++) ring.push(this.#at(i));
    ring.length = size;
    this.#ring = ring;
    this.#start = 0;
  }
}

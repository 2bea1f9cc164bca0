/**
 * Chance as a parameter. `SystemRandom` draws from the kernel; tests and the simulator pass a
 * seeded generator instead.
 */
import { randomBytes } from 'node:crypto';

export interface Random {
  /** `length` bytes. */
  bytes(length: number): Uint8Array;
  /** Uniform integer, `0 <= n < bound`; `1 <= bound <= 2^48`. */
  below(bound: number): number;
  /** Uniform in [0, 1). */
  unit(): number;
}

/** Bytes that are asked of the kernel's generator at once: a question costs 2 us, and an id needs 32 bytes. */
const POOL_BYTES = 4_096;
/** More than that is asked for by itself. */
const POOLED_MAX = 64;

export class SystemRandom implements Random {
  /** from `#given` on nobody was given them yet */
  #pool: Uint8Array = new Uint8Array(0);
  #given = 0;

  bytes(length: number): Uint8Array {
    if (length > POOLED_MAX) return randomBytes(length);
    if (this.#given + length > this.#pool.length) {
      this.#pool = randomBytes(POOL_BYTES);
      this.#given = 0;
    }
    const from = this.#given;
    this.#given += length;
    const bytes = new Uint8Array(this.#pool.subarray(from, this.#given));
    this.#pool.fill(0, from, this.#given); // they may become a secret
    return bytes;
  }

  below(bound: number): number {
    return belowFrom(this, bound);
  }

  unit(): number {
    return randomBytes(6).readUIntBE(0, 6) / 2 ** 48;
  }
}

/** `sfc32` (C. Doty-Humphrey, PractRand): small, fast, good enough to drive simulations. Not for keys. */
export class SeededRandom implements Random {
  readonly #state: Uint32Array;

  constructor(seed: number) {
    this.#state = new Uint32Array([seed >>> 0, Math.floor(seed / 2 ** 32) >>> 0, 0x9e3779b9, 1]);
    for (let i = 0; i < 15; i++) this.#next();
  }

  /** An independent generator, so that drawing more in one concern does not shift another. */
  fork(): SeededRandom {
    return new SeededRandom(this.#next() * 2 ** 20 + (this.#next() >>> 12));
  }

  bytes(length: number): Uint8Array {
    const out = new Uint8Array(length);
    for (let i = 0; i < length; i++) out[i] = this.#next() & 0xff;
    return out;
  }

  below(bound: number): number {
    return belowFrom(this, bound);
  }

  unit(): number {
    return this.#next() / 2 ** 32;
  }

  #next(): number {
    const s = this.#state;
    const [a, b, c, d] = [s[0]!, s[1]!, s[2]!, s[3]!];
    const t = (a + b + d) >>> 0;
    s[3] = d + 1;
    s[0] = b ^ (b >>> 9);
    s[1] = c + (c << 3);
    s[2] = ((c << 21) | (c >>> 11)) + t;
    return t;
  }
}

function belowFrom(random: Random, bound: number): number {
  if (!Number.isInteger(bound) || bound < 1 || bound > 2 ** 48) {
    throw new RangeError(`random bound: ${bound} is not an integer in 1..2^48`);
  }
  return Math.min(bound - 1, Math.floor(random.unit() * bound));
}

/** A copy of `items` in random order (Fisher-Yates). */
export function shuffled<T>(items: readonly T[], random: Random): T[] {
  const out = [...items];
  for (let i = out.length - 1; i > 0; i--) {
    const j = random.below(i + 1);
    [out[i], out[j]] = [out[j]!, out[i]!];
  }
  return out;
}

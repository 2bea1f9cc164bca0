/**
 * What happened, as lines: the last ones to read, all of them as one hash. Two runs of one seed that
 * differ anywhere have different hashes.
 */
import { crc32 } from 'node:zlib';

export class Trace {
  readonly #kept: number;
  readonly #lines: string[] = [];
  #next = 0;
  #low = 0;
  #high = 0x9e3779b9;
  #count = 0;

  /** @param kept lines that can be read back */
  constructor(kept: number) {
    this.#kept = kept;
  }

  add(line: string): void {
    this.#low = crc32(line, this.#low);
    this.#high = (Math.imul(this.#high ^ this.#low, 0x01000193) + this.#count) >>> 0;
    this.#count++;
    this.#lines[this.#next] = line;
    this.#next = (this.#next + 1) % this.#kept;
  }

  /** Lines so far. */
  get count(): number {
    return this.#count;
  }

  /** 16 hex digits. */
  get hash(): string {
    return `${hex(this.#high)}${hex(this.#low)}`;
  }

  /** Oldest first. */
  get last(): string[] {
    return [...this.#lines.slice(this.#next), ...this.#lines.slice(0, this.#next)];
  }
}

function hex(word: number): string {
  return (word >>> 0).toString(16).padStart(8, '0');
}

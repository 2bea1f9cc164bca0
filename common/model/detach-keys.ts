/** The keys that leave a container while it runs on, as Docker's clients and daemons know them. Pure. */
import { SkepError } from '../base/errors.ts';

export const DETACH_KEYS_DEFAULT = 'ctrl-p,ctrl-q';

/** `ctrl-p,ctrl-q`, or single characters between commas. Throws `invalid-argument`. */
export function parseDetachKeys(text: string): Buffer {
  const keys = text.split(',').map((key) => {
    const [, letter] = /^ctrl-([a-z@[\]\\^_])$/.exec(key.toLowerCase()) ?? [];
    if (letter !== undefined) return letter.toUpperCase().charCodeAt(0) & 0x1f;
    if (Buffer.byteLength(key) === 1) return key.charCodeAt(0);
    throw new SkepError('invalid-argument', `invalid detach keys '${text}': unknown key '${key}'`);
  });
  return Buffer.from(keys);
}

/** @param text '' = Docker's own. Throws as `parseDetachKeys`. */
export function detachKeysOf(text: string): Buffer {
  return parseDetachKeys(text || DETACH_KEYS_DEFAULT);
}

/** Looks for the keys in what is typed. What only begins like them is held back, and passed on when it goes on otherwise. */
export class DetachKeys {
  readonly #keys: Buffer;
  /** so many of the keys have been seen */
  #seen = 0;

  constructor(keys: Buffer) {
    this.#keys = keys;
  }

  /** The bytes for the container; `isDetached` once all keys came, and what follows them is lost. */
  push(chunk: Buffer): { readonly passed: Buffer; readonly isDetached: boolean } {
    const passed: number[] = [];
    for (const byte of chunk) {
      if (byte !== this.#keys[this.#seen]) {
        passed.push(...this.#keys.subarray(0, this.#seen));
        this.#seen = 0;
      }
      if (byte === this.#keys[this.#seen]) {
        this.#seen++;
        if (this.#seen === this.#keys.length) {
          return { passed: Buffer.from(passed), isDetached: true };
        }
        continue;
      }
      passed.push(byte);
    }
    return { passed: Buffer.from(passed), isDetached: false };
  }
}

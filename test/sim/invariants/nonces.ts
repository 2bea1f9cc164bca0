/** That no key ever encrypts two texts under one nonce: seen where the product calls the cipher. */
import crypto from 'node:crypto';
import { syncBuiltinESMExports } from 'node:module';
import { type Checker, expect } from '../checker.ts';

/** Called with each key and nonce of this process; replaced by the run at hand. */
let listener: ((use: string) => void) | null = null;
let installed = false;

/** For the whole process, once: named imports of `node:crypto` follow the default export. */
function install(): void {
  if (installed) return;
  installed = true;
  const original = crypto.createCipheriv;
  const watched = (...args: Parameters<typeof original>): ReturnType<typeof original> => {
    const [, key, nonce] = args;
    const bytes = (part: unknown): string => Buffer.from(part as Uint8Array).toString('latin1');
    listener?.(`${bytes(key)}${bytes(nonce)}`);
    return original(...args);
  };
  crypto.createCipheriv = watched as typeof original;
  syncBuiltinESMExports();
}

export class NonceOnce implements Checker {
  readonly number = 16;
  readonly name = 'a nonce is used once under its key';
  readonly #used = new Set<string>();
  #repeated = 0;

  constructor() {
    install();
    listener = (use) => {
      if (this.#used.has(use)) this.#repeated++;
      this.#used.add(use);
    };
  }

  after(): void {
    expect(this.#repeated === 0, () => `${this.#repeated} times`);
  }
}

/**
 * Encryption at rest. A data encryption key (DEK, 32 bytes) never encrypts anything itself: each
 * file gets a sub-key from it and its own random salt. Knows nothing of records.
 *
 * INVARIANT: a nonce is used once per sub-key. It is the counter of frames in the file, files are
 * never appended to after a reopen (a new one with a new salt is begun), so a counter cannot come
 * back with other plaintext, not even after a torn write.
 */
import { createCipheriv, createDecipheriv, hkdfSync } from 'node:crypto';
import { assert } from '../../common/base/assert.ts';
import { SkepError } from '../../common/base/errors.ts';
import { writeU64 } from './bytes.ts';

export const DEK_BYTES = 32;
export const SALT_BYTES = 16;
export const TAG_BYTES = 16;
export const KEY_CHECK_BYTES = 8;
const NONCE_BYTES = 12;
const ALGORITHM = 'aes-256-gcm';

/** Encrypts and decrypts the frames of one file. */
export class FileCipher {
  readonly #key: Buffer;

  constructor(key: Buffer) {
    this.#key = key;
  }

  /** @param counter of the frame in its file, never used before with this cipher */
  seal(plain: Uint8Array, counter: number, associated: Uint8Array): { body: Buffer; tag: Buffer } {
    const cipher = createCipheriv(ALGORITHM, this.#key, nonceOf(counter));
    cipher.setAAD(associated);
    const body = cipher.update(plain);
    const rest = cipher.final();
    assert(rest.length === 0, 'GCM keeps no bytes back');
    return { body, tag: cipher.getAuthTag() };
  }

  /** Null when the bytes are not what this key sealed under `counter` and `associated`. */
  unseal(
    body: Uint8Array,
    counter: number,
    tag: Uint8Array,
    associated: Uint8Array,
  ): Buffer | null {
    const decipher = createDecipheriv(ALGORITHM, this.#key, nonceOf(counter));
    decipher.setAAD(associated);
    decipher.setAuthTag(tag);
    const plain = decipher.update(body);
    try {
      decipher.final();
    } catch {
      return null;
    }
    return plain;
  }
}

/** The keys that files of this node may be under: one to write with, older ones only to read. */
export class Keyring {
  readonly #deks: readonly Uint8Array[];

  constructor(dek: Uint8Array, olderDeks: readonly Uint8Array[] = []) {
    for (const key of [dek, ...olderDeks]) {
      assert(key.length === DEK_BYTES, `data encryption key: ${key.length} bytes is not 32`);
    }
    this.#deks = [dek, ...olderDeks];
  }

  /** For a new file. `check` goes into its header, so that a wrong key is told from damage. */
  forNewFile(salt: Uint8Array, purpose: string): { cipher: FileCipher; check: Buffer } {
    const dek = this.#deks[0]!;
    return { cipher: cipherOf(dek, salt, purpose), check: checkOf(dek, salt) };
  }

  /** Throws SkepError `failed-precondition` when none of the keys wrote the file. */
  forFile(path: string, salt: Uint8Array, check: Uint8Array, purpose: string): FileCipher {
    const dek = this.#deks.find((candidate) => checkOf(candidate, salt).equals(check));
    if (dek === undefined) {
      throw new SkepError(
        'failed-precondition',
        `read ${path}: it was encrypted with another key than those in manager.json: nothing was changed; put the manager.json of this raft directory back`,
      );
    }
    return cipherOf(dek, salt, purpose);
  }

  /** Whether both write with the same key. */
  writesLike(other: Keyring): boolean {
    return Buffer.from(this.#deks[0]!).equals(other.#deks[0]!);
  }

  /** Whether a file with this header is under the key that writes now. */
  isCurrent(salt: Uint8Array, check: Uint8Array): boolean {
    return checkOf(this.#deks[0]!, salt).equals(check);
  }
}

function cipherOf(dek: Uint8Array, salt: Uint8Array, purpose: string): FileCipher {
  return new FileCipher(Buffer.from(hkdfSync('sha256', dek, salt, `skep ${purpose}`, DEK_BYTES)));
}

function checkOf(dek: Uint8Array, salt: Uint8Array): Buffer {
  return Buffer.from(hkdfSync('sha256', dek, salt, 'skep key check', KEY_CHECK_BYTES));
}

function nonceOf(counter: number): Buffer {
  const nonce = Buffer.alloc(NONCE_BYTES);
  writeU64(nonce, counter, 4);
  return nonce;
}

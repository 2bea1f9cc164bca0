/**
 * Small secrets in files, sealed under a key: AES-256-GCM, each time under a sub-key of its own (HKDF
 * with a fresh salt), so that the nonce need not change.
 */
import { createCipheriv, createDecipheriv, hkdfSync } from 'node:crypto';
import type { Random } from '../base/random.ts';

/** Base64. */
export interface Sealed {
  readonly salt: string;
  readonly tag: string;
  readonly body: string;
}

const ALGORITHM = 'aes-256-gcm';
const KEY_BYTES = 32;
const SALT_BYTES = 16;
const TAG_BYTES = 16;
const NONCE = Buffer.alloc(12);

/** What must be the same to open it again, beside the key. */
export interface SealContext {
  /** keeps keys for different things apart */
  readonly purpose: string;
  /** in the clear beside the sealed text, and bound to it */
  readonly associated: string;
}

export function seal(plain: string, key: Uint8Array, context: SealContext, random: Random): Sealed {
  const salt = random.bytes(SALT_BYTES);
  const cipher = createCipheriv(ALGORITHM, subKey(key, salt, context), NONCE);
  cipher.setAAD(Buffer.from(context.associated));
  const body = Buffer.concat([cipher.update(plain, 'utf8'), cipher.final()]);
  return { salt: encode(salt), tag: encode(cipher.getAuthTag()), body: encode(body) };
}

/** Null when it was sealed with another key or context, or is damaged. */
export function unseal(sealed: Sealed, key: Uint8Array, context: SealContext): string | null {
  const salt = Buffer.from(sealed.salt, 'base64');
  const decipher = createDecipheriv(ALGORITHM, subKey(key, salt, context), NONCE, {
    authTagLength: TAG_BYTES,
  });
  decipher.setAAD(Buffer.from(context.associated));
  try {
    decipher.setAuthTag(Buffer.from(sealed.tag, 'base64'));
    const plain = decipher.update(Buffer.from(sealed.body, 'base64'));
    return Buffer.concat([plain, decipher.final()]).toString('utf8');
  } catch {
    return null;
  }
}

function subKey(key: Uint8Array, salt: Uint8Array, { purpose }: SealContext): Buffer {
  return Buffer.from(hkdfSync('sha256', key, salt, `skep ${purpose}`, KEY_BYTES));
}

function encode(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('base64');
}

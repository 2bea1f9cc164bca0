/** The unlock key of a locked cluster as a value: 32 random bytes, and the text that people keep. */
import { SkepError } from '../base/errors.ts';
import type { Random } from '../base/random.ts';

export const UNLOCK_KEY_BYTES = 32;
const PREFIX = 'SWMKEY-1-';
/** Base64 without padding, as Docker writes it. */
const ENCODED = /^[A-Za-z0-9+/]{43}$/;

export function createUnlockKey(random: Random): Uint8Array {
  return random.bytes(UNLOCK_KEY_BYTES);
}

export function formatUnlockKey(key: Uint8Array): string {
  return PREFIX + Buffer.from(key).toString('base64').replace(/=+$/, '');
}

/** Throws SkepError `invalid-argument` on a text that no unlock key has. */
export function parseUnlockKey(text: string): Uint8Array {
  const encoded = text.startsWith(PREFIX) ? text.slice(PREFIX.length) : '';
  const key = ENCODED.test(encoded) ? Buffer.from(encoded, 'base64') : Buffer.alloc(0);
  if (key.length === UNLOCK_KEY_BYTES) return key;
  throw new SkepError('invalid-argument', `read unlock key: it must look like ${PREFIX}...`);
}

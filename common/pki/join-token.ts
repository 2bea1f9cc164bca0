/** Join tokens: `SWMTKN-1-<digest of the root certificate>-<secret>`, as values. */
import { timingSafeEqual } from 'node:crypto';
import { SkepError } from '../base/errors.ts';
import type { Random } from '../base/random.ts';
import { certificateDigest, DIGEST_CHARS, parseCertificate } from './certificate.ts';

const PREFIX = 'SWMTKN-1';
const SECRET_BYTES = 16;
/** 36^25 > 2^128, and no shorter power is. */
const SECRET_CHARS = 25;
const PATTERN = new RegExp(`^${PREFIX}-([0-9a-z]{${DIGEST_CHARS}})-([0-9a-z]{${SECRET_CHARS}})$`);

export interface JoinToken {
  /** of the root certificate that a joining node must be shown */
  readonly digest: string;
  readonly secret: string;
}

/** A token with a fresh secret for the cluster of `rootPem`. */
export function createJoinToken(rootPem: string, random: Random): string {
  const hex = Buffer.from(random.bytes(SECRET_BYTES)).toString('hex');
  const secret = BigInt(`0x${hex}`).toString(36).padStart(SECRET_CHARS, '0');
  return `${PREFIX}-${certificateDigest(parseCertificate(rootPem))}-${secret}`;
}

/** Throws `invalid-argument` (`invalid join token`); the token is never part of the message. */
export function parseJoinToken(token: string): JoinToken {
  const match = PATTERN.exec(token);
  if (!match) throw new SkepError('invalid-argument', 'invalid join token');
  return { digest: match[1]!, secret: match[2]! };
}

/** Equality in constant time for tokens of equal length. */
export function sameToken(a: string, b: string): boolean {
  const [left, right] = [Buffer.from(a), Buffer.from(b)];
  return left.length === right.length && timingSafeEqual(left, right);
}

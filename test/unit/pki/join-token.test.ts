import { beforeAll, describe, expect, test } from 'vitest';
import { SeededRandom } from '../../../common/base/random.ts';
import { certificateDigest, parseCertificate } from '../../../common/pki/certificate.ts';
import { createRoot } from '../../../common/pki/issue.ts';
import { createJoinToken, parseJoinToken, sameToken } from '../../../common/pki/join-token.ts';

const random = new SeededRandom(7);
let rootPem = '';

beforeAll(async () => {
  rootPem = (await createRoot({ nowMs: Date.UTC(2026, 0, 1), random })).certPem;
});

describe('join token', () => {
  test('carries the digest of the root and a secret of its own', () => {
    const [one, two] = [createJoinToken(rootPem, random), createJoinToken(rootPem, random)];
    expect(one).toMatch(/^SWMTKN-1-[0-9a-z]{50}-[0-9a-z]{25}$/);
    expect(parseJoinToken(one).digest).toBe(certificateDigest(parseCertificate(rootPem)));
    expect(parseJoinToken(one).secret).not.toBe(parseJoinToken(two).secret);
  });

  test('with a small secret is padded to its full length', () => {
    const zeros = {
      ...random,
      bytes: (n: number) => new Uint8Array(n),
      below: () => 0,
      unit: () => 0,
    };
    expect(parseJoinToken(createJoinToken(rootPem, zeros)).secret).toBe('0'.repeat(25));
  });

  test.each([
    '',
    'SWMTKN-1',
    `SWMTKN-2-${'a'.repeat(50)}-${'b'.repeat(25)}`,
    `SWMTKN-1-${'a'.repeat(49)}-${'b'.repeat(25)}`,
    `SWMTKN-1-${'a'.repeat(50)}-${'b'.repeat(26)}`,
    `SWMTKN-1-${'A'.repeat(50)}-${'b'.repeat(25)}`,
    ` SWMTKN-1-${'a'.repeat(50)}-${'b'.repeat(25)}`,
  ])('of the form %j is refused without being repeated', (token) => {
    expect(() => parseJoinToken(token)).toThrow(/^invalid join token$/);
  });

  test('compares by content', () => {
    expect(sameToken('abc', 'abc')).toBe(true);
    expect(sameToken('abc', 'abd')).toBe(false);
    expect(sameToken('abc', 'abcd')).toBe(false);
  });
});

import { describe, expect, test } from 'vitest';
import { SeededRandom } from '../../../common/base/random.ts';
import {
  createUnlockKey,
  formatUnlockKey,
  parseUnlockKey,
} from '../../../common/pki/unlock-key.ts';

describe('an unlock key', () => {
  test('is written as Docker writes it and read back', () => {
    const key = createUnlockKey(new SeededRandom(4));
    const text = formatUnlockKey(key);
    expect(text).toMatch(/^SWMKEY-1-[A-Za-z0-9+/]{43}$/);
    expect(Buffer.from(parseUnlockKey(text)).equals(Buffer.from(key))).toBe(true);
  });

  test.each([
    '',
    'SWMKEY-1-',
    `SWMKEY-1-${'A'.repeat(42)}`,
    `SWMKEY-1-${'A'.repeat(44)}`,
    `SWMKEY-2-${'A'.repeat(43)}`,
    `SWMKEY-1-${'A'.repeat(42)}=`,
    `SWMKEY-1-${'-'.repeat(43)}`,
    'SWMTKN-1-abc-def',
  ])('%j is none, and is not repeated in the words', (text) => {
    expect(() => parseUnlockKey(text)).toThrow(
      /^read unlock key: it must look like SWMKEY-1-\.\.\.$/,
    );
  });
});

import { describe, expect, test } from 'vitest';
import { isOwnDirectory } from '../../../daemon/engineapi/volume-archives.ts';

describe('the directory of an archive that is the volume itself', () => {
  test.each(['.', './', '/', '././', './/.'])('is %s', (name) => {
    expect(isOwnDirectory(name)).toBe(true);
  });

  test.each(['..', './..', 'a', './a/', '.a', `${'/'.repeat(5_000)}x`])('is not %s', (name) => {
    expect(isOwnDirectory(name)).toBe(false);
  });
});

import { describe, expect, test } from 'vitest';
import { requireOwnPlatform, requirePlatform } from '../../../daemon/engineapi/platform-choice.ts';

const AMD = { os: 'linux', architecture: 'amd64' };
const ARM = { os: 'linux', architecture: 'arm64' };

describe('--platform', () => {
  test.each([
    [AMD, ''],
    [AMD, 'linux'],
    [AMD, 'linux/amd64'],
    [AMD, 'Linux/x86_64'],
    [ARM, 'linux/aarch64'],
    [ARM, 'linux/arm64/v8'],
  ])('%j is %j', (platform, text) => {
    expect(() => requirePlatform(platform, 'web:1', text)).not.toThrow();
    expect(() => requireOwnPlatform(platform, text)).not.toThrow();
  });

  test.each([
    [AMD, 'linux/arm64', 'linux/amd64'],
    [ARM, 'linux/amd64', 'linux/arm64'],
    [AMD, 'windows', 'linux/amd64'],
    [AMD, 'windows/amd64', 'linux/amd64'],
  ])('%j is not %j', (platform, text, actual) => {
    expect(() => requirePlatform(platform, 'web:1', text)).toThrow(
      `image with reference web:1 was found but does not match the specified platform: wanted ${text}, actual: ${actual}`,
    );
    expect(() => requireOwnPlatform(platform, text)).toThrow(
      `platform ${text}: images here are for ${actual}`,
    );
  });
});

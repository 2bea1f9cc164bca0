import { describe, expect, test } from 'vitest';
import { NativeError } from '../../../native/ffi/library.ts';
import { startFrom } from '../../../worker/executor/foreign-image.ts';
import { hostArchitecture } from '../../../worker/images/image-config.ts';
import { CommandError } from '../../../worker/runtime/exec-session.ts';

const HOST = hostArchitecture(process.arch);
const OTHER = { os: 'linux', architecture: HOST === 's390x' ? 'arm64' : 's390x' };
const SAME = { os: 'linux', architecture: HOST };

const failing = (errno: string) => ({
  startContainer: () =>
    Promise.reject(new CommandError('start container', new NativeError(errno, 'execve', '/app'))),
});

describe('a command that cannot be run', () => {
  test('of an image for another processor, is told with both', async () => {
    await expect(startFrom(OTHER, failing('ENOEXEC'), 'c')).rejects.toMatchObject({
      exitCode: 126,
      message:
        'start container: exec: "/app": exec format error: ' +
        `the image is for linux/${OTHER.architecture}, this node is linux/${HOST}`,
    });
  });

  test.each([
    [SAME, 'ENOEXEC', 'exec format error'],
    [undefined, 'ENOEXEC', 'exec format error'],
    [OTHER, 'EACCES', 'permission denied'],
  ])('for another reason (%j, %s), is told as it is', async (image, errno, words) => {
    await expect(startFrom(image, failing(errno), 'c')).rejects.toThrow(
      new RegExp(`"/app": ${words}$`),
    );
  });

  test('otherwise is run: what an image says of itself may be wrong', async () => {
    const state = { status: 'running' } as never;
    const runtime = { startContainer: async () => state };
    expect(await startFrom(OTHER, runtime, 'c')).toBe(state);
  });
});

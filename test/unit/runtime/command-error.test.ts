import { expect, test } from 'vitest';
import { NativeError } from '../../../native/ffi/library.ts';
import { CommandError } from '../../../worker/runtime/exec-session.ts';

test.each([
  ['ENOENT', 'execve', 'invalid-argument'],
  ['EPIPE', 'write', 'conflict'], // it was killed meanwhile
  ['EIO', 'mount', 'internal'],
])('a command that does not run for %s of %s is told of as %s', (errno, syscall, code) => {
  const error = new CommandError('start container', new NativeError(errno, syscall, 'x'));
  expect(error.code).toBe(code);
});

import { describe, expect, test } from 'vitest';
import { failureExitCode, failureWords } from '../../../worker/runtime/task-files.ts';

describe('failures of the shim in words', () => {
  test.each([
    ['ENOENT', 'execve', 'foo', 'exec: "foo": executable file not found in $PATH', 127],
    ['ENOENT', 'execve', '/bin/foo', 'exec: "/bin/foo": no such file or directory', 127],
    ['EACCES', 'execve', '/etc', 'exec: "/etc": permission denied', 126],
    ['ENOEXEC', 'execve', '/x', 'exec: "/x": exec format error', 126],
    ['ELOOP', 'execve', '/x', 'exec: "/x": ELOOP', 126],
    ['ENOENT', 'chdir', '/no', 'chdir to cwd ("/no"): no such file or directory', 127],
    ['ENOTDIR', 'chdir', '/x', 'chdir to cwd ("/x"): not a directory', 127],
    ['EXDEV', 'chdir', '/x: outside', 'chdir /x: outside: EXDEV', 126],
    ['EBUSY', 'mount', 'a on /b', 'mount a on /b: EBUSY', 126],
  ])('%s of %s %s', (errno, syscall, detail, words, exitCode) => {
    expect(failureWords(errno, syscall, detail)).toBe(words);
    expect(failureExitCode(errno, syscall)).toBe(exitCode);
  });
});

// The structs and numbers that cross the border between C and TypeScript, read from the C headers by
// the compiler itself. Skipped where there is none.
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ERROR_BYTES } from '../../native/ffi/library.ts';
import {
  EXIT_BYTES,
  FRAME,
  FRAME_BYTES_MAX,
  HELLO_BYTES,
  LOG_HEADER_BYTES,
  LOG_LINE_MAX,
  PROTOCOL_VERSION,
} from '../../native/ffi/shim-protocol.ts';

const hasCompiler = spawnSync('cc', ['--version']).status === 0;
const root = join(import.meta.dirname, '../..');

const FRAMES: Readonly<Record<keyof typeof FRAME, string>> = {
  hello: 'HELLO',
  reply: 'REPLY',
  exit: 'EXIT',
  stdout: 'STDOUT',
  stderr: 'STDERR',
  execExit: 'EXEC_EXIT',
  start: 'START',
  signal: 'SIGNAL',
  exec: 'EXEC',
  stdin: 'STDIN',
  stdinClose: 'STDIN_CLOSE',
  execSignal: 'EXEC_SIGNAL',
  execResize: 'EXEC_RESIZE',
  attach: 'ATTACH',
  resize: 'RESIZE',
  prepare: 'PREPARE',
  create: 'CREATE',
};

/** C expression -> the value that TypeScript assumes. */
const EXPECTED: Record<string, number> = {
  'sizeof(struct skep_error)': ERROR_BYTES,
  'offsetof(struct skep_error, errno_value)': 0,
  'offsetof(struct skep_error, syscall)': 4,
  'offsetof(struct skep_error, detail)': 32,
  'sizeof(struct skep_hello)': HELLO_BYTES,
  'offsetof(struct skep_hello, version)': 0,
  'offsetof(struct skep_hello, status)': 4,
  'offsetof(struct skep_hello, shim_pid)': 8,
  'offsetof(struct skep_hello, init_pid)': 12,
  'offsetof(struct skep_hello, created_nanos)': 16,
  'offsetof(struct skep_hello, started_nanos)': 24,
  'sizeof(struct skep_exit)': EXIT_BYTES,
  'offsetof(struct skep_exit, started_nanos)': 0,
  'offsetof(struct skep_exit, finished_nanos)': 8,
  'offsetof(struct skep_exit, exit_code)': 16,
  'offsetof(struct skep_exit, signal)': 20,
  'offsetof(struct skep_exit, oom_killed)': 24,
  'offsetof(struct skep_exit, start_error)': EXIT_BYTES - ERROR_BYTES,
  'sizeof(struct skep_log_header)': LOG_HEADER_BYTES,
  'offsetof(struct skep_log_header, seconds)': 0,
  'offsetof(struct skep_log_header, nanoseconds)': 8,
  'offsetof(struct skep_log_header, stream)': 12,
  'offsetof(struct skep_log_header, length)': 16,
  'offsetof(struct skep_log_header, check)': 20,
  SKEP_LOG_CHECK: 0x474f4c53,
  SKEP_LOG_LINE_MAX: LOG_LINE_MAX,
  SKEP_PROTOCOL_VERSION: PROTOCOL_VERSION,
  SKEP_FRAME_BYTES_MAX: FRAME_BYTES_MAX,
  SKEP_SPEC_MAGIC: 0x504b5353,
  SKEP_SPEC_VERSION: 5,
  SKEP_CREATED: 0,
  SKEP_RUNNING: 1,
  SKEP_EXITED: 2,
  SKEP_PROCESS_NO_NEW_PRIVILEGES: 1,
  SKEP_PROCESS_STDIN: 2,
  SKEP_PROCESS_CREATE_CWD: 4,
  SKEP_PROCESS_TTY: 8,
  SKEP_PROCESS_OOM_SCORE: 16,
  SKEP_PROCESS_INIT: 32,
  SKEP_PROCESS_SIZE: 64,
  ...Object.fromEntries(
    Object.entries(FRAME).map(([name, value]) => [
      `SKEP_FRAME_${FRAMES[name as keyof typeof FRAME]}`,
      value,
    ]),
  ),
};

describe.skipIf(!hasCompiler)('layouts shared with C', () => {
  let dir: string;
  let actual: Record<string, number>;
  beforeAll(() => {
    dir = mkdtempSync(join(tmpdir(), 'skep-layouts-'));
    const prints = Object.keys(EXPECTED).map(
      (name) => `printf("${name}\\t%llu\\n", (unsigned long long)(${name}));`,
    );
    const source = `#include <stdio.h>
#include <stddef.h>
#include "skep.h"
#include "skep_spec.h"
int main(void) { ${prints.join('\n')} return 0; }`;
    writeFileSync(join(dir, 'layouts.c'), source);
    const program = join(dir, 'layouts');
    const include = join(root, 'native/include');
    execFileSync('cc', ['-std=gnu11', `-I${include}`, '-o', program, join(dir, 'layouts.c')]);
    const lines = execFileSync(program, { encoding: 'utf8' }).trim().split('\n');
    actual = Object.fromEntries(
      lines.map((line) => line.split('\t')).map(([k, v]) => [k, Number(v)]),
    );
  });
  afterAll(() => rmSync(dir, { recursive: true, force: true }));

  test.each(Object.entries(EXPECTED))('%s is %i', (name, value) => {
    expect(actual[name]).toBe(value);
  });
});

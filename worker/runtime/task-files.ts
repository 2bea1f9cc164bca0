/**
 * The files of a task directory that outlive the daemon: bundle.json (ours), `state` and `exit` (the
 * shim's, see native/src/shim/state.c). Parses and writes; decides nothing.
 */
import { readFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { SkepError } from '../../common/base/errors.ts';
import { errnoName, type NativeError } from '../../native/ffi/library.ts';
import type { ShimExit } from '../../native/ffi/shim-protocol.ts';
import { replaceFile } from '../../native/ffi/trees.ts';
import type { Logging } from './logging/log-senders.ts';
import type { OciSpec } from './oci.ts';
import type { OciRuntime } from './oci-config.ts';
import type { ProcessIdentity } from './process-identity.ts';

/** What a container is made from. */
export interface ContainerBundle {
  readonly spec: OciSpec;
  /** size at which the log file is rotated; 0 = never */
  readonly logMaxBytes: number;
  /** files kept, the current one included; 0 = what is written goes nowhere */
  readonly logMaxFiles: number;
  /** its environment without what came from links; absent = it has none */
  readonly ownEnv?: readonly string[];
  /** what makes it; absent: our own shim */
  readonly runtime?: OciRuntime;
  /** absent: kept here, and nothing else */
  readonly logging?: Logging;
}

/** How a container ended. */
export interface ExitRecord {
  /** 128 + signal when signalled; 127 or 126 when the command could not be run */
  readonly exitCode: number;
  /** 0 = it exited by itself */
  readonly signal: number;
  readonly oomKilled: boolean;
  /** why it never ran or was given up; null = it ran and ended */
  readonly error: string | null;
  /** 0 = never started */
  readonly startedAtMs: number;
  readonly finishedAtMs: number;
}

/** The shim's `state` file. */
export interface ShimState {
  readonly shim: ProcessIdentity;
  readonly init: ProcessIdentity;
  readonly createdAtMs: number;
  /** null = not started */
  readonly startedAtMs: number | null;
}

/**
 * Synchronous: these files were written in this life of the machine and are in memory, and a start of
 * the daemon reads three for each container.
 */
function readJson(path: string): Record<string, unknown> | null {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (err) {
    if (err instanceof Error && 'code' in err && err.code === 'ENOENT') return null;
    throw err;
  }
  try {
    return JSON.parse(text);
  } catch (err) {
    throw new SkepError('data-loss', `read ${path}`, { cause: err });
  }
}

export function nanosToMs(value: unknown): number {
  return Number(BigInt(String(value ?? 0)) / 1_000_000n);
}

function replace(path: string, text: string): Promise<void> {
  return replaceFile(path, text, { mode: 0o600, unfinished: `${path}.tmp` });
}

export async function writeBundle(taskDir: string, bundle: ContainerBundle): Promise<void> {
  await replace(`${taskDir}/bundle.json`, JSON.stringify({ version: 1, ...bundle }));
}

/** For another OCI runtime; what one kept of an earlier run is forgotten. */
export async function writeOciConfig(taskDir: string, text: string): Promise<void> {
  for (const name of ['oci', 'oci.log', 'oci.pid']) {
    await rm(`${taskDir}/${name}`, { recursive: true, force: true });
  }
  await replace(`${taskDir}/config.json`, text);
}

/** null when there is none; rejects with `data-loss` when it is damaged. */
export async function readBundle(taskDir: string): Promise<ContainerBundle | null> {
  return readJson(`${taskDir}/bundle.json`) as ContainerBundle | null;
}

export async function readState(taskDir: string): Promise<ShimState | null> {
  const state = readJson(`${taskDir}/state`);
  if (state === null) return null;
  const startedAtMs = nanosToMs(state['startedAtNanos']);
  return {
    shim: { pid: Number(state['shimPid']), startTicks: Number(state['shimStartTicks']) },
    init: { pid: Number(state['initPid']), startTicks: Number(state['initStartTicks']) },
    createdAtMs: nanosToMs(state['createdAtNanos']),
    startedAtMs: startedAtMs === 0 ? null : startedAtMs,
  };
}

export async function readExit(taskDir: string): Promise<ExitRecord | null> {
  const exit = readJson(`${taskDir}/exit`);
  if (exit === null) return null;
  const errno = Number(exit['errno'] ?? 0);
  const error =
    errno === 0
      ? ((exit['error'] as string | undefined) ?? null)
      : failureWords(errnoName(errno), String(exit['syscall']), String(exit['detail']));
  return {
    exitCode: Number(exit['exitCode']),
    signal: Number(exit['signal']),
    oomKilled: exit['oomKilled'] === true,
    error,
    startedAtMs: nanosToMs(exit['startedAtNanos']),
    finishedAtMs: nanosToMs(exit['finishedAtNanos']),
  };
}

/** Of the run before, when the container is made anew. */
export async function forgetExit(taskDir: string): Promise<void> {
  await rm(`${taskDir}/exit`, { force: true });
}

/** The same from the shim's last words, for when the file cannot be written. */
export function exitRecordOf(exit: ShimExit): ExitRecord {
  const { startError } = exit;
  return {
    exitCode: exit.exitCode,
    signal: exit.signal,
    oomKilled: exit.oomKilled,
    error:
      startError === null
        ? null
        : failureWords(startError.errno, startError.syscall, errorDetail(startError)),
    startedAtMs: nanosToMs(exit.startedAtNanos),
    finishedAtMs: nanosToMs(exit.finishedAtNanos),
  };
}

/** For a container whose shim is gone: the record that the shim could not write. */
export async function writeExit(taskDir: string, record: ExitRecord): Promise<void> {
  const { startedAtMs, finishedAtMs, ...rest } = record;
  const nanos = (ms: number): string => `${BigInt(Math.trunc(ms)) * 1_000_000n}`;
  const text = JSON.stringify({
    version: 1,
    ...rest,
    startedAtNanos: nanos(startedAtMs),
    finishedAtNanos: nanos(finishedAtMs),
  });
  await replace(`${taskDir}/exit`, `${text}\n`);
}

/** A NativeError's message is `<syscall> <detail>: <errno>`. */
export function errorDetail(err: NativeError): string {
  return err.message.slice(err.syscall.length + 1, err.message.length - err.errno.length - 2);
}

const DIRECTORY_WORDS: Readonly<Record<string, string>> = {
  ENOENT: 'no such file or directory',
  ENOTDIR: 'not a directory',
};

/** What a person reads when a step of the shim failed; the wording of runc for commands. */
export function failureWords(errno: string, syscall: string, detail: string): string {
  if (isWithoutDirectory(errno, syscall)) {
    return `chdir to cwd ("${detail}"): ${DIRECTORY_WORDS[errno]}`;
  }
  if (syscall !== 'execve') return `${syscall} ${detail}: ${errno}`;
  const command = `exec: "${detail}"`;
  if (errno === 'ENOENT') {
    return detail.includes('/')
      ? `${command}: no such file or directory`
      : `${command}: executable file not found in $PATH`;
  }
  if (errno === 'EACCES') return `${command}: permission denied`;
  if (errno === 'ENOEXEC') return `${command}: exec format error`;
  return `${command}: ${errno}`;
}

/** The exit code that a shell would give for such a failure, and Docker for want of a directory to run in. */
export function failureExitCode(errno: string, syscall: string): number {
  const isMissing = syscall === 'execve' ? errno === 'ENOENT' : isWithoutDirectory(errno, syscall);
  return isMissing ? 127 : 126;
}

/** What a command was to run in is not there, or no directory. */
export function isWithoutDirectory(errno: string, syscall: string): boolean {
  return syscall === 'chdir' && DIRECTORY_WORDS[errno] !== undefined;
}

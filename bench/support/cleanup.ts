/**
 * What a benchmark made and must not leave behind, also when it fails or is interrupted: processes
 * (ended by pid), temporary directories, and what parts say how to undo.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';

const directories: string[] = [];
const pids = new Set<number>();
const undoings: (() => void)[] = [];

process.on('exit', () => {
  for (const pid of pids) endProcess(pid);
  for (const undo of undoings.reverse()) undo();
  for (const directory of directories) {
    rmSync(directory, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
  }
});
for (const [signal, status] of [
  ['SIGINT', 130],
  ['SIGTERM', 143],
  ['SIGHUP', 129],
] as const) {
  process.on(signal, () => process.exit(status));
}

/** On the disk of the temporary directory; removed at the end. */
export function temporaryDirectory(name: string): string {
  const directory = mkdtempSync(join(tmpdir(), `skep-bench-${name}-`));
  directories.push(directory);
  return directory;
}

/** Runs at the end, after processes were ended: the last one given first. It must not wait for anything. */
export function undoAtExit(undo: () => void): void {
  undoings.push(undo);
}

/** To be ended with this process. Returns the release. */
export function endAtExit(pid: number): () => void {
  pids.add(pid);
  return () => pids.delete(pid);
}

/** Runs a program to its end; throws with what it said when it fails. */
export async function runProgram(command: string, args: readonly string[]): Promise<string> {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  const texts = Promise.all([textOf(child.stdout), textOf(child.stderr)]);
  const [status] = await once(child, 'close');
  const [output, errors] = await texts;
  if (status !== 0) throw new Error(`${command} ${args.join(' ')}: ${errors || output}`);
  return output;
}

/**
 * As `runProgram`, what it prints goes nowhere: a program that writes its lines in small pieces is not held up by this process, which
 * would read them on the cores that are measured.
 */
export async function runSilently(command: string, args: readonly string[]): Promise<void> {
  const child = spawn(command, args, { stdio: ['ignore', 'ignore', 'pipe'] });
  const errors = textOf(child.stderr);
  const [status] = await once(child, 'close');
  if (status !== 0) throw new Error(`${command} ${args.join(' ')}: ${await errors}`);
}

async function textOf(stream: Readable): Promise<string> {
  let text = '';
  for await (const chunk of stream) text += String(chunk);
  return text;
}

function endProcess(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // has ended by itself
  }
}

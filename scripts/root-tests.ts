/**
 * `npm run test:root [-- FILE...]`: the suites that make kernel objects (test/native, test/cluster),
 * two files at a time. Each file runs by `vitest run` on a machine of its own
 * (test/support/private-machine): names, ports, mounts, processes and firewall of one are nothing to the
 * other, and what a killed suite leaves, control groups aside, ends with its machine.
 *
 * A file that failed beside another one is run once more with the machines to itself: two suites on two cores make each
 * other's limits short. It is named at the end all the same, with what failed: it is a fault, of the suite or of skep, that
 * wants mending.
 *
 * Prints what vitest said of a file when it has ended, a line that counts, and whether tests with docker were
 * left out. Exit status: 0 = all passed, at the latest alone; 1 = some did not.
 */
import { spawn, spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';

/** At once. Most of a suite's time is waiting; three of them on two cores make each other's limits short. */
const LANES = 2;
/** More files than this that failed are no chance: none of them is run again. */
const AGAIN_MAX = 4;
/** Lines of a failure that are shown again at the end, where a record that is cut keeps them. */
const FAILURE_LINES = 60;
/** On a quiet machine no file takes a third of it, but for that of the emulated machine; in full some take long. */
const LIMIT_MS = (process.env['SKEP_PROOFS'] === 'full' ? 60 : 30) * 60_000;
/** More than the file gives its machine: it says what was done and what was not. */
const EMULATED_LIMIT_MS = 60 * 60_000;
const EMULATED = 'test/native/runtime-cgroup2.test.ts';
const KILL_AFTER_MS = 10_000;

/**
 * What fetches Debian packages while it runs, which a private machine, without a way out, cannot, and what fills a disk, of
 * which a private machine has none. They share this machine, so one of them runs at a time.
 */
const NEED_THIS_MACHINE = [
  EMULATED,
  'test/native/network-encryption.test.ts',
  'test/native/network-sctp.test.ts',
  'test/cluster/clients.test.ts',
  'test/cluster/differential.test.ts',
  'test/cluster/nginx.test.ts',
  'test/cluster/images.test.ts',
];

interface Outcome {
  readonly file: string;
  readonly passed: boolean;
  readonly report: string;
}

/** Files not yet begun, the longest kinds first, so that the lanes end together. */
function allFiles(): string[] {
  const found = ['test/cluster', 'test/native'].flatMap((dir) =>
    readdirSync(dir)
      .filter((name) => name.endsWith('.test.ts'))
      .map((name) => join(dir, name)),
  );
  return [...NEED_THIS_MACHINE, ...found.filter((file) => !NEED_THIS_MACHINE.includes(file))];
}

function seconds(fromMs: number): string {
  return `${((Date.now() - fromMs) / 1000).toFixed(0)} s`;
}

const running = new Set<number>();

/** Runs one file. Resolves when all that it started has ended, as far as its machine can tell. */
async function runFile(file: string): Promise<Outcome> {
  const vitest = ['node_modules/.bin/vitest', 'run', file];
  const command = NEED_THIS_MACHINE.includes(file)
    ? vitest
    : ['test/support/private-machine', ...vitest];
  const began = Date.now();
  const child = spawn(command[0] as string, command.slice(1), {
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true, // a group of its own, to be ended as a whole
  });
  const pid = child.pid ?? 0;
  running.add(pid);
  const said: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => said.push(chunk));
  child.stderr.on('data', (chunk: Buffer) => said.push(chunk));
  let late = false;
  const limitMs = file === EMULATED ? EMULATED_LIMIT_MS : LIMIT_MS;
  const limit = setTimeout(() => {
    late = true;
    endGroup(pid);
  }, limitMs);
  const code = await new Promise<number>((resolve) => {
    child.on('error', () => resolve(1));
    child.on('close', (exit) => resolve(exit ?? 1));
  });
  clearTimeout(limit);
  running.delete(pid);
  const passed = code === 0;
  const words = late ? `ended after ${limitMs / 60_000} minutes` : passed ? 'passed' : 'FAILED';
  const report = Buffer.concat(said).toString();
  process.stdout.write(
    `${passed ? withoutLog(report) : report}${file}: ${words}, ${seconds(began)}\n`,
  );
  return { file, passed, report };
}

/** What a suite's daemons and rooms log is read when it failed. */
function withoutLog(report: string): string {
  return report.replace(/^\{"level":.*\n/gm, '');
}

/** From vitest's own heading on, where there is one. */
function failureIn(report: string): string {
  const lines = withoutLog(report).split('\n');
  const from = lines.findIndex((line) => /Failed (Tests|Suites)/.test(line));
  return (from === -1 ? lines.slice(-FAILURE_LINES) : lines.slice(from, from + FAILURE_LINES)).join(
    '\n',
  );
}

function endGroup(pid: number): void {
  signalGroup(pid, 'SIGTERM');
  setTimeout(() => signalGroup(pid, 'SIGKILL'), KILL_AFTER_MS).unref();
}

function signalGroup(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(-pid, signal);
  } catch {} // it has ended
}

/** Runs files from the queue until none is left that this lane may run. */
async function lane(queue: string[], outcomes: Outcome[]): Promise<void> {
  for (;;) {
    const next = queue.findIndex((file) => !NEED_THIS_MACHINE.includes(file) || !machineTaken);
    if (next === -1) return;
    const [file] = queue.splice(next, 1) as [string];
    const takes = NEED_THIS_MACHINE.includes(file);
    if (takes) machineTaken = true;
    outcomes.push(await runFile(file));
    if (takes) machineTaken = false;
  }
}

let machineTaken = false;

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => {
    for (const pid of running) signalGroup(pid, 'SIGTERM');
    process.exit(1);
  });
}

const began = Date.now();
const asked = process.argv.slice(2);
const queue = asked.length > 0 ? asked : allFiles();
const outcomes: Outcome[] = [];
await Promise.all(Array.from({ length: LANES }, () => lane(queue, outcomes)));
const failed = outcomes.filter(({ passed }) => !passed);
const again: Outcome[] = [];
if (outcomes.length > 1 && failed.length <= AGAIN_MAX)
  for (const { file } of failed) again.push(await runFile(file));
console.log(`${outcomes.length} files in ${seconds(began)}, ${failed.length} failed`);
for (const { file, report } of [...failed, ...again.filter(({ passed }) => !passed)]) {
  console.log(`\n${file} failed:\n${failureIn(report)}`);
}
const passedAlone = again.filter(({ passed }) => passed).map(({ file }) => file);
const stillFailed = failed.map(({ file }) => file).filter((file) => !passedAlone.includes(file));
for (const file of passedAlone) console.log(`failed beside another, passed alone: ${file}`);
for (const file of stillFailed) console.log(`FAILED: ${file}`);
// No package that scripts/setup installs has it, and vitest does not print the names of what it skips.
if (spawnSync('docker', ['--version']).status !== 0) {
  console.log('docker is not installed: the tests that have it as their client were skipped');
}
process.exitCode = stillFailed.length === 0 ? 0 : 1;

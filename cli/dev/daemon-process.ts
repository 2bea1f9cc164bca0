/**
 * One host's daemon as a process: starting it in the host's network, waiting for its socket, ending
 * it by pid. Knows nothing of the cluster.
 */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { open, readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import type { Clock } from '../../common/base/clock.ts';
import { SkepError } from '../../common/base/errors.ts';
import { EngineClient } from '../client/engine-client.ts';
import { hasArgument, inNetwork, isRunning, signalProcess } from './kernel.ts';
import type { DaemonSettings, HostPlan } from './plan.ts';
import { dataDirOf, logFileOf, readPid, writePid } from './state.ts';

const READY_LIMIT_MS = 20_000;
const READY_POLL_MS = 50;
const STOP_LIMIT_MS = 6_000;
const LOG_LINES_SHOWN = 12;

/** `bin/skepd` of the checkout that this file belongs to, compiled or not. */
function daemonProgram(): string {
  const candidates = ['../../../bin/skepd', '../../bin/skepd'];
  const paths = candidates.map((path) => fileURLToPath(new URL(path, import.meta.url)));
  const found = paths.find((path) => existsSync(path));
  if (found === undefined)
    throw new SkepError('not-found', `bin/skepd: not at ${paths.join(', ')}`);
  return found;
}

/** The pid of the host's daemon; null when it does not run. */
export async function daemonPid(host: HostPlan): Promise<number | null> {
  const pid = await readPid(host);
  if (pid === null || !(await isRunning(pid))) return null;
  return (await hasArgument(pid, dataDirOf(host))) ? pid : null;
}

/**
 * Starts the daemon, detached from this process, and resolves when its API answers. Throws with the
 * last lines of its log when it ends before, or takes too long.
 */
export async function startDaemon(
  host: HostPlan,
  settings: DaemonSettings,
  clock: Clock,
  signal: AbortSignal,
): Promise<void> {
  const log = await open(logFileOf(host), 'a');
  const argv = inNetwork(host, [
    daemonProgram(),
    ...['--data-dir', dataDirOf(host)],
    ...['--host', `unix://${host.socket}`],
    ...['--listen-addr', `${host.address}:2377`],
    ...['--advertise-addr', host.address],
    ...['--hostname', host.name],
    ...['--cgroup-parent', host.cgroupParent],
    ...['--log-level', settings.logLevel],
    ...(settings.apiReadOnWorkers ? ['--api-read-on-workers'] : []),
    ...(settings.apiExecOnWorkers ? ['--api-exec-on-workers'] : []),
    ...(settings.imageGc === undefined ? [] : ['--image-gc', settings.imageGc]),
    ...settings.insecureRegistries.flatMap((registry) => ['--insecure-registry', registry]),
    ...(settings.daemonFlags ?? []),
  ]);
  const child = spawn(argv[0]!, argv.slice(1), {
    detached: true, // a session of its own: Ctrl-C here does not reach it
    stdio: ['ignore', log.fd, log.fd],
    cwd: '/',
  });
  let ended: string | null = null;
  child.once('error', (err) => {
    ended = `could not be started: ${err.message}`;
  });
  child.once('exit', (code, by) => {
    ended = `ended with ${by ?? `status ${code}`}`;
  });
  child.unref();
  try {
    if (child.pid !== undefined) await writePid(host, child.pid);
    const deadline = clock.monotonicMs() + READY_LIMIT_MS;
    while (!(await answers(host, signal))) {
      signal.throwIfAborted();
      if (ended !== null) throw await failure(host, `the daemon ${ended}`);
      if (clock.monotonicMs() > deadline) {
        throw await failure(host, `the daemon did not answer within ${READY_LIMIT_MS / 1000} s`);
      }
      await clock.sleep(READY_POLL_MS, signal);
    }
  } finally {
    await log.close();
  }
}

/** Whether the host's socket answers. */
export async function answers(host: HostPlan, signal?: AbortSignal): Promise<boolean> {
  const client = new EngineClient(`unix://${host.socket}`);
  try {
    await client.ping(signal);
    return true;
  } catch {
    return false;
  } finally {
    client.close();
  }
}

/** Ends the daemon politely, then by SIGKILL. */
export async function stopDaemon(host: HostPlan, clock: Clock): Promise<void> {
  const pid = await daemonPid(host);
  if (pid === null) return;
  signalProcess(pid, 'SIGTERM');
  if (await gone(pid, STOP_LIMIT_MS, clock)) return;
  signalProcess(pid, 'SIGKILL');
  await gone(pid, STOP_LIMIT_MS, clock);
}

/** kill -9. Throws `failed-precondition` when it does not run. */
export async function killDaemon(host: HostPlan, clock: Clock): Promise<number> {
  const pid = await daemonPid(host);
  if (pid === null) {
    throw new SkepError('failed-precondition', `the daemon of ${host.name} does not run`);
  }
  signalProcess(pid, 'SIGKILL');
  await gone(pid, STOP_LIMIT_MS, clock);
  return pid;
}

async function gone(pid: number, limitMs: number, clock: Clock): Promise<boolean> {
  const deadline = clock.monotonicMs() + limitMs;
  while (await isRunning(pid)) {
    if (clock.monotonicMs() > deadline) return false;
    await clock.sleep(20);
  }
  return true;
}

async function failure(host: HostPlan, what: string): Promise<SkepError> {
  const text = await readFile(logFileOf(host), 'utf8').catch(() => '');
  const lines = text.trimEnd().split('\n').slice(-LOG_LINES_SHOWN);
  return new SkepError(
    'unavailable',
    `start ${host.name}: ${what}; last lines of ${logFileOf(host)}:\n  ${lines.join('\n  ')}`,
  );
}

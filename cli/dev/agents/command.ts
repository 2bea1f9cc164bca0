/** `skep dev agents`: flags, where the cluster is, what is printed, and the end. */
import { readFile } from 'node:fs/promises';
import type { Writable } from 'node:stream';
import { type Command, InvalidArgumentError } from 'commander';
import { abortWith } from '../../../common/base/abort-with.ts';
import type { Clock } from '../../../common/base/clock.ts';
import { describeError, SkepError } from '../../../common/base/errors.ts';
import { fetchRoot } from '../../../common/rpc/join-cluster.ts';
import { splitHostPort } from '../../../common/rpc/listener.ts';
import { EngineClient } from '../../client/engine-client.ts';
import { AgentFleet, type FleetStatus } from './fleet.ts';
import { checkOpenFiles, openFilesMax } from './limits.ts';

/** What this command needs of the program around it. */
export interface AgentsContext {
  readonly client: EngineClient;
  readonly stdout: Writable;
  readonly stderr: Writable;
  readonly clock: Clock;
  /** aborted by Ctrl-C, which is this command's ordinary end */
  readonly signal: AbortSignal;
}

interface Flags {
  readonly count: number;
  readonly manager?: string;
  readonly token?: string;
  readonly processes?: number;
  readonly cpus: number;
  readonly memory: number;
}

const COUNT_MAX = 20_000;
const STATUS_PERIOD_MS = 5_000;
const PROCESSES_MAX = 64;
const REMOVALS_AT_ONCE = 16;
const NANOS_PER_CPU = 1e9;
const GIB = 2 ** 30;
const DEFAULT_PORT = 2377;

function numberFlag(min: number, max: number) {
  return (value: string): number => {
    const number = Number(value);
    if (!/^\d+$/.test(value) || number < min || number > max) {
      throw new InvalidArgumentError(`expected a whole number from ${min} to ${max}.`);
    }
    return number;
  };
}

export function agents(command: Command, context: AgentsContext): void {
  command
    .requiredOption('--count <n>', 'nodes to join', numberFlag(1, COUNT_MAX))
    .option('--manager <address>', 'IP[:port] of a manager (default: that of the daemon, see -H)')
    .option('--token <token>', "worker's join token; needed with --manager")
    .option('--processes <n>', 'processes (default: one per 1000)', numberFlag(1, PROCESSES_MAX))
    .option('--cpus <n>', 'CPUs that each node claims to have', numberFlag(1, 1_000), 8)
    .option('--memory <gib>', 'memory that each node claims to have', numberFlag(1, 65_536), 16)
    .addHelpText(
      'after',
      `
Joins fake nodes to a cluster, so that one can see how many its managers hold: each has its own certificate,
connection and agent, as a real one has; its tasks run nothing. Prints, every 5 seconds, how many are connected,
their tasks, and how long managers take to answer heartbeats. Ends with Ctrl-C. The nodes are then removed from the
cluster; those joined by --manager and --token stay in its list as down, and are to be removed there.

Services are placed on fake nodes like on any other. To keep one off them: --constraint engine.labels.skep.dev.agent!=fake`,
    )
    .action((flags: Flags) => run(flags, context));
}

async function run(flags: Flags, context: AgentsContext): Promise<void> {
  const { count, processes } = flags;
  const { clock, signal, stdout } = context;
  const inProcesses = Math.min(processes ?? Math.ceil(count / 1_000), count);
  const limits = await readFile('/proc/self/limits', 'utf8');
  checkOpenFiles(Math.ceil(count / inProcesses), openFilesMax(limits));
  const target = await clusterOf(flags, context.client);
  const { manager, token } = target;
  const rootPem = await fetchRoot({ remoteAddress: manager, token, clock, signal });
  const over = abortWith(signal);
  const failures: unknown[] = [];
  const fleet = new AgentFleet({
    count,
    processes: inProcesses,
    managers: [manager],
    token,
    rootPem,
    nanoCpus: flags.cpus * NANOS_PER_CPU,
    memoryBytes: flags.memory * GIB,
    clock,
    onFailure: (err) => {
      failures.push(err);
      over.abort(err);
    },
  });
  fleet.start();
  stdout.write(`Joining ${count} fake nodes by way of ${manager}; Ctrl-C ends them\n`);
  try {
    await watch(fleet, count, context, over.signal);
  } finally {
    over.release();
    const nodeIds = await fleet.end();
    if (target.owned) await removeNodes(nodeIds, context);
    else
      stdout.write(
        `${nodeIds.length} nodes are down now. To remove them, on a manager:\n${REMEDY}\n`,
      );
  }
  if (failures.length > 0) throw failures[0];
}

const REMEDY = '  skep node rm --force $(skep node ls -q --filter label=skep.dev.agent=fake)';

interface Target {
  /** `IP:port` */
  readonly manager: string;
  readonly token: string;
  /** the daemon's own cluster, where nodes can be removed */
  readonly owned: boolean;
}

async function clusterOf(flags: Flags, client: EngineClient): Promise<Target> {
  const { manager, token } = flags;
  if (manager !== undefined && token !== undefined) {
    const address = /:\d+$/.test(manager) ? manager : `${manager}:${DEFAULT_PORT}`;
    splitHostPort(address);
    return { manager: address, token, owned: false };
  }
  if (manager !== undefined || token !== undefined) {
    const missing = manager === undefined ? '--manager' : '--token';
    throw new SkepError('invalid-argument', `join fake nodes: ${missing} is missing`);
  }
  const info = await client.info();
  const address = info.Swarm.RemoteManagers?.[0]?.Addr;
  if (!info.Swarm.ControlAvailable || address === undefined) {
    const words = 'the daemon is no manager of a cluster; use -H, or --manager and --token';
    throw new SkepError('failed-precondition', `join fake nodes: ${words}`);
  }
  const { JoinTokens } = await client.swarm();
  return { manager: address, token: JoinTokens?.Worker ?? '', owned: true };
}

/** Until the signal is aborted. */
async function watch(
  fleet: AgentFleet,
  count: number,
  { clock, stdout }: AgentsContext,
  signal: AbortSignal,
): Promise<void> {
  const startMs = clock.monotonicMs();
  let refusal = '';
  try {
    for (;;) {
      await clock.sleep(STATUS_PERIOD_MS, signal);
      const seconds = Math.round((clock.monotonicMs() - startMs) / 1_000);
      stdout.write(`${seconds} s: ${statusLine(fleet.status, count, fleet.takeHeartbeats())}\n`);
      if (fleet.status.refusal !== refusal) {
        refusal = fleet.status.refusal;
        if (refusal !== '') stdout.write(`a manager refuses a node: ${refusal}\n`);
      }
    }
  } catch (err) {
    if (!signal.aborted) throw err;
  }
}

/** @param heartbeatsMs of the last stretch */
export function statusLine(
  { joined, connected, sessions, differences, runningTasks }: FleetStatus,
  count: number,
  heartbeatsMs: readonly number[],
): string {
  const parts = [`${connected} of ${count} connected`, `${runningTasks} tasks run`];
  if (joined < count) parts.push(`${joined} have a certificate`);
  const lost = sessions - joined;
  if (lost > 0) parts.push(`${lost} sessions were begun again`);
  if (differences > 0) parts.push(`${differences} assignment sets lacked something`);
  if (heartbeatsMs.length > 0) {
    const sorted = [...heartbeatsMs].sort((a, b) => a - b);
    const at = (p: number): string => `${sorted[Math.ceil(p * sorted.length) - 1]!.toFixed(1)} ms`;
    parts.push(`heartbeats answered in ${at(0.5)} (p50), ${at(0.99)} (p99)`);
  }
  return parts.join(', ');
}

/** The command's own client is of no use after Ctrl-C. */
async function removeNodes(nodeIds: readonly string[], context: AgentsContext): Promise<void> {
  const { stdout, stderr } = context;
  const client = new EngineClient(context.client.host);
  const left = [...nodeIds];
  let removed = 0;
  let failure: unknown = null;
  const work = async (): Promise<void> => {
    for (let id = left.pop(); id !== undefined; id = left.pop()) {
      try {
        await client.nodeRemove(id, true);
        removed++;
      } catch (err) {
        failure ??= err;
      }
    }
  };
  await Promise.all(Array.from({ length: REMOVALS_AT_ONCE }, work));
  client.close();
  stdout.write(`${removed} nodes removed\n`);
  if (failure === null) return;
  stderr.write(`${nodeIds.length - removed} nodes stay in the list: ${describeError(failure)}\n`);
  stderr.write(`To remove them:\n${REMEDY}\n`);
}

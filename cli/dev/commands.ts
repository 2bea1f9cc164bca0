/** `skep dev ...`: flags and printing around cluster.ts. */
import { spawn } from 'node:child_process';
import { createReadStream } from 'node:fs';
import { access } from 'node:fs/promises';
import type { Writable } from 'node:stream';
import { type Command, InvalidArgumentError, Option } from 'commander';
import type { Clock } from '../../common/base/clock.ts';
import { SkepError } from '../../common/base/errors.ts';
import { LOG_LEVELS } from '../../common/base/log.ts';
import type { EngineClient } from '../client/engine-client.ts';
import {
  all,
  type ClusterStatus,
  type DevParts,
  down as downCluster,
  status as statusOf,
  up as upCluster,
  withHost,
} from './cluster.ts';
import { daemonPid, killDaemon, startDaemon } from './daemon-process.ts';
import { inNetwork, setLink } from './kernel.ts';
import { type ClusterPlan, checkClusterName, type HostPlan } from './plan.ts';
import { DEV_ROOTS, requireHost, requireState } from './state.ts';

/** What these commands need of the program around them. */
export interface DevContext {
  readonly stdout: Writable;
  readonly stderr: Writable;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

type DevConfigure = (command: Command, context: DevContext) => void;

const DEFAULT_NAME = 'dev';

function named(command: Command): Command {
  return command.addOption(
    new Option('--name <name>', 'name of the cluster')
      .default(DEFAULT_NAME)
      .argParser((value: string) => {
        checkClusterName(value);
        return value;
      }),
  );
}

const count = (value: string): number => {
  if (!/^\d+$/.test(value)) throw new InvalidArgumentError('expected a whole number.');
  return Number(value);
};

const collect = (value: string, before: readonly string[] = []): readonly string[] => [
  ...before,
  value,
];

const partsOf = ({ clock, signal }: DevContext): DevParts => ({ roots: DEV_ROOTS, clock, signal });

function daemonFlags(command: Command): Command {
  return command
    .addOption(
      new Option('--log-level <level>', "of the hosts' daemons")
        .choices(LOG_LEVELS)
        .default('info'),
    )
    .option('--insecure-registry <host>', 'registry that may be reached without TLS', collect)
    .option('--api-read-on-workers', 'workers answer what only reads the cluster')
    .option('--api-exec-on-workers', 'and run commands in tasks of other nodes')
    .option('--image-gc <high:low[:age]|off>', 'when unused images are removed');
}

interface DaemonFlags {
  readonly logLevel: string;
  readonly insecureRegistry?: readonly string[];
  readonly apiReadOnWorkers?: boolean;
  readonly apiExecOnWorkers?: boolean;
  readonly imageGc?: string;
}

const settingsOf = (flags: DaemonFlags) => ({
  logLevel: flags.logLevel,
  insecureRegistries: flags.insecureRegistry ?? [],
  ...(flags.apiReadOnWorkers && { apiReadOnWorkers: true }),
  ...(flags.apiExecOnWorkers && { apiExecOnWorkers: true }),
  ...(flags.imageGc !== undefined && { imageGc: flags.imageGc }),
});

export const up: DevConfigure = (command, context) => {
  daemonFlags(named(command))
    .option('--managers <n>', 'hosts that are managers', count, 1)
    .option('--workers <n>', 'hosts that are workers', count, 0)
    .option('--json', 'print the hosts as JSON')
    .argument('[flags...]', 'after --: more flags of every daemon (skepd --help)')
    .action(async (daemonFlags: readonly string[], flags: DaemonFlags & UpFlags) => {
      requireRoot();
      const { name, managers, workers } = flags;
      const started = await upCluster(
        { name, managers, workers, ...settingsOf(flags), daemonFlags },
        partsOf(context),
      );
      if (flags.json) printJson(context, started);
      else printUp(context, started);
    });
};

interface UpFlags {
  readonly name: string;
  readonly managers: number;
  readonly workers: number;
  readonly json?: boolean;
}

interface NameFlags {
  readonly name: string;
}

export const down: DevConfigure = (command, context) => {
  named(command).action(async ({ name }: NameFlags) => {
    requireRoot();
    const existed = await downCluster(name, partsOf(context));
    const text = existed ? `Cluster ${name} removed\n` : `No cluster named ${name}\n`;
    context[existed ? 'stdout' : 'stderr'].write(text);
  });
};

export const status: DevConfigure = (command, context) => {
  named(command)
    .option('--json', 'print the hosts as JSON')
    .action(async ({ name, json }: NameFlags & { readonly json?: boolean }) => {
      const found = await statusOf(await requireState(DEV_ROOTS, name));
      if (json) printJson(context, found);
      else printTable(context, found);
    });
};

export const load: DevConfigure = (command, context) => {
  named(command)
    .argument('<image.tar...>', 'image archives, as `docker save` makes them')
    .action(async (files: readonly string[], { name }: NameFlags) => {
      const plan = await requireState(DEV_ROOTS, name);
      for (const file of files) {
        await access(file);
        const said = new Map<string, string>();
        await all(plan.hosts, async (host) => {
          said.set(host.name, await withHost(host, (client) => loadImage(client, file)));
        });
        for (const host of plan.hosts)
          context.stdout.write(`${host.name}: ${said.get(host.name)}\n`);
      }
    });
};

async function loadImage(client: EngineClient, file: string): Promise<string> {
  const loaded: string[] = [];
  for await (const line of client.imageLoad(createReadStream(file))) {
    if (line.error !== undefined) throw new SkepError('internal', `load ${file}: ${line.error}`);
    if (line.stream !== undefined) loaded.push(line.stream.trim());
  }
  return loaded.join(', ');
}

/** A command for one host of a running cluster. */
function onHost(work: (host: HostPlan, context: DevContext, plan: ClusterPlan) => Promise<string>) {
  return (command: Command, context: DevContext): void => {
    named(command)
      .argument('<host>', 'e.g. worker-1')
      .action(async (hostName: string, { name }: NameFlags) => {
        requireRoot();
        const plan = await requireState(DEV_ROOTS, name);
        const host = requireHost(plan, hostName);
        context.stdout.write(`${await work(host, context, plan)}\n`);
      });
  };
}

export const kill: DevConfigure = onHost(async (host, { clock }) => {
  return `${host.name}: killed daemon ${await killDaemon(host, clock)}`;
});

export const start: DevConfigure = onHost(async (host, { clock, signal }, plan) => {
  const running = await daemonPid(host);
  if (running !== null) {
    throw new SkepError('failed-precondition', `the daemon of ${host.name} runs, pid ${running}`);
  }
  await startDaemon(host, plan.settings, clock, signal);
  return `${host.name}: started daemon ${await daemonPid(host)}`;
});

export const cut: DevConfigure = onHost(async (host) => {
  await setLink(host, 'down');
  return `${host.name}: link down`;
});

export const heal: DevConfigure = onHost(async (host) => {
  await setLink(host, 'up');
  return `${host.name}: link up`;
});

export const run: DevConfigure = (command) => {
  named(command)
    .argument('<host>', 'e.g. worker-1')
    .argument('<command...>', 'what to run in its network')
    .action(async (hostName: string, words: readonly string[], { name }: NameFlags) => {
      requireRoot();
      const host = requireHost(await requireState(DEV_ROOTS, name), hostName);
      const argv = inNetwork(host, words);
      const status = await new Promise<number>((resolve, reject) => {
        const child = spawn(argv[0]!, argv.slice(1), { stdio: 'inherit' });
        child.once('error', reject);
        child.once('exit', (code, signal) => resolve(code ?? (signal ? 128 : 1)));
      });
      // The command's own status is this command's, as with `ip netns exec`.
      process.exitCode = status;
    });
};

function requireRoot(): void {
  if (process.getuid?.() === 0) return;
  throw new SkepError('permission-denied', 'skep dev needs root: it makes network namespaces');
}

function printJson(context: DevContext, { name, hosts }: ClusterStatus): void {
  context.stdout.write(`${JSON.stringify({ name, hosts }, null, 2)}\n`);
}

function printTable(context: DevContext, { hosts }: ClusterStatus): void {
  const rows = [
    ['HOST', 'ROLE', 'ADDRESS', 'DAEMON', 'LINK', 'SOCKET'],
    ...hosts.map((host) => [
      host.name,
      host.role,
      host.address,
      host.pid === null
        ? 'not running'
        : host.ready
          ? `pid ${host.pid}`
          : `pid ${host.pid} (silent)`,
      host.linked ? 'up' : 'down',
      host.socket,
    ]),
  ];
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  for (const row of rows) {
    const cells = row.map((cell, column) => cell.padEnd(widths[column]! + 3));
    context.stdout.write(`${cells.join('').trimEnd()}\n`);
  }
}

function printUp(context: DevContext, cluster: ClusterStatus): void {
  const nameFlag = cluster.name === DEFAULT_NAME ? '' : ` --name ${cluster.name}`;
  printTable(context, cluster);
  context.stdout.write(`
Cluster ${cluster.name} is up. To talk to its first manager:
  export SKEP_HOST=unix://${cluster.hosts[0]!.socket}
  skep node ls
To end it:
  skep dev down${nameFlag}
`);
}

/**
 * A development cluster of real daemons for a test file, and the commands that act on it: the built
 * `bin/skep`, plain HTTP from this machine, and waiting with a last value in the failure's words.
 * Knows the program from outside only: its command, its files, its API socket.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { get } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { EngineClient } from '../../cli/client/engine-client.ts';
import { leftoversOf } from './host-inventory.ts';
import { type BusyboxImageOptions, buildBusyboxImage } from './image-builder.ts';

export const REPOSITORY = join(import.meta.dirname, '../..');
export const SKEP = join(REPOSITORY, 'bin/skep');

/** Root makes the namespaces. A checkout that was not built fails, in the command's own words. */
export const clusterTestsCanRun = process.getuid?.() === 0;

export const UP_LIMIT_MS = 60_000;
const COMMAND_LIMIT_MS = 90_000;
const LOG_LINES_SHOWN = 25;

export interface CommandResult {
  readonly argv: readonly string[];
  /** null = ended by a signal, for one because it took too long */
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface CommandOptions {
  readonly input?: string;
  readonly cwd?: string;
  /** added to this process's environment */
  readonly env?: Readonly<Record<string, string>>;
  /** default 90 s; then SIGKILL */
  readonly limitMs?: number;
  /** when it is aborted, the program gets what Ctrl-C sends */
  readonly interrupt?: AbortSignal;
}

/** Runs a program to its end. Rejects only when it cannot be started. */
export function run(argv: readonly string[], options: CommandOptions = {}): Promise<CommandResult> {
  const [program = '', ...args] = argv;
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      cwd: options.cwd ?? '/',
      env: { ...process.env, ...options.env },
      timeout: options.limitMs ?? COMMAND_LIMIT_MS,
      killSignal: 'SIGKILL',
    });
    options.interrupt?.addEventListener('abort', () => child.kill('SIGINT'), { once: true });
    const out: Buffer[] = [];
    const err: Buffer[] = [];
    child.stdout.on('data', (chunk: Buffer) => out.push(chunk));
    child.stderr.on('data', (chunk: Buffer) => err.push(chunk));
    child.stdin.on('error', () => {}); // a program need not read its input
    child.stdin.end(options.input ?? '');
    child.once('error', reject);
    child.once('close', (code) => {
      resolve({
        argv,
        code,
        stdout: Buffer.concat(out).toString(),
        stderr: Buffer.concat(err).toString(),
      });
    });
  });
}

/** Throws with all that the program said, unless it ended with 0. */
export function succeeded(result: CommandResult): CommandResult {
  if (result.code === 0) return result;
  const { argv, code, stdout, stderr } = result;
  throw new Error(`${argv.join(' ')}: status ${code}\n${stdout}${stderr}`);
}

export interface ClusterHost {
  readonly name: string;
  readonly role: 'manager' | 'worker';
  readonly address: string;
  readonly netns: string;
  /** where its API is asked; behind a proxy in some tests */
  readonly socket: string;
  /** its daemon's own */
  readonly daemonSocket: string;
  readonly pid: number | null;
}

export interface HttpAnswer {
  readonly status: number;
  readonly body: string;
}

/** One request on a connection of its own. Rejects when there is no answer within `limitMs`. */
export function http(address: string, port: number, path = '/', limitMs = 5000) {
  return new Promise<HttpAnswer>((resolve, reject) => {
    const request = get({ host: address, port, path, agent: false }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.once('error', reject);
      response.once('end', () => {
        resolve({ status: response.statusCode ?? 0, body: Buffer.concat(chunks).toString() });
      });
    });
    request.setTimeout(limitMs, () => {
      request.destroy(new Error(`no answer from ${address}:${port} within ${limitMs} ms`));
    });
    request.once('error', reject);
  });
}

export interface Patience {
  readonly withinMs: number;
  /** default 100 */
  readonly everyMs?: number;
}

/**
 * Calls `attempt` until it does not throw; resolves with its value. When the time is over, rejects
 * with what it threw last, which should name the value that was wrong (`expect` does).
 */
export async function eventually<T>(
  what: string,
  attempt: () => T | Promise<T>,
  { withinMs, everyMs = 100 }: Patience,
): Promise<T> {
  const deadline = performance.now() + withinMs;
  for (let attempts = 1; ; attempts++) {
    try {
      return await attempt();
    } catch (err) {
      if (performance.now() > deadline) {
        const last = err instanceof Error ? err.message : String(err);
        throw new Error(`${what}: not within ${withinMs} ms (${attempts} tries); last: ${last}`, {
          cause: err,
        });
      }
      await sleep(everyMs);
    }
  }
}

/** False for a process that ended, also while nobody has asked for its status. */
export function isAlive(pid: number): boolean {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return !'ZX'.includes(text.charAt(text.lastIndexOf(')') + 2));
  } catch {
    return false;
  }
}

/** Splits a table as our commands print them: columns stand at least three blanks apart. */
export function tableRows(text: string): string[][] {
  return text
    .trimEnd()
    .split('\n')
    .map((line) => line.trimEnd().split(/ {2,}/));
}

export interface TaskRow {
  readonly id: string;
  /** `web.1` */
  readonly name: string;
  /** host's name, or '' */
  readonly node: string;
  readonly desired: string;
  /** first word: `Running` */
  readonly current: string;
  readonly error: string;
}

export class TestCluster {
  readonly name: string;
  readonly hosts: readonly ClusterHost[];

  constructor(name: string, hosts: readonly ClusterHost[]) {
    this.name = name;
    this.hosts = hosts;
  }

  get managers(): readonly ClusterHost[] {
    return this.hosts.filter((host) => host.role === 'manager');
  }

  get workers(): readonly ClusterHost[] {
    return this.hosts.filter((host) => host.role === 'worker');
  }

  host(name: string): ClusterHost {
    const host = this.hosts.find((candidate) => candidate.name === name);
    if (!host) throw new Error(`no host ${name} in ${this.hosts.map((h) => h.name).join(', ')}`);
    return host;
  }

  /** `skep ARGS` against the first manager, or the host named. Never throws for a failed command. */
  try(args: readonly string[], options: CommandOptions & { host?: string } = {}) {
    const host = this.host(options.host ?? this.hosts[0]!.name);
    return run([SKEP, '-H', `unix://${host.socket}`, ...args], options);
  }

  /** As `try`, but throws with the command's words unless it ends with 0; resolves with its output. */
  async skep(args: readonly string[], options: CommandOptions & { host?: string } = {}) {
    return succeeded(await this.try(args, options)).stdout;
  }

  /** `skep dev VERB --name THIS ...`, e.g. `dev('kill', 'worker-1')`. */
  async dev(verb: string, ...args: readonly string[]): Promise<string> {
    return succeeded(await run([SKEP, 'dev', verb, '--name', this.name, ...args])).stdout;
  }

  /** The process id of a host's daemon, as it is now. */
  async daemonPid(name: string): Promise<number> {
    const { hosts } = JSON.parse(await this.dev('status', '--json')) as { hosts: ClusterHost[] };
    return hosts.find((host) => host.name === name)!.pid!;
  }

  /** Stops a host's daemon as its operator would, who lets it say goodbye, and starts it again. */
  async restart(name: string): Promise<void> {
    const pid = await this.daemonPid(name);
    process.kill(pid, 'SIGTERM');
    await eventually(
      `the daemon of ${name} ends`,
      () => assert(!isAlive(pid), `pid ${pid} is there`),
      {
        withinMs: 15_000,
        everyMs: 20,
      },
    );
    await this.dev('start', name);
  }

  /** Builds an image from busybox and loads it on every host. */
  async image(options: Omit<BusyboxImageOptions, 'outTar'>): Promise<void> {
    const dir = mkdtempSync(join(tmpdir(), 'skep-test-'));
    try {
      const outTar = join(dir, 'image.tar');
      buildBusyboxImage({ ...options, outTar });
      await this.dev('load', outTar);
    } finally {
      rmSync(dir, { recursive: true });
    }
  }

  /** The tasks of a service, also the ended ones that are still kept. */
  async tasks(service: string, host?: string): Promise<TaskRow[]> {
    const fields = ['ID', 'Name', 'Node', 'DesiredState', 'CurrentState', 'Error'];
    const format = fields.map((field) => `{{.${field}}}`).join('\t');
    const args = ['service', 'ps', '--no-trunc', '--format', format, service];
    const text = await this.skep(args, host === undefined ? {} : { host });
    return text
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => {
        const [id = '', name = '', node = '', desired = '', current = '', error = ''] =
          line.split('\t');
        // Ended tasks are drawn as branches below the one that took their slot.
        const bare = name.replace(/^[ \\_]+/, '');
        return { id, name: bare, node, desired, current: current.split(' ')[0] ?? '', error };
      });
  }

  /** Waits until exactly `count` tasks run and are meant to. */
  async running(
    service: string,
    count: number,
    { withinMs = 30_000, host }: { readonly withinMs?: number; readonly host?: string } = {},
  ): Promise<TaskRow[]> {
    // The command is asked once it is so: each time it is a process, which takes CPU from those that are waited for.
    const client = new EngineClient(`unix://${this.host(host ?? this.hosts[0]!.name).socket}`);
    const told = async (): Promise<{ count: number; running: boolean; words: string }> => {
      const tasks = await client.tasks({ service: [service] });
      const wanted = tasks.filter(({ DesiredState }) => DesiredState === 'running');
      const running = wanted.every(({ Status }) => Status.State === 'running');
      const seen = tasks.map(({ ID, DesiredState, Status }) => ({ ID, DesiredState, Status }));
      return { count: wanted.length, running, words: JSON.stringify(seen, null, 1) };
    };
    try {
      return await eventually(
        `${service}: ${count} running tasks`,
        async () => {
          const now = await told();
          assert.equal(now.count, count, `${now.count} tasks of ${service}: ${now.words}`);
          assert(now.running, now.words);
          const rows = (await this.tasks(service, host)).filter(
            ({ desired, current }) => desired === 'Running' && current === 'Running',
          );
          assert.equal(rows.length, count, `${service}: ${JSON.stringify(rows, null, 1)}`);
          return rows;
        },
        { withinMs },
      );
    } finally {
      client.close();
    }
  }

  /** Pid, on this machine, of a running task's first process. */
  async taskPid(task: TaskRow, host?: string): Promise<number> {
    const { Status } = await this.inspectTask(task, host);
    const pid = Status.ContainerStatus?.PID ?? 0;
    assert(pid > 1, `pid of ${task.name}: ${JSON.stringify(Status)}`);
    return pid;
  }

  async inspectTask(task: TaskRow, host?: string): Promise<TaskJson> {
    const args = ['inspect', '--type', 'task', task.id];
    const [json] = JSON.parse(
      await this.skep(args, host === undefined ? {} : { host }),
    ) as TaskJson[];
    return json!;
  }

  /** Last lines of every daemon's log. */
  logTails(): string {
    const parts = this.hosts.map((host) => {
      const path = `/var/lib/skep-dev/${this.name}/${host.name}/skepd.log`;
      const text = existsSync(path) ? readFileSync(path, 'utf8') : '(no log)';
      const lines = text.trimEnd().split('\n').slice(-LOG_LINES_SHOWN);
      return `--- ${host.name}\n${lines.join('\n')}`;
    });
    return parts.join('\n');
  }

  /** Names of the groups, in any hierarchy, that hold this host's tasks. */
  taskGroups(host: string): string[] {
    const root = '/sys/fs/cgroup';
    const parent = `skep-${this.name}-${host}`;
    const roots = [root, ...readdirSync(root).map((name) => `${root}/${name}`)];
    return roots
      .map((dir) => `${dir}/${parent}`)
      .filter((dir) => existsSync(dir))
      .flatMap((dir) =>
        readdirSync(dir, { withFileTypes: true })
          .filter((entry) => entry.isDirectory())
          .map((entry) => `${dir}/${entry.name}`),
      );
  }
}

/** What these tests read of a task. */
export interface TaskJson {
  readonly ID: string;
  readonly Slot?: number;
  readonly NodeID?: string;
  readonly Status: {
    readonly State: string;
    readonly Timestamp: string;
    readonly Err?: string;
    readonly Message?: string;
    readonly ContainerStatus?: {
      readonly ContainerID?: string;
      readonly PID?: number;
      readonly ExitCode?: number;
    };
  };
}

export interface ClusterRequest {
  readonly managers: number;
  readonly workers: number;
  /** of the daemons; default `info` */
  readonly logLevel?: string;
  /** hosts or subnets that the daemons reach without TLS; default none */
  readonly insecureRegistries?: readonly string[];
  /** default no */
  readonly apiReadOnWorkers?: boolean;
  readonly apiExecOnWorkers?: boolean;
  /** of the daemons: `HIGH:LOW:AGE` */
  readonly imageGc?: string;
  /** more flags of the daemons */
  readonly daemonFlags?: readonly string[];
}

/** What ends the names of the clusters that this process starts. */
const OWN_SUFFIX = `-${process.pid.toString(36)}`;

/** Starts a cluster. `prefix` is a few letters; the process id makes the name unique. */
export async function startCluster(prefix: string, request: ClusterRequest): Promise<TestCluster> {
  const name = `${prefix}${OWN_SUFFIX}`;
  const sizes = ['--managers', `${request.managers}`, '--workers', `${request.workers}`];
  const level = ['--log-level', request.logLevel ?? 'info'];
  const insecure = (request.insecureRegistries ?? []).flatMap((r) => ['--insecure-registry', r]);
  const reads = [
    ...(request.apiReadOnWorkers ? ['--api-read-on-workers'] : []),
    ...(request.apiExecOnWorkers ? ['--api-exec-on-workers'] : []),
  ];
  const imageGc = request.imageGc === undefined ? [] : ['--image-gc', request.imageGc];
  const flags = [...sizes, ...level, ...insecure, ...reads, ...imageGc];
  const argv = [SKEP, 'dev', 'up', '--name', name, ...flags, '--json'];
  if (request.daemonFlags) argv.push('--', ...request.daemonFlags);
  const { stdout } = succeeded(await run(argv));
  const { hosts } = JSON.parse(stdout) as { hosts: Omit<ClusterHost, 'daemonSocket'>[] };
  return new TestCluster(
    name,
    hosts.map((host) => ({ ...host, daemonSocket: host.socket })),
  );
}

/** Ends a cluster and fails when anything that bears its name is left on this machine. */
export async function endCluster(cluster: TestCluster): Promise<void> {
  await cluster.dev('down');
  await eventually(
    `nothing of cluster ${cluster.name} is left`,
    () => assert.deepEqual(leftoversOf(cluster.name), []),
    { withinMs: 5000 },
  );
}

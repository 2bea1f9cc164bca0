/**
 * Hosts as network namespaces on one bridge, each with a NetworkManager in a child process, and
 * processes standing for tasks. Everything is removed by `close`, also after a failed test.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readlinkSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { AssignedEndpoint, AssignmentChange } from '../../common/model/assignment.ts';
import type { NetworkProof } from '../../common/model/network-proof.ts';
import type { NetworkHop, NetworkTraceRequest } from '../../common/model/network-trace.ts';
import type { PortConfig } from '../../common/model/service.ts';
import type { AttachedTask, TaskNetworkRequest } from '../../worker/network/network-manager.ts';
import type { DataPath } from '../../worker/network/node-network.ts';
import type { DriftCounts, Proof } from '../../worker/network/self-proof.ts';
import { bundled } from './bundled.ts';
import { attachRequest } from './network-scene.ts';

const run = promisify(execFile);
const here = fileURLToPath(new URL('.', import.meta.url));

/** Names the hosts' program where it is not to be made. */
export const HOST_PROGRAM = 'SKEP_TEST_NETWORK_HOST';

export const PYTHON = '/usr/bin/python3';
const SCTP_SCRIPT = join(here, 'network-sctp.py');

/** Runs a command; its standard output. Rejects with what it wrote to standard error. */
export async function command(file: string, ...args: string[]): Promise<string> {
  const { stdout } = await run(file, args, { timeout: 30_000, maxBuffer: 16 << 20 });
  return stdout;
}

/** Runs a command in a network namespace (but in this process's mount namespace). */
export function inNetns(path: string, file: string, ...args: string[]): Promise<string> {
  return command('nsenter', `--net=${path}`, file, ...args);
}

/** `inNetns` whose failure is an answer too. */
export function tryInNetns(path: string, file: string, ...args: string[]): Promise<string> {
  return inNetns(path, file, ...args).catch((err: { stdout?: string; stderr?: string }) =>
    `failed: ${err.stdout ?? ''}${err.stderr ?? ''}`.trim(),
  );
}

/** HTTP body of `http://address:port/`, trimmed. */
export async function httpFrom(netns: string, address: string, port = 80): Promise<string> {
  const url = `http://${address}:${port}/`;
  return (await tryInNetns(netns, 'curl', '-sS', '-m', '3', url)).trim();
}

export async function udpFrom(netns: string, address: string, port: number): Promise<string> {
  const script = join(here, 'network-udp.mjs');
  return (await tryInNetns(netns, process.execPath, script, address, String(port))).trim();
}

/** `TAG CLIENT from ADDRESS:PORT`, as `NetworkLab.sctpServer` answers. */
export async function sctpFrom(netns: string, address: string, port: number): Promise<string> {
  return (await tryInNetns(netns, PYTHON, SCTP_SCRIPT, 'ask', address, `${port}`)).trim();
}

export interface DnsReply {
  readonly rcode: string;
  readonly data: readonly string[];
  readonly cut: boolean;
}

/** What a nameserver, by default that of the task's own namespace, answers to a task. */
export async function dnsFrom(
  netns: string,
  name: string,
  type = 'A',
  transport: 'udp' | 'tcp' = 'udp',
): Promise<DnsReply> {
  const script = join(here, 'network-dns.mjs');
  const args = [script, 'ask', '127.0.0.11', name, type, transport];
  return JSON.parse(await inNetns(netns, process.execPath, ...args));
}

function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve();
  return new Promise((resolve) => child.once('exit', () => resolve()));
}

async function kill(child: ChildProcess): Promise<void> {
  child.kill('SIGKILL');
  await ended(child);
}

export class LabTask {
  readonly netns: string;
  readonly #process: ChildProcess;

  constructor(process: ChildProcess) {
    this.#process = process;
    this.netns = `/proc/${process.pid}/ns/net`;
  }

  end(): Promise<void> {
    return kill(this.#process);
  }
}

export class LabHost {
  readonly nodeId: string;
  readonly address: string;
  readonly netns: string;
  readonly dir: string;
  #child: ChildProcess | null = null;
  #waiting = new Map<number, { resolve: (value: never) => void; reject: (err: Error) => void }>();
  #next = 1;

  constructor(nodeId: string, address: string, netns: string, dir: string) {
    this.nodeId = nodeId;
    this.address = address;
    this.netns = netns;
    this.dir = dir;
  }

  /** Starts the child and its manager. */
  async start(upstream = ''): Promise<void> {
    const program = process.env[HOST_PROGRAM] ?? bundled('network-host.ts');
    const host = [this.dir, this.nodeId, this.address, upstream];
    const child = spawn(
      'nsenter',
      [`--net=${this.netns}`, process.execPath, '--enable-source-maps', program, ...host],
      { stdio: ['pipe', 'pipe', 'inherit'] },
    );
    this.#child = child;
    createInterface({ input: child.stdout as NodeJS.ReadableStream }).on('line', (line) => {
      const { id, result, error } = JSON.parse(line);
      const waiting = this.#waiting.get(id);
      this.#waiting.delete(id);
      if (error === undefined) waiting?.resolve(result as never);
      else waiting?.reject(new Error(error));
    });
    child.once('exit', () => {
      for (const { reject } of this.#waiting.values()) reject(new Error('host process ended'));
      this.#waiting.clear();
    });
    await this.#call('start');
  }

  apply(changes: readonly AssignmentChange[], complete = false): Promise<void> {
    return this.#call('apply', changes, complete);
  }
  attach(request: TaskNetworkRequest): Promise<AttachedTask> {
    return this.#call('attachTask', request);
  }
  adopt(request: TaskNetworkRequest): Promise<void> {
    return this.#call('adoptTask', request);
  }
  publish(taskId: string, ports: readonly PortConfig[]): Promise<readonly PortConfig[]> {
    return this.#call('publishPorts', taskId, ports);
  }
  detach(taskId: string): Promise<void> {
    return this.#call('detachTask', taskId);
  }
  dataPath(): Promise<DataPath> {
    return this.#call('dataPath');
  }
  drifts(): Promise<DriftCounts> {
    return this.#call('drifts');
  }
  verify(repair = false): Promise<Proof> {
    return this.#call('verify', repair);
  }
  report(repair = false): Promise<NetworkProof> {
    return this.#call('report', repair);
  }
  trace(request: NetworkTraceRequest): Promise<readonly NetworkHop[]> {
    return this.#call('trace', request);
  }
  stop(): Promise<void> {
    return this.#call('stop');
  }
  removeAll(): Promise<void> {
    return this.#call('removeAll');
  }

  /** How many sockets its process has open. */
  openSockets(): number {
    const dir = `/proc/${this.#child?.pid}/fd`;
    const targets = readdirSync(dir).map((fd) => {
      try {
        return readlinkSync(join(dir, fd));
      } catch {
        return ''; // closed meanwhile
      }
    });
    return targets.filter((target) => target.startsWith('socket:')).length;
  }

  /** It is killed at that step from now, or not at all when what it is told next has fewer: see `death-at-step`. */
  dieAtStep(step: number): Promise<void> {
    return this.#call('dieAtStep', step);
  }

  /** As kill -9 of the daemon: nothing is cleaned up. */
  async crash(): Promise<void> {
    if (this.#child) await kill(this.#child);
    this.#child = null;
  }

  #call<T>(operation: string, ...args: unknown[]): Promise<T> {
    const id = this.#next++;
    return new Promise<T>((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#child?.stdin?.write(`${JSON.stringify({ id, operation, args })}\n`);
    });
  }
}

export class NetworkLab {
  readonly hosts: LabHost[] = [];
  /** a namespace on the underlay that is no host: the outside client */
  readonly outside: string;
  readonly outsideAddress = '172.30.77.100';
  readonly #prefix: string;
  readonly #dir: string;
  readonly #tasks: ChildProcess[] = [];
  /** those that it made: names of others may begin like these */
  readonly #namespaces: string[] = [];

  private constructor(prefix: string) {
    this.#prefix = prefix;
    this.#dir = mkdtempSync(join(tmpdir(), 'skep-network-'));
    this.outside = `/run/netns/${prefix}c`;
  }

  /** @param prefix at most 6 characters; names of namespaces and links begin with it */
  static async create(prefix: string, hostCount: number, underlayMtu = 1500): Promise<NetworkLab> {
    const lab = new NetworkLab(prefix);
    try {
      await lab.#makeUnderlay(hostCount, underlayMtu);
    } catch (err) {
      await lab.close();
      throw err;
    }
    return lab;
  }

  async #makeUnderlay(hostCount: number, mtu: number): Promise<void> {
    const hub = `${this.#prefix}h`;
    await this.#addNamespace(hub);
    await command('ip', '-n', hub, 'link', 'add', 'br0', 'type', 'bridge');
    await command('ip', '-n', hub, 'link', 'set', 'br0', 'up');
    const seats = Array.from({ length: hostCount }, (_, i) => ({
      name: `${this.#prefix}${i}`,
      address: `172.30.77.${i + 1}`,
    }));
    seats.push({ name: `${this.#prefix}c`, address: this.outsideAddress });
    for (const [i, { name, address }] of seats.entries()) {
      await this.#addNamespace(name);
      // A new namespace forwards when the machine does at that moment.
      await inNetns(`/run/netns/${name}`, 'sysctl', '-qw', 'net.ipv4.ip_forward=0');
      const sized = ['mtu', `${mtu}`];
      const peer = ['peer', 'name', 'up0', ...sized, 'netns', name];
      await command('ip', '-n', hub, 'link', 'add', `p${i}`, ...sized, 'type', 'veth', ...peer);
      await command('ip', '-n', hub, 'link', 'set', `p${i}`, 'master', 'br0', 'up');
      await command('ip', '-n', name, 'link', 'set', 'lo', 'up');
      await command('ip', '-n', name, 'link', 'set', 'up0', 'up');
      await command('ip', '-n', name, 'addr', 'add', `${address}/24`, 'dev', 'up0');
      if (i < hostCount) {
        const dir = join(this.#dir, name);
        this.hosts.push(new LabHost(`node${i}`, address, `/run/netns/${name}`, dir));
      }
    }
  }

  async #addNamespace(name: string): Promise<void> {
    await command('ip', 'netns', 'add', name);
    this.#namespaces.push(name);
  }

  /** All at once. */
  async everyHost(work: (host: LabHost) => Promise<unknown>): Promise<void> {
    await Promise.all(this.hosts.map(work));
  }

  /** These hosts run, and have these tables. */
  async begin(
    tables: readonly AssignmentChange[],
    hosts: readonly LabHost[] = this.hosts,
  ): Promise<void> {
    const begin = async (host: LabHost): Promise<void> => {
      await host.start();
      await host.apply(tables, true);
    };
    await Promise.all(hosts.map(begin));
  }

  /** What the way to a host carries becomes less than its link says, and nothing tells of what is dropped. */
  async narrow(hostIndex: number, mtu: number): Promise<void> {
    const hub = `${this.#prefix}h`;
    await command('ip', '-n', hub, 'link', 'set', `p${hostIndex}`, 'mtu', `${mtu}`);
  }

  /** A task: a process in a namespace of its own, answering with its name (HTTP 80, UDP 81). */
  async task(name: string): Promise<LabTask> {
    const script = join(here, 'network-echo.mjs');
    return new LabTask(await this.#saying('unshare', '--net', process.execPath, script, name));
  }

  /** A task with these seats, attached to `host`. */
  async attached(
    host: LabHost,
    name: string,
    seats: readonly AssignedEndpoint[],
    options: Partial<TaskNetworkRequest> = {},
  ): Promise<LabTask> {
    const task = await this.task(name);
    await host.attach(attachRequest(seats, task, options));
    return task;
  }

  /** What answers as tasks do, on another port, in `netns`. */
  server(netns: string, name: string, port: number): Promise<void> {
    return this.script(netns, join(here, 'network-echo.mjs'), name, `${port}`);
  }

  /** Answers the first packet of SCTP in `netns` with `tag`: see network-sctp.py. */
  async sctpServer(netns: string, tag: number): Promise<void> {
    await this.program(netns, PYTHON, SCTP_SCRIPT, 'serve', `${tag}`);
  }

  /** A nameserver in `netns` that knows `outside.example` only (203.0.113.7). */
  nameserver(netns: string, address = '0.0.0.0'): Promise<void> {
    return this.script(netns, join(here, 'network-dns.mjs'), 'serve', address);
  }

  /** A task that does nothing: many of them cost little. */
  async idle(): Promise<LabTask> {
    const script = 'echo ready; exec sleep 100000';
    return new LabTask(await this.#saying('unshare', '--net', 'sh', '-c', script));
  }

  /** Runs a script of Node in `netns` until the lab is closed; resolves when it says something. */
  async script(netns: string, file: string, ...args: string[]): Promise<void> {
    await this.program(netns, process.execPath, file, ...args);
  }

  /** Runs a program in `netns` until the lab is closed; resolves when it says something. */
  async program(netns: string, file: string, ...args: string[]): Promise<void> {
    await this.#saying('nsenter', `--net=${netns}`, file, ...args);
  }

  /** Datagrams over `flows` flows, from `netns`; resolves with what ends them. */
  async flood(netns: string, file: string, address: string, port: number, flows: number) {
    const args = [file, 'flood', address, `${port}`, `${flows}`];
    const child = await this.#saying('nsenter', `--net=${netns}`, process.execPath, ...args);
    return () => kill(child);
  }

  /** Runs a program until the lab is closed; resolves when it says something. */
  async #saying(file: string, ...args: string[]): Promise<ChildProcess> {
    const child = spawn(file, args, { stdio: ['ignore', 'pipe', 'inherit'] });
    this.#tasks.push(child);
    await new Promise<void>((resolve, reject) => {
      child.stdout?.once('data', () => resolve());
      child.once('exit', () => reject(new Error(`${file} ${args.join(' ')} ended`)));
    });
    return child;
  }

  async close(): Promise<void> {
    for (const child of this.#tasks) await kill(child);
    for (const host of this.hosts) await host.crash();
    for (const { dir } of this.hosts) {
      const pins = join(dir, 'netns');
      let names: string[] = [];
      try {
        names = readdirSync(pins);
      } catch {} // never made, or removed by the manager
      for (const name of names) await command('umount', '-l', join(pins, name)).catch(() => '');
      await command('umount', '-l', join(dir, 'encrypted', 'netns')).catch(() => '');
    }
    for (const name of this.#namespaces) await command('ip', 'netns', 'del', name).catch(() => '');
    rmSync(this.#dir, { recursive: true, force: true });
  }
}

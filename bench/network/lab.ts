/**
 * Hosts as network namespaces on one wire, each with the network manager of a node, and tasks as namespaces
 * of their own. The wire is a link with a macvlan for each host: a packet crosses it in one step, as it is taken from a
 * card; a bridge between pairs of links would forward on these cores what a switch forwards on its own. Everything goes with
 * the benchmark, also when it fails.
 */
import { spawn, spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { AssignedEndpoint, AssignmentChange } from '../../common/model/assignment.ts';
import { attachRequest } from '../../test/support/network-scene.ts';
import type { TaskNetworkRequest } from '../../worker/network/task-request.ts';
import { endAtExit, runProgram, temporaryDirectory, undoAtExit } from '../support/cleanup.ts';
import { HelperProcess } from '../support/helper-process.ts';
import type { HostOperations } from './host-process.ts';

/** The outside client's address on the wire. */
export const OUTSIDE_ADDRESS = '172.30.78.100';

export interface BenchHost {
  readonly nodeId: string;
  readonly address: string;
  readonly netns: string;
  readonly process: HelperProcess<HostOperations>;
}

export interface BenchTask {
  readonly netns: string;
  readonly end: () => void;
}

/** Runs a program in a namespace, by its path. */
export function inNetns(netns: string, ...argv: readonly string[]): Promise<string> {
  return runProgram('nsenter', [`--net=${netns}`, ...argv]);
}

/** Starts a program in a namespace; it is ended with the benchmark. Returns its end. */
export function startIn(netns: string, ...argv: readonly string[]): () => void {
  return background('nsenter', [`--net=${netns}`, ...argv]).end;
}

function background(command: string, args: readonly string[]) {
  const child = spawn(command, args, { stdio: 'ignore' });
  const pid = child.pid as number;
  const release = endAtExit(pid);
  child.once('exit', release);
  return { pid, end: () => void child.kill('SIGKILL') };
}

export class Lab {
  readonly hosts: BenchHost[] = [];
  readonly outside: string;
  readonly #prefix = `skb${process.pid % 100_000}`;
  readonly #dir = temporaryDirectory('network');
  /** those that it made: names of others may begin like these */
  readonly #namespaces: string[] = [];

  private constructor() {
    this.outside = this.#path('out');
    undoAtExit(() => this.#removeNamespaces());
  }

  static async create(hostCount: number): Promise<Lab> {
    const lab = new Lab();
    const wire = lab.#name('wire');
    await lab.#addNamespace(wire);
    const ends = ['type', 'veth', 'peer', 'name', 'wire1'];
    await runProgram('ip', ['-n', wire, 'link', 'add', 'wire0', 'up', ...ends]);
    await runProgram('ip', ['-n', wire, 'link', 'set', 'wire1', 'up']);
    await lab.#seat('out', OUTSIDE_ADDRESS);
    for (let i = 0; i < hostCount; i++) {
      const address = `172.30.78.${i + 1}`;
      await lab.#seat(`h${i}`, address);
      lab.hosts.push(await lab.#host(`h${i}`, address));
    }
    return lab;
  }

  /** The same tables on every host. */
  async apply(changes: readonly AssignmentChange[]): Promise<void> {
    for (const host of this.hosts) await host.process.ask('apply', { changes, complete: true });
  }

  /** A namespace for a task to be. */
  async task(): Promise<BenchTask> {
    const { pid, end } = background('unshare', ['--net', 'sleep', '100000']);
    const netns = `/proc/${pid}/ns/net`;
    const own = (await runProgram('readlink', ['/proc/self/ns/net'])).trim();
    while ((await runProgram('readlink', [netns])).trim() === own)
      await runProgram('sleep', ['0.01']);
    return { netns, end };
  }

  /** A task with its seats. */
  async attached(host: BenchHost, seats: readonly AssignedEndpoint[]): Promise<BenchTask> {
    const task = await this.task();
    await host.process.ask('attach', requestOf(seats, task));
    return task;
  }

  /** A host on the wire without anything of ours on it; the namespace's path. */
  async bareHost(name: string, address: string): Promise<string> {
    await this.#seat(name, address);
    return this.#path(name);
  }

  /** A namespace beside the hosts, joined to one by a link. */
  async namespace(name: string): Promise<string> {
    await this.#addNamespace(this.#name(name));
    await runProgram('ip', ['-n', this.#name(name), 'link', 'set', 'lo', 'up']);
    return this.#path(name);
  }

  async close(): Promise<void> {
    for (const { process } of this.hosts) await process.kill();
    this.#removeNamespaces();
  }

  async #addNamespace(name: string): Promise<void> {
    this.#namespaces.push(name);
    await runProgram('ip', ['netns', 'add', name]);
  }

  #name(name: string): string {
    return `${this.#prefix}${name}`;
  }

  #path(name: string): string {
    return `/run/netns/${this.#name(name)}`;
  }

  async #seat(name: string, address: string): Promise<void> {
    const wire = this.#name('wire');
    const netns = await this.namespace(name);
    const port = ['name', `p${name}`, 'type', 'macvlan', 'mode', 'bridge'];
    await runProgram('ip', ['-n', wire, 'link', 'add', 'link', 'wire0', ...port]);
    const move = ['name', 'up0', 'netns', this.#name(name)];
    await runProgram('ip', ['-n', wire, 'link', 'set', `p${name}`, ...move]);
    await inNetns(netns, 'ip', 'link', 'set', 'up0', 'up');
    await inNetns(netns, 'ip', 'addr', 'add', `${address}/24`, 'dev', 'up0');
  }

  async #host(name: string, address: string): Promise<BenchHost> {
    const module = fileURLToPath(new URL('host-process.js', import.meta.url));
    const netns = this.#path(name);
    const process = new HelperProcess<HostOperations>(module, ['nsenter', `--net=${netns}`]);
    await process.ask('start', { dir: join(this.#dir, name), nodeId: name, address });
    return { nodeId: name, address, netns, process };
  }

  #removeNamespaces(): void {
    for (const name of readdirSync(this.#dir)) {
      const pins = join(this.#dir, name, 'netns');
      for (const pin of spawnSync('ls', [pins]).stdout.toString().split('\n')) {
        if (pin !== '') spawnSync('umount', ['-l', join(pins, pin)]);
      }
    }
    for (const name of this.#namespaces.splice(0)) spawnSync('ip', ['netns', 'del', name]);
  }
}

export function requestOf(
  seats: readonly AssignedEndpoint[],
  task: { readonly netns: string },
): TaskNetworkRequest {
  return attachRequest(seats, task);
}

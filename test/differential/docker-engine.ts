/**
 * Debian's own Docker engine, unpacked into a temporary folder and run in network and mount namespaces of
 * its own: nothing is installed, nothing of the host's is used, nothing stays.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { eventually, isAlive } from '../support/cluster.ts';
import { unpackPackages } from '../support/debian-packages.ts';
import { Engine } from './engine.ts';

/** There is none to be had here, or it does not run here; the reason is for people. Whatever else fails is a failure. */
export class NoEngine extends Error {}

const PACKAGES = ['docker.io', 'containerd', 'runc'];
const READY_LIMIT_MS = 30_000;
const END_LIMIT_MS = 30_000;
const WORDS_MAX = 2_000;
const ADDRESS = '10.99.0.1';
const CGROUPS = '/sys/fs/cgroup';

export interface DockerEngineOptions {
  readonly storage: 'vfs' | 'overlay2';
  /**
   * `docker0` with its rules. Without it no iptables either: the kernels of test machines lack IPVS and bridges'
   * filters, and the objects of the control plane do not depend on them.
   */
  readonly bridge: boolean;
  /** where it is, with its address there; absent = in a network namespace of its own */
  readonly host?: { readonly netns: string; readonly address: string };
  /** one whose programs it shares, which must have begun; absent = it gets its own */
  readonly programs?: DockerEngine;
}

const NO_BRIDGE = '--bridge none --iptables=false --ip6tables=false --userland-proxy=false';

/** How many there were, for names of their own. */
let count = 0;

const SCRIPT = `
set -e
ip link set lo up
[ -z "$ADDRESS" ] || ip address add "$ADDRESS/24" dev lo
mount -t tmpfs run /run
PATH="$ROOT/usr/sbin:$ROOT/usr/bin:$PATH"
exec dockerd --data-root "$DIR/data" --exec-root "$DIR/exec" --pidfile "$DIR/pid" \\
  --host "unix://$DIR/docker.sock" $FLAGS --cgroup-parent "/$GROUP" --log-level error
`;

export class DockerEngine {
  readonly engine: Engine;
  readonly socketPath: string;
  readonly #options: DockerEngineOptions;
  readonly #dir: string;
  readonly #group: string;
  #child: ChildProcess | null = null;
  /** what it said last */
  #words = '';

  constructor(options: DockerEngineOptions = { storage: 'vfs', bridge: false }) {
    this.#options = options;
    this.#dir = mkdtempSync(join(tmpdir(), 'skep-diff-'));
    this.#group = `skep-diff-${process.pid}-${++count}`;
    this.socketPath = join(this.#dir, 'docker.sock');
    this.engine = new Engine('docker', this.socketPath);
  }

  /** The address that it has in a swarm. */
  get address(): string {
    return this.#options.host?.address ?? ADDRESS;
  }

  /** A swarm of one node. Rejects as `begin`. */
  async start(): Promise<void> {
    await this.begin();
    const { status, body } = await this.engine.call('POST', '/swarm/init', {
      ListenAddr: `${this.address}:2377`,
      AdvertiseAddr: this.address,
    });
    if (status !== 200) throw new Error(`docker: swarm/init answered ${JSON.stringify(body)}`);
  }

  /** Alone. Rejects with `NoEngine` when the packages cannot be had, or the engine ends before it answers. */
  async begin(): Promise<void> {
    const { host, programs } = this.#options;
    if (!programs) {
      await unpackPackages(this.#dir, PACKAGES).catch((cause: unknown) => {
        throw new NoEngine(`the packages ${PACKAGES.join(', ')} cannot be had: ${String(cause)}`);
      });
    }
    const variables = {
      ...{ DIR: this.#dir, GROUP: this.#group, FLAGS: this.#flags() },
      ...{ ROOT: join((programs ?? this).#dir, 'root'), ADDRESS: host ? '' : ADDRESS },
    };
    const [program = '', ...args] = [
      ...(host ? ['nsenter', `--net=${host.netns}`, 'unshare'] : ['unshare', '--net']),
      ...['--mount', '--propagation', 'private', 'sh', '-c', SCRIPT],
    ];
    const child = spawn(program, args, {
      env: { ...process.env, ...variables },
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    this.#child = child;
    child.stderr.on('data', (chunk: Buffer) => {
      this.#words = `${this.#words}${chunk}`.slice(-WORDS_MAX);
    });
    const answers = async (): Promise<void> => {
      if (child.exitCode === null) await this.engine.get('/version');
    };
    await eventually('the engine answers', answers, { withinMs: READY_LIMIT_MS, everyMs: 250 });
    if (child.exitCode !== null) {
      throw new NoEngine(`it does not run here: status ${child.exitCode}, ${this.#words.trim()}`);
    }
  }

  /** Ends it by its pid and removes all that it made. */
  async stop(): Promise<void> {
    const pid = this.#pid();
    if (pid !== null) {
      await this.engine.call('POST', '/swarm/leave?force=1').catch(() => {});
      process.kill(pid, 'SIGTERM');
      const endMs = performance.now() + END_LIMIT_MS;
      while (isAlive(pid) && performance.now() < endMs) await sleep(100);
      if (isAlive(pid)) process.kill(pid, 'SIGKILL');
    }
    this.#child?.kill('SIGKILL');
    this.#removeGroups();
    rmSync(this.#dir, { recursive: true, force: true, maxRetries: 5 });
  }

  #flags(): string {
    const { storage, bridge } = this.#options;
    return [`--storage-driver ${storage}`, bridge ? '' : NO_BRIDGE].join(' ');
  }

  #pid(): number | null {
    const path = join(this.#dir, 'pid');
    return existsSync(path) ? Number(readFileSync(path, 'utf8')) : null;
  }

  /** Empty by now, in every hierarchy. */
  #removeGroups(): void {
    for (const root of [CGROUPS, ...readdirSync(CGROUPS).map((name) => join(CGROUPS, name))]) {
      const path = join(root, this.#group);
      if (!existsSync(path)) continue;
      for (const entry of readdirSync(path, { withFileTypes: true })) {
        if (entry.isDirectory()) rmdirSync(join(path, entry.name));
      }
      rmdirSync(path);
    }
  }
}

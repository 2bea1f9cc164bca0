/** The rooms beside the executor, in memory: containers that end when a test says so. */
import { Readable, Writable } from 'node:stream';
import { SkepError } from '../../common/base/errors.ts';
import type { AssignmentChange } from '../../common/model/assignment.ts';
import type { NetworkId, TaskId } from '../../common/model/ids.ts';
import type { PortConfig } from '../../common/model/service.ts';
import type { LocalAddress } from '../../common/model/task.ts';
import { NO_EDITS } from '../../worker/executor/cdi.ts';
import type { HostFacts } from '../../worker/executor/host-facts.ts';
import type { Images, Networks, Runtime, Volumes } from '../../worker/executor/ports.ts';
import type { ImageConfig, ImageRecord, RegistryAuth } from '../../worker/images/image-store.ts';
import type { AttachedTask, TaskNetworkRequest } from '../../worker/network/network-manager.ts';
import type {
  ContainerBundle,
  ContainerState,
  ExecSession,
  ExecSpec,
  ExitRecord,
  LogRecord,
} from '../../worker/runtime/native-runtime.ts';

export function anImageConfig(overrides: Partial<ImageConfig> = {}): ImageConfig {
  return {
    entrypoint: null,
    cmd: ['sh'],
    env: [],
    user: '',
    workingDir: '',
    exposedPorts: [],
    volumes: [],
    stopSignal: null,
    healthcheck: null,
    labels: {},
    onBuild: [],
    shell: [],
    argsEscaped: false,
    ...overrides,
  };
}

export function anImage(config: Partial<ImageConfig> = {}): ImageRecord {
  return {
    id: `sha256:${'1'.repeat(64)}`,
    repoTags: ['busybox:1.36'],
    repoDigests: [],
    createdAtMs: 0,
    sizeBytes: 1,
    architecture: 'amd64',
    variant: '',
    os: 'linux',
    author: '',
    config: anImageConfig(config),
    layers: [],
    history: [],
  };
}

export function anExit(overrides: Partial<ExitRecord> = {}): ExitRecord {
  return {
    exitCode: 0,
    signal: 0,
    oomKilled: false,
    error: null,
    startedAtMs: 1,
    finishedAtMs: 2,
    ...overrides,
  };
}

class FakeContainer {
  readonly bundle: ContainerBundle;
  readonly whenExited: Promise<ExitRecord>;
  state: ContainerState;
  #resolve: (record: ExitRecord) => void = () => {};

  constructor(id: string, bundle: ContainerBundle, pid: number) {
    this.bundle = bundle;
    this.whenExited = new Promise((resolve) => {
      this.#resolve = resolve;
    });
    this.state = {
      id,
      pid,
      status: 'created',
      exit: null,
      createdAtMs: pid,
      startedAtMs: null,
      netnsPath: `/proc/${pid}/ns/net`,
      paused: false,
    };
  }

  end(record: ExitRecord): void {
    if (this.state.exit) return;
    this.state = { ...this.state, status: 'exited', pid: 0, netnsPath: null, exit: record };
    this.#resolve(record);
  }
}

/** What a probe does: its exit code, or it never ends. */
export type ProbeScript = number | 'hangs';

/**
 * Every call that changes something is a line in `calls`, shared by the four rooms. A container ends
 * by a signal that is not in `ignoredSignals`, with 128 + signal, or by `end`.
 */
export class FakeRuntime implements Runtime {
  readonly calls: string[];
  readonly containers = new Map<string, FakeContainer>();
  readonly ignoredSignals = new Set<number>();
  /** killAll does nothing and never resolves */
  unkillable = false;
  startFailure: unknown = null;
  createFailure: unknown = null;
  /** one per probe; the last one goes on */
  probes: ProbeScript[] = [0];
  readonly execs: ExecSpec[] = [];
  probeOutput = '';
  #lastPid = 100;

  constructor(calls: string[] = []) {
    this.calls = calls;
  }

  get(id: string): ContainerState | undefined {
    return this.containers.get(id)?.state;
  }

  list(): ContainerState[] {
    return [...this.containers.values()].map(({ state }) => state);
  }

  /** As if it had been made by an earlier daemon. */
  addRunning(id: string, bundle?: ContainerBundle): void {
    const container = new FakeContainer(id, bundle ?? ({} as ContainerBundle), ++this.#lastPid);
    container.state = { ...container.state, status: 'running', startedAtMs: 1 };
    this.containers.set(id, container);
  }

  end(id: string, exit: Partial<ExitRecord> = {}): void {
    this.#require(id).end(anExit(exit));
  }

  bundle(id: string): ContainerBundle {
    return this.#require(id).bundle;
  }

  async create(id: string, bundle: ContainerBundle): Promise<ContainerState> {
    this.calls.push('create');
    if (this.createFailure) throw this.createFailure;
    if (this.containers.has(id)) throw new SkepError('already-exists', `container ${id} exists`);
    const container = new FakeContainer(id, bundle, ++this.#lastPid);
    this.containers.set(id, container);
    return container.state;
  }

  async startContainer(id: string): Promise<ContainerState> {
    this.calls.push('start');
    const container = this.#require(id);
    if (this.startFailure) {
      container.end(anExit({ exitCode: 127 }));
      throw this.startFailure;
    }
    if (container.state.status !== 'created') throw new SkepError('conflict', 'it is not created');
    container.state = { ...container.state, status: 'running', startedAtMs: 1 };
    return container.state;
  }

  wait(id: string, signal?: AbortSignal): Promise<ExitRecord> {
    const { whenExited } = this.#require(id);
    return new Promise((resolve, reject) => {
      const onAbort = (): void => reject(signal?.reason);
      if (signal?.aborted) onAbort();
      signal?.addEventListener('abort', onAbort, { once: true });
      void whenExited.then(resolve);
    });
  }

  async signal(id: string, signo: number): Promise<void> {
    this.calls.push(`signal ${signo}`);
    const container = this.#require(id);
    if (container.state.status !== 'running') throw new SkepError('conflict', 'it has ended');
    if (!this.ignoredSignals.has(signo)) container.end(anExit({ exitCode: 128 + signo }));
  }

  killAll(id: string): Promise<void> {
    this.calls.push('kill');
    if (this.unkillable) return new Promise(() => {});
    this.#require(id).end(anExit({ exitCode: 137, signal: 9 }));
    return Promise.resolve();
  }

  async remove(id: string): Promise<void> {
    this.calls.push('remove container');
    const container = this.containers.get(id);
    if (container?.state.status === 'running') throw new SkepError('conflict', 'it is running');
    container?.end(anExit({ exitCode: 137 }));
    this.containers.delete(id);
  }

  async exec(id: string, spec: ExecSpec): Promise<ExecSession> {
    if (this.#require(id).state.status !== 'running') {
      throw new SkepError('conflict', `exec in container ${id}: it is not running`);
    }
    this.execs.push(spec);
    const script = this.probes.length > 1 ? this.probes.shift()! : this.probes[0]!;
    return fakeExecSession(script, this.probeOutput, this.calls);
  }

  async *logs(): AsyncIterable<LogRecord> {
    // A fake container says nothing.
  }

  #require(id: string): FakeContainer {
    const container = this.containers.get(id);
    if (!container) throw new SkepError('not-found', `no such container: ${id}`);
    return container;
  }
}

function fakeExecSession(script: ProbeScript, output: string, calls: string[]): ExecSession {
  let onKilled: (end: { exitCode: number }) => void = () => {};
  const killed = new Promise<{ exitCode: number }>((resolve) => {
    onKilled = resolve;
  });
  const stdout = new Readable({ read: () => {} });
  if (output !== '') stdout.push(Buffer.from(output));
  return {
    pid: 1,
    stdin: new Writable({ write: (_chunk, _encoding, done) => done() }),
    stdout,
    stderr: new Readable({ read: () => {} }),
    wait: (signal) =>
      new Promise((resolve, reject) => {
        if (signal?.aborted) reject(signal.reason);
        signal?.addEventListener('abort', () => reject(signal.reason), { once: true });
        // In this turn, but after the output has been read: streams flow from the next tick on.
        const finish = (): void => resolve({ exitCode: Number(script) });
        if (script !== 'hangs') process.nextTick(() => process.nextTick(finish));
        void killed.then(resolve);
      }),
    resize: async () => {},
    kill: async (signo) => {
      calls.push(`kill probe ${signo}`);
      onKilled({ exitCode: 128 + signo });
    },
    close: () => {},
  };
}

export class FakeImages implements Images {
  readonly calls: string[];
  readonly byReference = new Map<string, ImageRecord>();
  /** what a registry has */
  readonly remote = new Map<string, ImageRecord>();
  readonly pulls: { reference: string; auth: RegistryAuth | null }[] = [];
  readonly pinned = new Set<string>();
  readonly #held = new Map<string, ImageRecord>();

  constructor(calls: string[] = []) {
    this.calls = calls;
  }

  get(reference: string): ImageRecord | undefined {
    return this.byReference.get(reference);
  }

  async pull(reference: string, auth: RegistryAuth | null): Promise<ImageRecord> {
    this.calls.push('pull');
    this.pulls.push({ reference, auth });
    const image = this.remote.get(reference);
    if (!image) throw new SkepError('not-found', `pull ${reference}: manifest unknown`);
    this.byReference.set(reference, image);
    return image;
  }

  heldBy(containerId: string): ImageRecord | undefined {
    return this.#held.get(containerId);
  }

  async acquireRootfs(
    containerId: string,
    imageId: string,
  ): Promise<{ lowerDirs: readonly string[] }> {
    this.pinned.add(containerId);
    const image = [...this.byReference.values()].find(({ id }) => id === imageId);
    if (image) this.#held.set(containerId, image);
    return { lowerDirs: ['/layers/1'] };
  }

  async releaseRootfs(containerId: string): Promise<void> {
    this.calls.push('release rootfs');
    this.pinned.delete(containerId);
    this.#held.delete(containerId);
  }

  pinnedContainers(): string[] {
    return [...this.pinned];
  }
}

export class FakeVolumes implements Volumes {
  readonly calls: string[];
  readonly acquired: {
    name: string | null;
    options: Parameters<Volumes['acquire']>[2] | null;
    populateFrom: { readonly lowerDirs: readonly string[]; readonly path: string } | null;
  }[] = [];
  readonly users = new Set<string>();
  mountFailure: Error | null = null;
  #anonymous = 0;

  constructor(calls: string[] = []) {
    this.calls = calls;
  }

  usingContainers(): string[] {
    return [...this.users];
  }

  list(): { name: string; mountpoint: string }[] {
    const named = this.acquired.flatMap(({ name }) => name ?? []);
    const anonymous = Array.from({ length: this.#anonymous }, (_, i) => `anonymous-${i + 1}`);
    return [...named, ...anonymous].map((name) => ({ name, mountpoint: `/volumes/${name}` }));
  }

  async mountAgain(): Promise<void> {
    this.calls.push('mount volumes again');
    if (this.mountFailure) throw this.mountFailure;
  }

  async acquire(
    _containerId: string,
    name: string,
    options: Parameters<Volumes['acquire']>[2],
  ): Promise<{ path: string }> {
    this.acquired.push({ name, options, populateFrom: options.populateFrom });
    return { path: `/volumes/${name}` };
  }

  async createAnonymous(
    _containerId: string,
    populateFrom: { readonly lowerDirs: readonly string[]; readonly path: string } | null,
  ): Promise<{ path: string }> {
    this.acquired.push({ name: null, options: null, populateFrom });
    return { path: `/volumes/anonymous-${++this.#anonymous}` };
  }

  async release(
    containerId: string,
    { keepsAnonymous = false }: { readonly keepsAnonymous?: boolean } = {},
  ): Promise<void> {
    this.users.delete(containerId);
    this.calls.push(keepsAnonymous ? 'release volumes, keep anonymous' : 'release volumes');
  }
}

export class FakeNetworks implements Networks {
  /** in networks that nodes make */
  given: readonly LocalAddress[] = [];
  /** of networks that are known */
  readonly known = new Map<NetworkId, { readonly name: string; readonly driver: string }>();
  readonly calls: string[];
  readonly requests: TaskNetworkRequest[] = [];
  readonly attached = new Set<TaskId>();
  hostPorts: readonly PortConfig[] = [];
  attachFailure: unknown = null;
  publishFailure: unknown = null;

  constructor(calls: string[] = []) {
    this.calls = calls;
  }

  async apply(_changes: readonly AssignmentChange[], _complete: boolean): Promise<void> {
    this.calls.push('apply network');
  }

  async attachTask(request: TaskNetworkRequest): Promise<AttachedTask> {
    this.calls.push('attach');
    if (this.attachFailure) throw this.attachFailure;
    this.requests.push(request);
    this.attached.add(request.taskId);
    return { hostPorts: this.hostPorts };
  }

  async adoptTask(request: TaskNetworkRequest): Promise<void> {
    this.calls.push('adopt');
    this.requests.push(request);
    this.attached.add(request.taskId);
  }

  async publishPorts(taskId: TaskId, ports: readonly PortConfig[]): Promise<readonly PortConfig[]> {
    this.calls.push('publish');
    if (!this.attached.has(taskId)) throw new Error('not attached');
    if (this.publishFailure) throw this.publishFailure;
    return ports;
  }

  async detachTask(taskId: TaskId): Promise<void> {
    this.calls.push('detach');
    this.attached.delete(taskId);
  }

  localAddresses(taskId: TaskId): readonly LocalAddress[] {
    return this.attached.has(taskId) ? this.given : [];
  }

  networkOf(networkId: NetworkId): { readonly name: string; readonly driver: string } | null {
    return this.known.get(networkId) ?? null;
  }
}

/** A machine without devices to give or AppArmor. */
export const NO_HOST_FACTS: HostFacts = {
  devices: [],
  edits: NO_EDITS,
  blockDevices: new Map(),
  apparmorProfile: null,
  arch: 'amd64',
  kernel: '6.1.0',
};

/**
 * Containers by our own shim: create, start, wait, signal, exec, logs, statistics, remove; adoption of
 * what runs already when the daemon starts. Knows specs, not services or images.
 */
import { mkdir, readdir } from 'node:fs/promises';
import type { Clock } from '../../common/base/clock.ts';
import { SkepError } from '../../common/base/errors.ts';
import type { OnFailure } from '../../common/base/lifecycle.ts';
import type { Logger } from '../../common/base/log.ts';
import type { Random } from '../../common/base/random.ts';
import { settled } from '../../common/base/settled.ts';
import type { StringMap } from '../../common/model/objects.ts';
import { NativeError, nativeBuildPath } from '../../native/ffi/library.ts';
import { unmountTree } from '../../native/ffi/mount.ts';
import { encodeFrame, FRAME, SIZED_EXEC_VERSION } from '../../native/ffi/shim-protocol.ts';
import { removeTree } from '../../native/ffi/trees.ts';
import { type AttachSession, ShimAttachSession } from './attach-session.ts';
import type { CgroupDriver } from './cgroup/cgroup.ts';
import { detectCgroups } from './cgroup/detect.ts';
import { Container, type ContainerState } from './container.ts';
import { type ContainerStats, networkStats } from './container-stats.ts';
import { type ExecSpec, type ExecUser, execProcess } from './exec-process.ts';
import { CommandError, type ExecSession, ShimExecSession } from './exec-session.ts';
import type { LogQuery, LogRecord } from './log-reader.ts';
import { ContainerLogs } from './logging/container-logs.ts';
import type {
  OciDevice,
  OciIdMapping,
  OciMount,
  OciProcess,
  OciResources,
  OciSpec,
} from './oci.ts';
import { type OciRuntime, ociConfigText } from './oci-config.ts';
import { seccompFilter } from './seccomp-filter.ts';
import { SpareShims } from './spare-shims.ts';
import { encodeProcess, encodeSpec } from './spec-binary.ts';
import {
  type ContainerBundle,
  type ExitRecord,
  forgetExit,
  readBundle,
  writeBundle,
  writeOciConfig,
} from './task-files.ts';
import { imageFileReader, resolveUser } from './user.ts';

export type { AttachSession } from './attach-session.ts';
export type { ContainerState } from './container.ts';
export type { ContainerStats } from './container-stats.ts';
export type { ExecSpec } from './exec-process.ts';
export type { ExecSession } from './exec-session.ts';
export type { LogQuery, LogRecord } from './log-reader.ts';
export type { ContainerBundle, ExitRecord } from './task-files.ts';

export interface RuntimeOptions {
  /** absolute; one directory per container, on a file system that can be an overlay's upper layer */
  readonly stateDir: string;
  /** name of the group that holds all our groups */
  readonly cgroupParent: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly onFailure: OnFailure;
}

/** An id names a directory and a group. */
const ID_PATTERN = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$/;

/** The parts of a container's root; what it wrote lies in `<taskDir>/upper`. */
export interface RootLayers {
  readonly taskDir: string;
  /** topmost first */
  readonly lowerDirs: readonly string[];
  readonly mounts: readonly OciMount[];
  readonly devices: readonly OciDevice[];
}

interface MakeOptions {
  readonly signal?: AbortSignal;
  /** when the init waits, before anybody sees the container */
  readonly beforeUse?: () => Promise<void>;
}

/** Lifecycle: constructed, `start` (once), in service, `stop`. */
export class NativeRuntime {
  readonly #options: RuntimeOptions;
  readonly #containers = new Map<string, Container>();
  /** ids that are being created */
  readonly #creating = new Set<string>();
  readonly #logs: ContainerLogs;
  readonly #removals = new Map<string, Promise<void>>();
  /** what belongs to no container and is just being removed; a create of that id waits for it */
  readonly #leftovers = new Map<string, Promise<void>>();
  #shims: SpareShims | null = null;
  #cgroups: CgroupDriver | null = null;
  /** Removal of the parent groups; a create waits for it. */
  #parentRemoval: Promise<void> = Promise.resolve();

  constructor(options: RuntimeOptions) {
    this.#options = options;
    const { clock, random, log } = options;
    this.#logs = new ContainerLogs({ clock, random, log });
  }

  /**
   * Adopts what is there. Afterwards every task directory is a container, every other group gone.
   * Waits for no shim longer than a moment. Rejects, and touches nothing, when descriptors or memory
   * are too short to find out what is there.
   */
  async start(): Promise<void> {
    const { stateDir, cgroupParent, clock } = this.#options;
    await mkdir(stateDir, { recursive: true, mode: 0o700 });
    await unmountTree(stateDir); // roots of ended containers that were looked into
    this.#cgroups = await detectCgroups(cgroupParent, clock);
    this.#shims = SpareShims.open(this.#options.log);
    const beganMs = clock.monotonicMs();
    const ids = await this.#directories();
    await Promise.all(ids.map((id) => this.#adopt(id)));
    const elapsedMs = Math.round(clock.monotonicMs() - beganMs);
    if (ids.length > 0)
      this.#options.log.info({ count: ids.length, elapsedMs }, 'containers adopted');
    await this.sweep();
  }

  /**
   * Removes directories and groups of no container, with the processes in them: what a create or a removal
   * left that failed. Of a container that is made meanwhile nothing is touched. What cannot be removed is
   * logged.
   */
  async sweep(): Promise<void> {
    const groups = await this.#requireCgroups().list();
    const directories = await this.#directories();
    for (const id of new Set([...groups, ...directories])) {
      // Asked now: what was found of one that came meanwhile was there before it, and it waits below.
      if (this.#containers.has(id) || this.#creating.has(id) || this.#shims === null) continue;
      const removal = this.#discard(this.#container(id));
      this.#leftovers.set(id, removal);
      await removal;
      this.#leftovers.delete(id);
    }
    await this.#releaseParent();
  }

  async #directories(): Promise<string[]> {
    return (await readdir(this.#options.stateDir)).filter((name) => ID_PATTERN.test(name));
  }

  /** Containers run on; one that is being made is given up. Idempotent. */
  async stop(): Promise<void> {
    const shims = this.#shims;
    this.#shims = null; // none is taken from now on
    await this.#logs.stop();
    for (const container of this.#containers.values()) container.detach();
    this.#containers.clear();
    await shims?.close();
    await this.#parentRemoval;
  }

  list(): ContainerState[] {
    return [...this.#containers.values()].map((container) => container.state);
  }

  get(id: string): ContainerState | undefined {
    return this.#containers.get(id)?.state;
  }

  /**
   * Makes the container up to its blocked init: namespaces, groups with limits, all mounts. Rejects
   * with `already-exists`, with `invalid-argument` for a spec that cannot be honoured, else with what
   * the kernel said; nothing is left behind then.
   */
  async create(id: string, bundle: ContainerBundle, signal?: AbortSignal): Promise<ContainerState> {
    if (!ID_PATTERN.test(id)) {
      throw new SkepError('invalid-argument', `create container: "${id}" is not a valid id`);
    }
    if (this.#containers.has(id) || this.#creating.has(id)) {
      throw new SkepError('already-exists', `create container ${id}: it exists`);
    }
    signal?.throwIfAborted();
    this.#creating.add(id);
    try {
      await this.#leftovers.get(id);
      await this.#parentRemoval;
      return (await this.#build(id, bundle, signal)).state;
    } finally {
      this.#creating.delete(id);
      await this.#releaseParent();
    }
  }

  /**
   * Makes a container that has ended anew, over what it wrote and logged: `created` again. `change`
   * gets what it was made from. When it fails the container is as it was.
   */
  async renew(id: string, change: (bundle: ContainerBundle) => ContainerBundle): Promise<void> {
    const ended = this.#require(id);
    if (ended.state.status !== 'exited' || this.#creating.has(id)) {
      throw new SkepError('conflict', `renew container ${id}: it is ${ended.state.status}`);
    }
    this.#creating.add(id);
    try {
      await ended.finish();
      const bundle = change(await this.#requireBundle(ended));
      const container = this.#container(id, bundle);
      try {
        // Until it is made it has ended, for whoever comes after us: its former exit says so.
        await this.#make(container, bundle, { beforeUse: () => forgetExit(container.taskDir) });
        this.#requireShims();
        this.#take(container, bundle);
      } catch (err) {
        container.detach();
        await this.#removeKernelState(id);
        throw err;
      }
    } finally {
      this.#creating.delete(id);
    }
  }

  /** Rejects with a `CommandError` when the command cannot be run; the container has then exited. */
  async startContainer(id: string): Promise<ContainerState> {
    const container = this.#require(id);
    await container.start();
    return container.state;
  }

  wait(id: string, signal?: AbortSignal): Promise<ExitRecord> {
    return this.#require(id).wait(signal);
  }

  /** To the init only. One without a handler ignores all but SIGKILL and SIGSTOP, as any pid 1 does. */
  async signal(id: string, signo: number): Promise<void> {
    await this.#require(id).signal(signo);
  }

  /**
   * SIGKILL to every process; resolves when they are gone and the exit is known, which a stuck shim
   * delays by 5 s at most. Rejects with `deadline-exceeded` when a process survives.
   */
  async killAll(id: string): Promise<void> {
    await this.#require(id).kill();
  }

  async freeze(id: string): Promise<void> {
    await this.#require(id).pause();
  }

  async thaw(id: string): Promise<void> {
    await this.#require(id).unpause();
  }

  /**
   * Everything of the container goes: groups, files, logs. A created one is killed; a running one is
   * refused with `conflict` (`destroy` does not refuse). Idempotent.
   */
  async remove(id: string): Promise<void> {
    if (this.#containers.get(id)?.state.status === 'running') {
      throw new SkepError('conflict', `remove container ${id}: it is running`);
    }
    await this.destroy(id);
  }

  /**
   * As `remove`, of a container in any state: its processes are killed first, and their end is
   * awaited within the bounds of `killAll`. Rejects with `deadline-exceeded` when a process survives SIGKILL;
   * the container is then still there, to be destroyed later. Idempotent.
   */
  async destroy(id: string): Promise<void> {
    const container = this.#containers.get(id);
    if (container === undefined) return;
    const removal = this.#removals.get(id) ?? this.#destroy(container);
    this.#removals.set(id, removal);
    try {
      await removal;
    } finally {
      this.#removals.delete(id);
    }
    await this.#releaseParent();
  }

  async #destroy(container: Container): Promise<void> {
    await container.kill();
    await this.#logs.finish(container.id);
    await container.removeGroups();
    await this.#removeTaskDir(container);
    this.#containers.delete(container.id);
    this.#logs.forget(container.id);
  }

  /** Runs a further command. Rejects with a `CommandError` when it cannot be run; `signal` is for its begin alone. */
  async exec(id: string, spec: ExecSpec, signal?: AbortSignal): Promise<ExecSession> {
    const container = this.#require(id);
    if (container.state.status !== 'running') {
      throw new SkepError('conflict', `exec in container ${id}: it is not running`);
    }
    const bundle = await this.#requireBundle(container);
    const own = bundle.spec.process;
    const process = execProcess(own, spec, await this.#execUser(container, own, spec.user));
    const size = spec.tty ? spec.consoleSize : null;
    const isSizedLater = size !== null && container.shimVersion < SIZED_EXEC_VERSION;
    const payload = encodeProcess(process, {
      seccomp: spec.privileged ? new Uint8Array(0) : seccompFilter(bundle.spec),
      stdin: spec.stdin && !spec.tty,
      tty: spec.tty,
      size: isSizedLater ? null : size,
    });
    const { clock } = this.#options;
    const withStdin = spec.stdin || spec.tty;
    const control = (type: number, body: Uint8Array) => container.request(type, body);
    const { taskDir } = container;
    const session = await ShimExecSession.start(
      ...([taskDir, clock, payload, withStdin, control, signal] as const),
    );
    // It may have ended already.
    if (isSizedLater) await session.resize(...size).catch(() => {});
    return session;
  }

  /** By the files that its processes see now: a package may have added the user since it was started. */
  async #execUser(
    { state }: Container,
    own: OciProcess,
    user: string | null,
  ): Promise<ExecUser | null> {
    if (user === null) return null;
    const read = imageFileReader([`/proc/${state.pid}/root`]);
    const [resolved, before] = await Promise.all([
      resolveUser(user, read),
      resolveUser(String(own.user.uid), read),
    ]);
    return { user: resolved, ownHome: before.home };
  }

  /**
   * The streams of the container's own process, from now on; also before it is started. Rejects with
   * `conflict` after its end.
   */
  async attach(id: string): Promise<AttachSession> {
    const container = this.#require(id);
    if (container.state.status === 'exited') {
      throw new SkepError('conflict', `attach to container ${id}: it has ended`);
    }
    return ShimAttachSession.open(container.taskDir, this.#options.clock);
  }

  /** The size of its terminal. Rejects with `conflict` when it has none, or has ended. */
  async resize(id: string, rows: number, columns: number): Promise<void> {
    await this.#require(id).resize(rows, columns);
  }

  /** Throws `unimplemented` when its log driver keeps nothing to read. */
  logs(id: string, query: LogQuery, signal?: AbortSignal): AsyncIterable<LogRecord> {
    return this.#logs.read(this.#require(id), query, signal);
  }

  /** What its log driver has shown with each line. */
  logAttributes(id: string): StringMap {
    return this.#logs.attributes(id);
  }

  /** One of ours from now on. */
  #take(container: Container, { logging }: ContainerBundle): void {
    this.#containers.set(container.id, container);
    this.#logs.take(container, logging);
  }

  stats(id: string): ContainerStats {
    const { cgroup, state } = this.#require(id);
    return { ...cgroup.stats(), networks: networkStats(state.pid) };
  }

  /** Changes limits; device rules stay as they were made. */
  async updateResources(id: string, resources: OciResources): Promise<void> {
    const container = this.#require(id);
    await container.cgroup.update({ ...resources, devices: [] });
    const bundle = await this.#requireBundle(container);
    const { devices } = bundle.spec.linux.resources;
    const merged = { ...bundle.spec.linux.resources, ...resources, devices };
    const spec = { ...bundle.spec, linux: { ...bundle.spec.linux, resources: merged } };
    await writeBundle(container.taskDir, { ...bundle, spec });
  }

  /** Host pids of its processes. */
  pids(id: string): number[] {
    return this.#require(id).cgroup.pids();
  }

  /** What its root is made of. */
  async layers(id: string): Promise<RootLayers> {
    const container = this.#require(id);
    const { root, mounts, linux } = (await this.#requireBundle(container)).spec;
    return {
      taskDir: container.taskDir,
      lowerDirs: root.lowerDirs,
      mounts,
      devices: linux.devices,
    };
  }

  /** The ids that it has outside, while it runs; null = the same as inside. */
  async owners(id: string): Promise<{
    readonly uid: readonly OciIdMapping[];
    readonly gid: readonly OciIdMapping[];
  } | null> {
    const { linux } = (await this.#requireBundle(this.#require(id))).spec;
    const { uidMappings: uid, gidMappings: gid } = linux;
    return uid && gid ? { uid, gid } : null;
  }

  /** The container's root as this daemon may open it. Rejected by `conflict` when it has ended. */
  rootPath(id: string): string {
    const { pid } = this.#require(id).state;
    if (pid === 0) throw new SkepError('conflict', `container ${id} is not running`);
    return `/proc/${pid}/root`;
  }

  /** The parent groups exist while a container does. */
  async #releaseParent(): Promise<void> {
    if (this.#containers.size > 0 || this.#creating.size > 0) return;
    this.#parentRemoval = this.#requireCgroups().removeParent();
    await this.#parentRemoval;
  }

  #require(id: string): Container {
    const container = this.#containers.get(id);
    if (container === undefined) throw new SkepError('not-found', `no such container: ${id}`);
    return container;
  }

  /** Throws `unavailable` before the start. */
  cgroupVersion(): CgroupDriver['version'] {
    return this.#requireCgroups().version;
  }

  #requireCgroups(): CgroupDriver {
    if (this.#cgroups === null) throw new SkepError('unavailable', 'the runtime is not started');
    return this.#cgroups;
  }

  #requireShims(): SpareShims {
    if (this.#shims === null) throw new SkepError('unavailable', 'the runtime is not in service');
    return this.#shims;
  }

  async #requireBundle(container: Container): Promise<ContainerBundle> {
    const bundle = await readBundle(container.taskDir);
    if (bundle !== null) return bundle;
    const isLeaving = this.#removals.has(container.id) || !this.#containers.has(container.id);
    if (isLeaving) throw new SkepError('not-found', `no such container: ${container.id}`);
    throw new SkepError('data-loss', `read bundle of container ${container.id}: it is missing`);
  }

  #container(id: string, { runtime }: Partial<ContainerBundle> = {}): Container {
    return new Container({
      id,
      taskDir: `${this.#options.stateDir}/${id}`,
      cgroup: this.#requireCgroups().group(id, runtime !== undefined),
      clock: this.#options.clock,
      log: this.#options.log,
    });
  }

  async #build(id: string, bundle: ContainerBundle, signal?: AbortSignal): Promise<Container> {
    const container = this.#container(id, bundle);
    try {
      await this.#makeTaskDir(container);
      await this.#make(container, bundle, signal && { signal });
      signal?.throwIfAborted();
      this.#requireShims(); // stopped meanwhile: nobody would look after it
      this.#take(container, bundle);
      return container;
    } catch (err) {
      await this.#discard(container);
      throw err;
    }
  }

  /** One that is there belongs to no container: a create of this id failed, and could not clean up. */
  async #makeTaskDir({ id, taskDir }: Container): Promise<void> {
    try {
      await mkdir(taskDir, { mode: 0o710 });
    } catch (err) {
      if ((err as NodeJS.ErrnoException).code !== 'EEXIST') throw err;
      await this.#discard(this.#container(id));
      await mkdir(taskDir, { mode: 0o710 });
    }
  }

  /** Groups, shim and bundle of a container whose directory is there. */
  async #make(
    container: Container,
    bundle: ContainerBundle,
    { signal, beforeUse }: MakeOptions = {},
  ): Promise<void> {
    const shims = this.#requireShims();
    const socket = await shims.take();
    try {
      socket.on('error', () => {}); // 'close' follows and tells everything
      socket.write(encodeFrame(FRAME.prepare, Buffer.from(container.taskDir)));
      await container.cgroup.create(bundle.spec.linux.resources); // meanwhile
      if (bundle.runtime) await this.#writeConfig(container, bundle.spec, bundle.runtime);
      signal?.throwIfAborted();
      const binary = encodeSpec(bundle.spec, {
        cgroup: container.cgroup.placement,
        seccomp: seccompFilter(bundle.spec),
        logMaxBytes: bundle.logMaxBytes,
        logMaxFiles: bundle.logMaxFiles,
        ociRuntime: bundle.runtime?.path ?? '',
      });
      // Without its bundle a directory is a create that was not finished, whatever the shim did.
      const isWritten = writeBundle(container.taskDir, bundle);
      // What is given up before its use is given up for a container that can be read again.
      if (beforeUse) await isWritten;
      await settled([container.make(socket, binary, beforeUse), isWritten]);
    } catch (err) {
      socket.destroy();
      if (!(err instanceof NativeError)) throw err;
      throw new CommandError(`create container ${container.id}`, err);
    } finally {
      shims.refill();
    }
  }

  async #writeConfig({ id, taskDir, cgroup }: Container, spec: OciSpec, { name }: OciRuntime) {
    const text = ociConfigText(spec, {
      runtimeName: name,
      taskDir,
      cgroupsPath: `/${this.#options.cgroupParent}/${id}`,
      countsSwap: cgroup.countsSwap(),
      initProgram: nativeBuildPath('skep-shim'),
    });
    await writeOciConfig(taskDir, text);
  }

  /** What is no container, or was none that could be made. Never rejects. */
  async #discard(container: Container): Promise<void> {
    try {
      container.detach();
      await this.#removeKernelState(container.id);
      await this.#removeTaskDir(container);
    } catch (err) {
      // A process stuck in the kernel must not keep the node from starting.
      const words = 'what belongs to no container could not be removed';
      this.#options.log.error({ taskId: container.id, err }, words);
    }
  }

  async #removeTaskDir({ taskDir }: Container): Promise<void> {
    await removeTree(taskDir);
  }

  async #removeKernelState(id: string): Promise<void> {
    const group = this.#requireCgroups().group(id);
    await group.killAll();
    await group.remove();
  }

  /** A directory without bundle, or without a container, is a create that was not finished. */
  async #adopt(id: string): Promise<void> {
    const container = this.#container(id);
    try {
      const bundle = await readBundle(container.taskDir);
      if (bundle === null) {
        await this.#discard(container);
        return;
      }
      const isWhole = await container.adopt();
      if (!isWhole) await this.#discard(container);
      else if (this.#shims !== null) this.#take(container, bundle);
      else container.detach(); // this runtime was stopped meanwhile
    } catch (err) {
      // Running tasks must not pay for a shortage of ours; the next start may go better.
      if (isShortage(err)) throw err;
      // One damaged directory must not keep the node from starting.
      this.#options.log.error({ taskId: id, err }, 'container cannot be adopted');
      await this.#discard(container);
    }
  }
}

/** Nothing was learned about what was asked: descriptors or memory are short. */
function isShortage(err: unknown): boolean {
  const code = err instanceof Error && 'code' in err ? err.code : null;
  return code === 'EMFILE' || code === 'ENFILE' || code === 'ENOMEM';
}

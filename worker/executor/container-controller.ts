/**
 * One task as one container: carries out each move with the image store, volumes, network and
 * runtime. Holds nothing that a restarted daemon could not find again.
 */
import { abortWith } from '../../common/base/abort-with.ts';
import type { Clock } from '../../common/base/clock.ts';
import { hasCode } from '../../common/base/errors.ts';
import { CancelledError } from '../../common/base/lifecycle.ts';
import type { Logger } from '../../common/base/log.ts';
import { type CompanionNamespace, companionsOf } from '../../common/model/companions.ts';
import { containerIdOf } from '../../common/model/container-id.ts';
import type { TemplateNode } from '../../common/model/container-template.ts';
import type { TellEvent } from '../../common/model/engine-event.ts';
import type { TaskId } from '../../common/model/ids.ts';
import type { StringMap } from '../../common/model/objects.ts';
import { type NetworkMode, networkModeOf } from '../../common/model/predefined-networks.ts';
import { parseRegistryAuth } from '../../common/model/registry-auth.ts';
import { DEFAULT_STOP_GRACE_PERIOD_NANOS, type PortConfig } from '../../common/model/service.ts';
import { type Task, taskName } from '../../common/model/task.ts';
import type { ImageRecord } from '../images/image-store.ts';
import type { TaskNetworkRequest } from '../network/network-manager.ts';
import { OldNetworkError } from '../network/node-made-networks.ts';
import type { ContainerState, ExitRecord } from '../runtime/native-runtime.ts';
import {
  awaitCompanions,
  type Companion,
  type CompanionParts,
  knownCompanions,
} from './companions.ts';
import { ContainerEvents } from './container-events.ts';
import { type MakerParts, makeBundle, stopSignalOf } from './container-maker.ts';
import {
  type Controller,
  type Dependencies,
  type Observed,
  TaskExitError,
  TemporaryError,
} from './executor.ts';
import { startFrom } from './foreign-image.ts';
import { type HealthCheck, type HealthReport, healthCheckOf, healthOfImage } from './health.ts';
import { HealthWatch } from './health-watch.ts';
import {
  hasJoined,
  JOINABLE_WORDS,
  joinNamespaces,
  type NamespaceOf,
} from './joined-namespaces.ts';
import { ownNames } from './own-names.ts';
import type { Drains, Images, Networks, Runtime, Volumes } from './ports.ts';
import { probeIn } from './probe.ts';
import { ignoreGone, stopContainer } from './stop-container.ts';
import type { NameFiles, TaskFiles } from './task-files.ts';
import { taskHostname } from './task-hostname.ts';
import { endpointOptions, taskSubject } from './task-words.ts';
import { expandDependencies, expandTask } from './templates.ts';

export interface ControllerParts extends MakerParts {
  readonly runtime: Runtime;
  readonly images: Images;
  readonly volumes: Volumes;
  readonly networks: Networks;
  readonly drains: Drains;
  readonly files: TaskFiles;
  /** of the host; they may change while it runs */
  readonly nameservers: () => readonly string[];
  readonly clock: Clock;
  readonly log: Logger;
  readonly tell: TellEvent;
  /** this node, as templates may name it */
  readonly node: () => TemplateNode;
  /** tasks of this node that others share something of */
  readonly tasksOf: CompanionParts['tasksOf'];
  /** of processes; absent = as the kernel says */
  readonly namespaceOf?: NamespaceOf;
}

const NANOS_PER_MS = 1e6;

const UNHEALTHY = 'unhealthy container';

export class ContainerController implements Controller {
  /** as assigned; `#expanded` is what runs */
  readonly #task: Task;
  #expandedTask: Task | null = null;
  readonly #dependencies: Dependencies;
  readonly #parts: ControllerParts;
  readonly #onClose: () => void;
  readonly #events: ContainerEvents;
  /** begun by `start`; `wait` goes on with it */
  readonly #watch: HealthWatch;
  #hostPorts: readonly PortConfig[];
  #attached = false;
  /** null = not known yet */
  #imageLabels: StringMap | null = null;
  #exit: ExitRecord | null = null;
  /** services whose tasks' namespaces it has */
  readonly #joins: ReadonlyMap<CompanionNamespace, string>;
  /** those tasks; null = not known yet */
  #companions: ReadonlyMap<CompanionNamespace, Companion> | null = null;

  /** `task.status` is where the task stands, also after a restart; `onClose` is told of `close`. */
  constructor(
    task: Task,
    dependencies: Dependencies,
    parts: ControllerParts,
    onClose: () => void = () => {},
  ) {
    this.#task = task;
    this.#dependencies = dependencies;
    this.#parts = parts;
    this.#onClose = onClose;
    const imageLabels = (): StringMap => this.#labelsOfImage();
    this.#events = new ContainerEvents(taskSubject(task, parts.networks, imageLabels), parts.tell);
    this.#watch = new HealthWatch(parts.clock, parts.log.child({ taskId: task.id }), (status) =>
      this.#events.health(status),
    );
    this.#hostPorts = task.status.hostPorts;
    this.#joins = companionsOf(task.spec);
  }

  /** As others see it that have namespaces of it. */
  get companion(): Companion {
    const { id, slot, meta } = this.#task;
    return {
      taskId: id,
      slot,
      createdAtMs: meta.createdAtMs,
      pid: this.observed().container?.pid ?? 0,
      names: () => this.#nameFiles(this.#expanded()),
    };
  }

  /** The newest health report; null without a health check. */
  get health(): HealthReport | null {
    return this.#watch.report;
  }

  observed(): Observed {
    const state = this.#parts.runtime.get(this.#task.id);
    if (!state && !this.#exit) return { container: null, hostPorts: [], localAddresses: [] };
    const exit = this.#exit ?? state?.exit ?? null;
    return {
      container: {
        containerId: containerIdOf(this.#task.id),
        pid: exit ? 0 : (state?.pid ?? 0),
        exitCode: exit?.exitCode ?? 0,
        oomKilled: exit?.oomKilled ?? false,
      },
      hostPorts: exit ? [] : this.#hostPorts,
      localAddresses: exit ? [] : this.#parts.networks.localAddresses(this.#task.id),
    };
  }

  async prepare(signal: AbortSignal): Promise<void> {
    const known = this.#parts.runtime.get(this.#task.id);
    if (known?.status === 'created') return this.#attach(known, signal);
    if (known) return;
    const image = await this.#image(signal);
    // What it has of others is there when they run: it is made when it starts.
    if (this.#joins.size === 0) await this.#make(image, signal);
  }

  async start(signal: AbortSignal): Promise<void> {
    if (this.#joins.size > 0) await this.#makeJoined(signal);
    const known = this.#state();
    await this.#adopt(known); // it may have been prepared by an earlier daemon
    if (known.status === 'created') {
      await this.#publish();
      const { images, runtime } = this.#parts;
      await startFrom(images.heldBy(this.#task.id), runtime, this.#task.id);
      this.#events.started();
    }
    const check = this.#check();
    if (check) await this.#firstHealthy(check, signal);
  }

  async wait(signal: AbortSignal): Promise<void> {
    await this.#adopt(this.#state());
    const check = this.#check();
    if (check && !this.#watch.running) this.#beginWatch(check);
    const over = abortWith(signal);
    const exit = this.#parts.runtime.wait(this.#task.id, over.signal);
    try {
      const ended = await Promise.race([
        exit,
        this.#watch.whenUnhealthy().then(() => UNHEALTHY),
        ...this.#companionEnds(over.signal),
      ]);
      if (typeof ended !== 'string') await this.#ended(ended, null);
      else await this.#ended(await this.#stop(signal), ended);
    } finally {
      over.abort(new CancelledError());
      over.release();
    }
  }

  async shutdown(signal: AbortSignal): Promise<void> {
    this.#watch.end();
    const state = this.#parts.runtime.get(this.#task.id);
    if (state?.status === 'running') {
      // It serves on until no node sends anything new to it.
      if (this.#task.networks.length > 0) {
        await this.#parts.drains.whenDrained(this.#task.id, signal);
      }
      await this.#stop(signal);
    } else if (state?.status === 'created') {
      await this.#parts.runtime.remove(this.#task.id);
    } else if (state?.exit) {
      this.#events.died(state.exit); // between the last look at it and the order to stop
    }
    await this.#detach();
    if (state?.status === 'created') this.#events.destroyed();
  }

  async remove(_signal: AbortSignal): Promise<void> {
    this.#watch.end();
    const isHere = this.#parts.runtime.get(this.#task.id) !== undefined;
    this.#labelsOfImage(); // its removal is told when its image is let go
    await releaseTask(this.#parts, this.#task.id);
    this.#parts.drains.forget(this.#task.id);
    if (this.#attached) this.#events.disconnected();
    this.#attached = false;
    if (isHere) this.#events.destroyed();
  }

  close(): void {
    this.#watch.end();
    this.#onClose();
  }

  /** The image under the task's reference: what is here already, else from its registry. */
  async #image(signal: AbortSignal): Promise<ImageRecord> {
    const { image: reference, registryAuth } = this.#task.spec.container;
    const local = this.#parts.images.get(reference);
    if (local) return local;
    return this.#parts.images.pull(reference, parseRegistryAuth(registryAuth), undefined, signal);
  }

  async #make(image: ImageRecord, signal: AbortSignal): Promise<void> {
    if (this.#joins.size > 0) {
      this.#companions = await awaitCompanions(this.#joins, this.#task.slot, this.#parts, signal);
    }
    const state = await this.#create(image, signal);
    this.#events.created();
    await this.#attach(state, signal);
  }

  /** One that an earlier daemon made is started only while the tasks still run whose namespaces it has. */
  async #makeJoined(signal: AbortSignal): Promise<void> {
    const { runtime } = this.#parts;
    const known = runtime.get(this.#task.id);
    if (!known) return this.#make(await this.#image(signal), signal);
    if (known.status !== 'created' || this.#attached) return;
    try {
      this.#companions ??= await knownCompanions(this.#joins, known.pid, this.#parts, signal);
    } catch (err) {
      if (!signal.aborted) await runtime.remove(this.#task.id);
      throw err;
    }
    await this.#attach(known, signal);
  }

  /** For each task whose namespace it has, what its end means for this one. */
  #companionEnds(signal: AbortSignal): Promise<string>[] {
    return [...this.#joins].map(async ([kind, service]) => {
      try {
        const { pid } = this.#state();
        this.#companions ??= await knownCompanions(this.#joins, pid, this.#parts, signal);
        await this.#parts.runtime.wait(this.#companions.get(kind)!.taskId, signal);
      } catch (err) {
        signal.throwIfAborted();
        if (!(err instanceof TaskExitError) && !hasCode(err, 'not-found')) throw err;
      }
      return `the task of ${service} whose ${kind} namespace it shares has ended`;
    });
  }

  async #create(image: ImageRecord, signal: AbortSignal): Promise<ContainerState> {
    const { files, runtime } = this.#parts;
    const task = this.#expanded();
    const dependencies = expandDependencies(task, this.#parts.node(), this.#dependencies);
    const bundle = await makeBundle(
      {
        id: this.#task.id,
        spec: task.spec,
        genericResources: task.assignedGenericResources,
        image,
        hostname: this.#hostname(),
        name: taskName(this.#task),
        logDriver: this.#task.logDriver,
        names: this.#nameFiles(task),
        payloads: await files.writePayloads(task, dependencies),
        network: this.#networkMode() === 'host' ? 'host' : 'new',
        joined: this.#joinedWords(),
      },
      this.#parts,
    );
    signal.throwIfAborted();
    const companions = [...(this.#companions ?? [])];
    const pids = new Map(companions.map(([kind, { pid }]) => [kind, pid] as const));
    const state = await runtime.create(this.#task.id, joinNamespaces(bundle, pids), signal);
    const joined = companions.map(([kind, { taskId, pid }]) => {
      return [kind, { pid, pidNow: runtime.get(taskId)?.pid ?? 0 }] as const;
    });
    if (hasJoined(state.pid, new Map(joined), this.#parts.namespaceOf)) return state;
    await runtime.remove(this.#task.id);
    throw new TaskExitError(`task: ${this.#joinedWords()} ended while this one was made`);
  }

  #joinedWords(): string | null {
    const [kind] = this.#joins.keys();
    return kind === undefined ? null : `another task's ${JOINABLE_WORDS[kind]} namespace`;
  }

  #nameFiles(task: Task): NameFiles {
    const hostname = this.#hostname();
    // Names belong to the network: they are those of the task whose network it is.
    const owner = this.#companions?.get('network');
    if (owner) return { ...owner.names(), hostname };
    const localAddresses = this.#parts.networks.localAddresses(this.#task.id);
    return ownNames(task, { hostname, nameservers: this.#parts.nameservers(), localAddresses });
  }

  async #attach(state: ContainerState, signal: AbortSignal): Promise<void> {
    // One that waits for another to end, which may have the very ports, gets its own at its start.
    const waits = this.#task.desiredState === 'ready';
    const request = this.#networkRequest(state, waits ? [] : this.#publishedOnHost());
    if (!request) {
      this.#hostPorts = this.#publishedOnHost(); // it binds them itself
      return;
    }
    try {
      const { hostPorts } = await this.#parts.networks.attachTask(request, signal);
      this.#hostPorts = hostPorts;
      this.#attached = true;
      this.#events.connected();
      await this.#nameGiven();
    } catch (err) {
      // It stands made, and is attached at the next attempt.
      if (err instanceof OldNetworkError) {
        throw new TemporaryError('attach the task to its networks', { cause: err });
      }
      // The task is rejected for it: what was made so far must not outlive that.
      if (!signal.aborted) await this.#parts.runtime.remove(this.#task.id);
      if (this.#attached) await this.#detach();
      throw err;
    }
  }

  /** Its own name has the addresses that this node gave it just now, before its process can look. */
  async #nameGiven(): Promise<void> {
    const { files, networks } = this.#parts;
    if (networks.localAddresses(this.#task.id).length === 0) return;
    await files.writeNames(this.#task.id, this.#nameFiles(this.#expanded()));
  }

  /** A container that runs from before this daemon: its network goes on, we take it up again. */
  async #adopt(state: ContainerState): Promise<void> {
    if (this.#attached || state.status === 'exited') return;
    const holdsPorts = state.status !== 'created';
    const request = this.#networkRequest(state, holdsPorts ? this.#publishedOnHost() : []);
    try {
      if (request) await this.#parts.networks.adoptTask(request);
    } catch (err) {
      // The process runs: only the runtime may say that it failed.
      throw new TemporaryError('take up the network of a running task', { cause: err });
    }
    this.#attached = true;
  }

  /** Idempotent: ports that it was given when it was prepared, also by an earlier daemon, it keeps. */
  async #publish(): Promise<void> {
    const ports = this.#publishedOnHost();
    if (ports.length === 0 || this.#networkMode() !== 'cluster') return;
    this.#hostPorts = await this.#parts.networks.publishPorts(this.#task.id, ports);
  }

  async #detach(): Promise<void> {
    await this.#parts.networks.detachTask(this.#task.id);
    if (this.#attached) this.#events.disconnected();
    this.#attached = false;
  }

  #networkRequest(
    state: ContainerState,
    hostPorts: readonly PortConfig[],
  ): TaskNetworkRequest | null {
    if (this.#networkMode() !== 'cluster' || state.netnsPath === null) return null;
    const { container } = this.#task.spec;
    return {
      taskId: this.#task.id,
      serviceId: this.#task.serviceId,
      containerName: taskName(this.#task),
      hostname: this.#hostname(),
      netnsPath: state.netnsPath,
      attachments: this.#task.networks,
      options: endpointOptions(this.#task),
      hostPorts,
      dns: container.dns,
    };
  }

  #publishedOnHost(): readonly PortConfig[] {
    const ports = this.#task.endpoint?.ports ?? [];
    return ports.filter(({ publishMode }) => publishMode === 'host');
  }

  #networkMode(): NetworkMode {
    return networkModeOf(this.#task.spec.networks);
  }

  #hostname(): string {
    return taskHostname(this.#expanded(), this.#parts.node().hostname);
  }

  /** With its templates expanded. Throws `invalid-argument` for one that does not mean anything here. */
  #expanded(): Task {
    this.#expandedTask ??= expandTask(this.#task, this.#parts.node());
    return this.#expandedTask;
  }

  /** Resolves when the container has ended. */
  async #stop(signal: AbortSignal): Promise<ExitRecord> {
    const { runtime, clock, images } = this.#parts;
    const { stopGracePeriodNanos } = this.#task.spec.container;
    this.#exit = await stopContainer(
      {
        runtime,
        clock,
        containerId: this.#task.id,
        signo: stopSignalOf(this.#task.spec, images.heldBy(this.#task.id)),
        graceMs: (stopGracePeriodNanos ?? DEFAULT_STOP_GRACE_PERIOD_NANOS) / NANOS_PER_MS,
        onSignal: (signo) => this.#events.signalled(signo),
      },
      signal,
    );
    this.#events.died(this.#exit);
    this.#events.stopped();
    return this.#exit;
  }

  /** What the end of the process means for the task. */
  async #ended(exit: ExitRecord, cause: string | null): Promise<void> {
    this.#exit = exit;
    this.#watch.end();
    this.#events.died(exit);
    await this.#detach();
    if (exit.exitCode === 0 && cause === null) return;
    const why = cause ?? (exit.oomKilled ? this.#oomCause() : exit.error);
    throw new TaskExitError(`task: non-zero exit (${exit.exitCode})${why ? `: ${why}` : ''}`);
  }

  #oomCause(): string {
    const limit = this.#task.spec.resources.limits.memoryBytes;
    return limit > 0 ? `out of memory (OOM): the limit is ${limit} bytes` : 'out of memory (OOM)';
  }

  /** Kept once they are known. */
  #labelsOfImage(): StringMap {
    this.#imageLabels ??= this.#parts.images.heldBy(this.#task.id)?.config.labels ?? null;
    return this.#imageLabels ?? {};
  }

  #state(): ContainerState {
    const state = this.#parts.runtime.get(this.#task.id);
    if (!state) throw new TaskExitError('task: container is gone from this node');
    return state;
  }

  #check(): HealthCheck | null {
    const { container } = this.#task.spec;
    const image = this.#parts.images.heldBy(this.#task.id);
    return healthCheckOf(container.healthcheck, healthOfImage(image?.config.healthcheck ?? null));
  }

  /**
   * Resolves at the first healthy probe, and when the process ends well before one (a job need not
   * live that long); fails when it ends otherwise or is unhealthy first.
   */
  async #firstHealthy(check: HealthCheck, signal: AbortSignal): Promise<void> {
    this.#beginWatch(check);
    const over = abortWith(signal);
    const exit = this.#parts.runtime.wait(this.#task.id, over.signal);
    try {
      const first = await Promise.race([
        exit,
        this.#watch.whenHealthy().then(() => 'healthy' as const),
        this.#watch.whenUnhealthy().then(() => 'unhealthy' as const),
      ]);
      if (first === 'unhealthy') await this.#ended(await this.#stop(signal), UNHEALTHY);
      else if (first !== 'healthy') await this.#ended(first, null);
    } finally {
      over.abort(new CancelledError());
      over.release();
    }
  }

  #beginWatch(check: HealthCheck): void {
    const { runtime, clock } = this.#parts;
    this.#watch.begin(check, probeIn(runtime, this.#task.id, clock));
  }
}

/** Everything that a task has on this node goes, whatever its state. Idempotent. */
export async function releaseTask(parts: ControllerParts, taskId: TaskId): Promise<void> {
  const { runtime, networks, images, volumes, files } = parts;
  if (runtime.get(taskId)?.status === 'running') await ignoreGone(runtime.killAll(taskId));
  await runtime.remove(taskId);
  await networks.detachTask(taskId);
  await images.releaseRootfs(taskId);
  await volumes.release(taskId);
  await files.remove(taskId);
}

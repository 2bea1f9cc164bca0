/**
 * One task as one container: carries out each move with the image store, volumes, network and
 * runtime. Holds nothing that a restarted daemon could not find again.
 */
import type { Clock } from '../../common/base/clock.ts';
import { describeError, hasCode, SkepError } from '../../common/base/errors.ts';
import { CancelledError } from '../../common/base/lifecycle.ts';
import type { Logger } from '../../common/base/log.ts';
import { containerIdOf, defaultHostname } from '../../common/model/container-id.ts';
import type { TaskId } from '../../common/model/ids.ts';
import { parseRegistryAuth } from '../../common/model/registry-auth.ts';
import type { HealthConfig, PortConfig } from '../../common/model/service.ts';
import { type Task, taskName } from '../../common/model/task.ts';
import type { ImageHealthcheck, ImageRecord } from '../images/image-store.ts';
import { hostsFile, resolvConf } from '../network/name-files.ts';
import type { TaskNetworkRequest } from '../network/network-manager.ts';
import type { ContainerState, ExitRecord } from '../runtime/native-runtime.ts';
import type { ResolvedUser } from '../runtime/user.ts';
import { type Controller, type Dependencies, type Observed, TaskExitError } from './executor.ts';
import { type HealthCheck, type HealthReport, healthCheckOf, monitorHealth } from './health.ts';
import { planMounts } from './mounts.ts';
import { ociSpecOf } from './oci-builder.ts';
import type { Images, Networks, Runtime, Volumes } from './ports.ts';
import { probeIn } from './probe.ts';
import { SIGTERM, signalNumber } from './signals.ts';
import type { TaskFiles } from './task-files.ts';

export interface ControllerParts {
  readonly runtime: Runtime;
  readonly images: Images;
  readonly volumes: Volumes;
  readonly networks: Networks;
  readonly files: TaskFiles;
  /** `user[:group]`, by name or number, after the image's own files */
  readonly resolveUser: (user: string, lowerDirs: readonly string[]) => Promise<ResolvedUser>;
  readonly clock: Clock;
  readonly log: Logger;
}

const NANOS_PER_MS = 1e6;
const DEFAULT_GRACE_MS = 10_000;
/** A stopped task's endpoint leaves every node's tables in this time; it serves on until then. */
const DRAIN_MS = 400;
/** After SIGKILL the kernel needs a moment; longer than this and something is stuck. */
const KILL_WAIT_MS = 10_000;
const LOG_BYTES_MAX = 10 * 1024 * 1024;
const LOG_FILES_MAX = 3;

/** Networks that are not ours to attach: the host's own, or none at all. */
type NetworkMode = 'host' | 'own';

export class ContainerController implements Controller {
  readonly #task: Task;
  readonly #dependencies: Dependencies;
  readonly #parts: ControllerParts;
  #hostPorts: readonly PortConfig[] = [];
  #attached = false;
  #exit: ExitRecord | null = null;
  #health: HealthReport | null = null;
  /** ends the health monitor that `start` began and `wait` goes on with */
  #monitor: AbortController | null = null;
  #unhealthy: Promise<void> | null = null;

  constructor(task: Task, dependencies: Dependencies, parts: ControllerParts) {
    this.#task = task;
    this.#dependencies = dependencies;
    this.#parts = parts;
    this.#hostPorts = task.status.hostPorts;
  }

  /** The newest health report; null without a health check. */
  get health(): HealthReport | null {
    return this.#health;
  }

  observed(): Observed {
    const state = this.#parts.runtime.get(this.#task.id);
    if (!state && !this.#exit) return { container: null, hostPorts: [] };
    const exit = this.#exit ?? state?.exit ?? null;
    return {
      container: {
        containerId: containerIdOf(this.#task.id),
        pid: exit ? 0 : (state?.pid ?? 0),
        exitCode: exit?.exitCode ?? 0,
        oomKilled: exit?.oomKilled ?? false,
      },
      hostPorts: exit ? [] : this.#hostPorts,
    };
  }

  async prepare(signal: AbortSignal): Promise<void> {
    const known = this.#parts.runtime.get(this.#task.id);
    if (known?.status === 'created') return this.#attach(known, signal);
    if (known) return;
    const image = await this.#image(signal);
    const state = await this.#create(image, signal);
    await this.#attach(state, signal);
  }

  async start(signal: AbortSignal): Promise<void> {
    const { runtime } = this.#parts;
    const known = this.#state();
    if (known.status === 'created') await runtime.startContainer(this.#task.id);
    else await this.#adopt(known);
    if (!this.#check()) return;
    await this.#firstHealthy(signal);
  }

  async wait(signal: AbortSignal): Promise<void> {
    await this.#adopt(this.#state());
    if (this.#check() && !this.#monitor) this.#beginMonitor();
    const ended = new AbortController();
    const either = AbortSignal.any([signal, ended.signal]);
    try {
      const exit = this.#parts.runtime.wait(this.#task.id, either);
      const first = await Promise.race([
        exit.then((record) => ({ record, unhealthy: false })),
        this.#untilUnhealthy().then(() => ({ record: null, unhealthy: true })),
      ]);
      if (!first.unhealthy && first.record) return await this.#ended(first.record, null);
      exit.catch(() => {}); // superseded by the stop below
      await this.#stop(signal);
      await this.#ended(
        this.#exit ?? (await this.#parts.runtime.wait(this.#task.id, signal)),
        'unhealthy container',
      );
    } finally {
      ended.abort(new CancelledError());
    }
  }

  async shutdown(signal: AbortSignal): Promise<void> {
    this.#endMonitor();
    const state = this.#parts.runtime.get(this.#task.id);
    if (state?.status === 'running') {
      if (this.#task.networks.length > 0) await this.#parts.clock.sleep(DRAIN_MS, signal);
      await this.#stop(signal);
    } else if (state?.status === 'created') {
      await this.#parts.runtime.remove(this.#task.id);
    }
    await this.#detach();
  }

  async remove(_signal: AbortSignal): Promise<void> {
    const { runtime, images, volumes, files } = this.#parts;
    this.#endMonitor();
    await runtime.remove(this.#task.id);
    await this.#detach();
    await images.releaseRootfs(this.#task.id);
    await volumes.release(this.#task.id);
    await files.remove(this.#task.id);
  }

  /** The image under the task's reference: what is here already, else from its registry. */
  async #image(signal: AbortSignal): Promise<ImageRecord> {
    const { image: reference, registryAuth } = this.#task.spec.container;
    const local = this.#parts.images.get(reference);
    if (local) return local;
    return this.#parts.images.pull(reference, parseRegistryAuth(registryAuth), undefined, signal);
  }

  async #create(image: ImageRecord, signal: AbortSignal): Promise<ContainerState> {
    const { images, volumes, files, runtime } = this.#parts;
    const { container } = this.#task.spec;
    const { lowerDirs } = await images.acquireRootfs(this.#task.id, image.id);
    const hostname = this.#hostname();
    const names =
      this.#networkMode() === 'host'
        ? []
        : await files.writeNames(this.#task.id, {
            resolvConf: resolvConf(container.dns),
            hosts: hostsFile({
              hostname,
              addresses: this.#task.networks.flatMap(({ addresses }) => addresses),
              extra: container.hosts,
            }),
            hostname,
          });
    const mounts = await planMounts({
      task: this.#task,
      image: image.config,
      lowerDirs,
      volumes,
    });
    const payloads = await files.writePayloads(this.#task, this.#dependencies);
    const spec = ociSpecOf({
      task: this.#task,
      image: image.config,
      lowerDirs,
      hostname,
      user: await this.#user(image, lowerDirs),
      mounts: [...names, ...mounts, ...payloads],
      network: this.#networkMode() === 'host' ? 'host' : 'new',
    });
    signal.throwIfAborted();
    return runtime.create(
      this.#task.id,
      { spec, logMaxBytes: LOG_BYTES_MAX, logMaxFiles: LOG_FILES_MAX },
      signal,
    );
  }

  /** The spec's user over the image's, with the further groups that the spec names. */
  async #user(image: ImageRecord, lowerDirs: readonly string[]): Promise<ResolvedUser> {
    const { resolveUser } = this.#parts;
    const { user, groups } = this.#task.spec.container;
    const resolved = await resolveUser(user || image.config.user, lowerDirs);
    const further = await Promise.all(groups.map((group) => resolveUser(`0:${group}`, lowerDirs)));
    const gids = [...resolved.additionalGids, ...further.map(({ gid }) => gid)];
    return { ...resolved, additionalGids: [...new Set(gids)] };
  }

  async #attach(state: ContainerState, signal: AbortSignal): Promise<void> {
    const request = this.#networkRequest(state);
    if (!request) return;
    const { hostPorts } = await this.#parts.networks.attachTask(request, signal);
    this.#hostPorts = hostPorts;
    this.#attached = true;
  }

  /** A container that runs from before this daemon: its network goes on, we take it up again. */
  async #adopt(state: ContainerState): Promise<void> {
    if (this.#attached || state.status === 'exited') return;
    const request = this.#networkRequest(state);
    if (request) await this.#parts.networks.adoptTask(request);
    this.#attached = true;
  }

  async #detach(): Promise<void> {
    await this.#parts.networks.detachTask(this.#task.id);
    this.#attached = false;
  }

  #networkRequest(state: ContainerState): TaskNetworkRequest | null {
    if (this.#networkMode() === 'host' || state.netnsPath === null) return null;
    const { container } = this.#task.spec;
    return {
      taskId: this.#task.id,
      serviceId: this.#task.serviceId,
      containerName: taskName(this.#task),
      hostname: this.#hostname(),
      netnsPath: state.netnsPath,
      attachments: this.#task.networks,
      hostPorts: (this.#task.endpoint?.ports ?? []).filter(
        ({ publishMode }) => publishMode === 'host',
      ),
      dns: container.dns,
    };
  }

  #networkMode(): NetworkMode {
    return this.#task.spec.networks.some(({ target }) => target === 'host') ? 'host' : 'own';
  }

  #hostname(): string {
    return this.#task.spec.container.hostname || defaultHostname(this.#task.id as TaskId);
  }

  /** Stop signal, grace period, SIGKILL; resolves when the container has ended. */
  async #stop(signal: AbortSignal): Promise<void> {
    const { runtime, clock } = this.#parts;
    const id = this.#task.id;
    const { stopGracePeriodNanos } = this.#task.spec.container;
    const graceMs =
      stopGracePeriodNanos === null ? DEFAULT_GRACE_MS : stopGracePeriodNanos / NANOS_PER_MS;
    const ended = runtime.wait(id, signal);
    await ignoreGone(runtime.signal(id, this.#stopSignal()));
    const inTime = await Promise.race([ended, clock.sleep(graceMs, signal).then(() => null)]);
    if (inTime) {
      this.#exit = inTime;
      return;
    }
    await ignoreGone(runtime.killAll(id));
    const killed = await Promise.race([ended, clock.sleep(KILL_WAIT_MS, signal).then(() => null)]);
    if (!killed) {
      throw new SkepError(
        'unavailable',
        `stop container: it lives ${KILL_WAIT_MS} ms after SIGKILL`,
      );
    }
    this.#exit = killed;
  }

  #stopSignal(): number {
    const { stopSignal, image } = this.#task.spec.container;
    const text = stopSignal || this.#parts.images.get(image)?.config.stopSignal;
    return text ? signalNumber(text) : SIGTERM;
  }

  /** What the end of the process means for the task. */
  async #ended(exit: ExitRecord, cause: string | null): Promise<void> {
    this.#exit = exit;
    this.#endMonitor();
    await this.#detach();
    if (exit.exitCode === 0 && cause === null) return;
    const why = cause ?? (exit.oomKilled ? this.#oomCause() : exit.error);
    throw new TaskExitError(`task: non-zero exit (${exit.exitCode})${why ? `: ${why}` : ''}`);
  }

  #oomCause(): string {
    const limit = this.#task.spec.resources.limits.memoryBytes;
    return limit > 0 ? `out of memory (OOM): the limit is ${limit} bytes` : 'out of memory (OOM)';
  }

  #state(): ContainerState {
    const state = this.#parts.runtime.get(this.#task.id);
    if (!state) throw new TaskExitError('task: container is gone from this node');
    return state;
  }

  #check(): HealthCheck | null {
    const { container } = this.#task.spec;
    const image = this.#parts.images.get(container.image);
    return healthCheckOf(container.healthcheck, healthOfImage(image?.config.healthcheck ?? null));
  }

  /** Resolves at the first healthy probe; fails when the container ends or is unhealthy first. */
  async #firstHealthy(signal: AbortSignal): Promise<void> {
    let onHealthy: () => void = () => {};
    const healthy = new Promise<void>((resolve) => {
      onHealthy = resolve;
    });
    this.#beginMonitor(onHealthy);
    const done = new AbortController();
    const either = AbortSignal.any([signal, done.signal]);
    const exit = this.#parts.runtime.wait(this.#task.id, either);
    exit.catch(() => {}); // told below, or no longer of interest
    try {
      const first = await Promise.race([
        healthy.then(() => 'healthy' as const),
        exit.then((record) => record),
        this.#untilUnhealthy().then(() => 'unhealthy' as const),
      ]);
      if (first === 'healthy') return;
      if (first !== 'unhealthy') {
        await this.#ended(first, first.exitCode === 0 ? 'ended before it was healthy' : null);
        return;
      }
      await this.#stop(signal);
      await this.#ended(this.#exit ?? (await exit), 'unhealthy container');
    } finally {
      done.abort(new CancelledError());
    }
  }

  #beginMonitor(onHealthy: () => void = () => {}): void {
    const check = this.#check();
    if (!check) return;
    this.#endMonitor();
    const monitor = new AbortController();
    this.#monitor = monitor;
    const { clock, runtime, log } = this.#parts;
    const probe = probeIn(runtime, this.#task.id, clock);
    this.#unhealthy = monitorHealth(
      check,
      probe,
      clock,
      (report) => {
        this.#health = report;
        if (report.status === 'healthy') onHealthy();
      },
      monitor.signal,
    );
    this.#unhealthy.catch((err: unknown) => {
      if (monitor.signal.aborted) return;
      log.warn({ taskId: this.#task.id, reason: describeError(err) }, 'health monitor failed');
    });
  }

  #endMonitor(): void {
    this.#monitor?.abort(new CancelledError());
    this.#monitor = null;
    this.#unhealthy = null;
  }

  /** Never resolves without a health check, or when the monitor was ended. */
  #untilUnhealthy(): Promise<void> {
    const unhealthy = this.#unhealthy;
    if (!unhealthy) return new Promise(() => {});
    return unhealthy.catch(() => new Promise<void>(() => {}));
  }
}

/** The process may end between our look and our signal. */
async function ignoreGone(signalling: Promise<void>): Promise<void> {
  try {
    await signalling;
  } catch (err) {
    if (!hasCode(err, 'not-found', 'conflict')) throw err;
  }
}

function healthOfImage(image: ImageHealthcheck | null): Partial<HealthConfig> | null {
  if (!image) return null;
  const nanos = (ms: number | null): number => (ms ?? 0) * NANOS_PER_MS;
  return {
    test: image.test,
    intervalNanos: nanos(image.intervalMs),
    timeoutNanos: nanos(image.timeoutMs),
    startPeriodNanos: nanos(image.startPeriodMs),
    startIntervalNanos: nanos(image.startIntervalMs),
    retries: image.retries ?? 0,
  };
}

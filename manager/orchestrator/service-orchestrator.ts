/**
 * Keeps the tasks of every service as its words demand: the loop around `planService`. It decides
 * nothing itself; timers and update progress are its only memory, and both can be rebuilt.
 */
import { append } from '../../common/base/append.ts';
import { assertNever } from '../../common/base/assert.ts';
import type { Timer } from '../../common/base/clock.ts';
import { restMs } from '../../common/base/rest.ts';
import { newId, type ServiceId, type TaskId } from '../../common/model/ids.ts';
import { concernsPlacement, type Node } from '../../common/model/node.ts';
import type { Service } from '../../common/model/service.ts';
import { isBetweenVersions } from '../../common/model/service-update.ts';
import { isCold, startDependencies, unmetDependencies } from '../../common/model/start-order.ts';
import type { Task } from '../../common/model/task.ts';
import { isTerminal } from '../../common/model/task-state.ts';
import { Follower } from '../store/follower.ts';
import type { Commit, ReadView, StoreChange } from '../store/types.ts';
import { applyOrchestration } from './apply.ts';
import type { RoomOptions } from './options.ts';
import { planRemovedService, planService, type ServicePlan } from './plan-service.ts';
import { hasNoRoom, isPrepared, isServing, isWanted } from './seat.ts';
import type { UpdateProgress } from './update-progress.ts';
import { isLost, type OrchestratorChange } from './world.ts';

/** Changes decided in one turn before they are written, so that no turn grows without limit. */
const CHANGES_PER_PASS_MAX = 10_000;
/**
 * A service is planned whole, however little of it changed: when its tasks start one by one, or its nodes come back, that is
 * its tasks times its tasks. So the plans of many changes are made as one, in a fifth of the time, half a second late at
 * most. After one that takes less than a millisecond there is no rest.
 */
const REST = { minMs: 0, maxMs: 500 };
const REST_AFTER_MS = 1;

export class ServiceOrchestrator {
  readonly #options: RoomOptions;
  readonly #follower: Follower;
  readonly #dirty = new Set<ServiceId>();
  readonly #progress = new Map<ServiceId, UpdateProgress>();
  /** when to look again, wall ms */
  readonly #wakeAtMs = new Map<ServiceId, number>();
  /** services of which tasks are to go elsewhere */
  readonly #moving = new Set<ServiceId>();
  /** services that must wait, and the names of those that they wait for */
  readonly #waiting = new Map<ServiceId, ReadonlySet<string>>();
  #timer: Timer | null = null;
  #nodesChanged = false;

  constructor(options: RoomOptions) {
    this.#options = options;
    this.#follower = new Follower(options, {
      resync: (signal) => this.#resync(signal),
      react: (commits, signal) => this.#react(commits, signal),
    });
  }

  start(): void {
    this.#follower.start();
  }

  async stop(): Promise<void> {
    await this.#follower.stop();
    this.#timer?.cancel();
    this.#timer = null;
  }

  async #resync(signal: AbortSignal): Promise<void> {
    this.#dirty.clear();
    this.#progress.clear();
    this.#wakeAtMs.clear();
    this.#waiting.clear();
    this.#moving.clear();
    this.#options.store.view((view) => {
      for (const service of view.list('service')) this.#dirty.add(service.id);
      for (const task of view.list('task')) this.#dirty.add(task.serviceId); // also of removed ones
    });
    await this.#work(signal);
  }

  async #react(commits: readonly Commit[], signal: AbortSignal): Promise<void> {
    for (const { changes } of commits) for (const change of changes) this.#observe(change);
    const nowMs = this.#options.clock.wallMs();
    for (const [serviceId, atMs] of this.#wakeAtMs) if (atMs <= nowMs) this.#dirty.add(serviceId);
    await this.#work(signal);
  }

  #observe(change: StoreChange): void {
    switch (change.kind) {
      case 'service':
        this.#dirty.add(change.object.id);
        if (change.action === 'update') this.#logUpdate(change.object, change.previous);
        this.#markWaiting(change.object.spec.name);
        return;
      case 'task':
        this.#markWaiting(change.object.serviceAnnotations.name);
        if (change.action !== 'update' || this.#concernsUs(change.object, change.previous)) {
          this.#dirty.add(change.object.serviceId);
        }
        return;
      case 'node':
        if (change.action !== 'update' || concernsPlacement(change.object, change.previous)) {
          this.#markServicesOf(change.object);
        }
        return;
      case 'cluster':
      case 'network':
      case 'secret':
      case 'config':
        return;
      default:
        assertNever(change, 'store change');
    }
  }

  #logUpdate({ id: serviceId, updateStatus }: Service, previous: Service): void {
    if (updateStatus === null || updateStatus.state === previous.updateStatus?.state) return;
    const { state: to, message } = updateStatus;
    this.#options.log.info({ serviceId, to, message }, 'service update changed state');
  }

  /** Something happened to a service or a task of it: those that wait for it look again. */
  #markWaiting(name: string): void {
    for (const [serviceId, names] of this.#waiting) if (names.has(name)) this.#dirty.add(serviceId);
  }

  /** The way to RUNNING is the agent's affair; its steps change no decision of ours, and its end only that of an update. */
  #concernsUs(task: Task, previous: Task): boolean {
    if (task.desiredState !== previous.desiredState) return true;
    if (task.moving !== previous.moving) return true;
    if (task.nodeId !== previous.nodeId && this.#cameToLostNode(task)) return true;
    if (hasNoRoom(task) && !hasNoRoom(previous)) {
      return this.#isChanging(task.serviceId) || this.#hasCompanion(task);
    }
    if (task.status.state === previous.status.state) return false;
    if (isTerminal(task.status.state)) return true;
    // Another may serve until this one runs, or until it is prepared.
    const isAwaited = task.desiredState === 'ready' ? isPrepared(task) : isServing(task);
    return isAwaited && (this.#isChanging(task.serviceId) || this.#hasCompanion(task));
  }

  /** Another one is wanted in its place until it can run: of an update that has ended, which failed and was tried again. */
  #hasCompanion({ id, serviceId, slot }: Task): boolean {
    if (slot === null) return true; // of a global service: few, and not found by slot
    const inSlot = this.#options.store.view((view) => view.tasksBySlot(serviceId, slot));
    return inSlot.some((other) => other.id !== id && isWanted(other));
  }

  /** Tasks of two versions may stand side by side, one of them until the other runs. */
  #isChanging(serviceId: ServiceId): boolean {
    if (this.#progress.has(serviceId) || this.#moving.has(serviceId)) return true;
    const service = this.#options.store.view((view) => view.get('service', serviceId));
    return service !== undefined && isBetweenVersions(service);
  }

  /** The node went away while the scheduler's decision for it was being committed. */
  #cameToLostNode({ nodeId }: Task): boolean {
    if (nodeId === null) return false;
    return isLost(this.#options.store.view((view) => view.get('node', nodeId)));
  }

  #markServicesOf(node: Node): void {
    this.#nodesChanged = true;
    this.#options.store.view((view) => {
      for (const { serviceId, serviceAnnotations } of view.tasksByNode(node.id)) {
        this.#dirty.add(serviceId);
        this.#markWaiting(serviceAnnotations.name);
      }
    });
  }

  async #work(signal: AbortSignal): Promise<void> {
    const { store, clock } = this.#options;
    let tookMs = 0;
    while (this.#dirty.size > 0 || this.#nodesChanged) {
      const startMs = clock.monotonicMs();
      const changes = store.view((view) => this.#plan(view));
      tookMs += clock.monotonicMs() - startMs;
      const nowMs = clock.wallMs();
      await store.batch(changes, (tx, change) => applyOrchestration(tx, change, nowMs), signal);
    }
    this.#setTimer();
    if (tookMs >= REST_AFTER_MS) await clock.sleep(restMs(tookMs, REST), signal);
  }

  /** Plans dirty services, until enough is decided for one write. */
  #plan(view: ReadView): OrchestratorChange[] {
    if (this.#nodesChanged) {
      for (const { id, spec } of view.list('service')) {
        const { kind } = spec.mode;
        if (kind === 'global' || kind === 'global-job') this.#dirty.add(id);
      }
      this.#nodesChanged = false;
    }
    const changes: OrchestratorChange[] = [];
    for (const serviceId of this.#dirty) {
      this.#dirty.delete(serviceId);
      append(changes, this.#planOne(view, serviceId));
      if (changes.length >= CHANGES_PER_PASS_MAX) break;
    }
    return changes;
  }

  #planOne(view: ReadView, serviceId: ServiceId): readonly OrchestratorChange[] {
    const service = view.get('service', serviceId);
    const tasks = view.tasksByService(serviceId);
    if (!service) {
      this.#progress.delete(serviceId);
      this.#wakeAtMs.delete(serviceId);
      this.#waiting.delete(serviceId);
      this.#moving.delete(serviceId);
      return planRemovedService(tasks);
    }
    if (tasks.some((task) => task.moving !== null && isWanted(task))) this.#moving.add(serviceId);
    else this.#moving.delete(serviceId);
    const mustWait = this.#mustWait(view, service);
    const world = {
      service,
      tasks,
      mustWait,
      holdsStarts: mustWait && isCold(service, tasks),
      node: (id: string) => view.get('node', id),
      nodes: view.list('node'),
      nowMs: this.#options.clock.wallMs(),
      newTaskId: () => newId<TaskId>(this.#options.random),
    };
    const plan = planService(world, this.#progress.get(serviceId) ?? null);
    this.#remember(serviceId, plan);
    return plan.changes;
  }

  #mustWait(view: ReadView, { id, spec }: Service): boolean {
    const unmet = unmetDependencies(spec, {
      serviceByName: (name) => view.byName('service', name)[0],
      tasks: (service) => view.tasksByService(service.id),
      node: (nodeId) => view.get('node', nodeId),
    });
    const names = startDependencies(spec.labels).map(({ service }) => service);
    if (unmet.length > 0) this.#waiting.set(id, new Set(names));
    else this.#waiting.delete(id);
    return unmet.length > 0;
  }

  #remember(serviceId: ServiceId, plan: ServicePlan): void {
    if (plan.progress) this.#progress.set(serviceId, plan.progress);
    else this.#progress.delete(serviceId);
    if (plan.wakeAtMs === null) this.#wakeAtMs.delete(serviceId);
    else this.#wakeAtMs.set(serviceId, plan.wakeAtMs);
  }

  #setTimer(): void {
    this.#timer?.cancel();
    this.#timer = null;
    let nextMs = Number.POSITIVE_INFINITY;
    for (const atMs of this.#wakeAtMs.values()) nextMs = Math.min(nextMs, atMs);
    if (nextMs === Number.POSITIVE_INFINITY) return;
    const delayMs = Math.max(0, nextMs - this.#options.clock.wallMs());
    this.#timer = this.#options.clock.setTimer(delayMs, () => this.#follower.wake());
  }
}

/**
 * Rolling update and rollback of one service: which dirty seats get their new task now, what counts
 * as a failure, and when it is over. One step; the caller calls again.
 */
import type { TaskId } from '../../common/model/ids.ts';
import type { UpdateConfig, UpdateStatus } from '../../common/model/service.ts';
import {
  isPaused,
  isRollingBack,
  isUnderWay,
  updateConfigOf,
} from '../../common/model/service-update.ts';
import type { Task } from '../../common/model/task.ts';
import { isBefore, isTerminal } from '../../common/model/task-state.ts';
import type { SeatPlan } from './plan-seat.ts';
import { endedAtMs, endedByItself, hasStopped } from './restart-policy.ts';
import { hasNoRoom, isServing, isWanted, type Seat } from './seat.ts';
import type { UpdateAttempt, UpdateProgress } from './update-progress.ts';
import { earliest, nanosToMs, type OrchestratorChange, type ServiceWorld } from './world.ts';

export interface UpdatePlan {
  readonly changes: readonly OrchestratorChange[];
  readonly wakeAtMs: number | null;
  /** to be passed in next time; null = no update is running */
  readonly progress: UpdateProgress | null;
}

const NOTHING: UpdatePlan = { changes: [], wakeAtMs: null, progress: null };

/**
 * @param seats what is left after scaling, as planned in this pass
 * @param previous what the last call returned
 */
export function planUpdate(
  world: ServiceWorld,
  seats: readonly SeatPlan[],
  previous: UpdateProgress | null,
): UpdatePlan {
  const { service } = world;
  if (isPaused(service)) return NOTHING;
  const underWay = isUnderWay(service);
  const known = previous?.specVersion === service.specVersion && underWay ? previous : null;
  // One attempt for each seat and update: what becomes of it is the restart policy's affair.
  const open = seats.filter(({ seat }) => !known?.attempts.has(seat.key));
  const dirty = open.filter((plan) => plan.dirty);
  // Where an old task just ended, its successor has the new spec without our doing: no less an attempt.
  const succeeded = open.filter(({ successor }) => successor !== null);
  const begins = dirty.length > 0 || (succeeded.length > 0 && service.updateStatus === null);
  if (!begins && !underWay) return NOTHING;
  // What it waits for comes first, also when it is updated itself. Where nothing runs, nothing is lost by going on.
  if (!underWay && world.mustWait && !world.holdsStarts) return NOTHING;
  const progress = known ?? begin(world, seats, dirty.length + succeeded.length);
  const step = new UpdateStep(world, progress);
  if (!underWay) step.announce();
  const failure = step.observe();
  if (failure) return { ...NOTHING, changes: [step.reactTo(failure)] };
  for (const { seat, successor } of succeeded) step.note(seat, successor!, false);
  step.issue(dirty);
  return step.finish(dirty.length);
}

/** A fresh update, or one that the last leader left half-done: its tasks tell how far it came. */
function begin(
  world: ServiceWorld,
  seats: readonly SeatPlan[],
  dirtySeats: number,
): UpdateProgress {
  const { service } = world;
  const startedAtMs = isUnderWay(service) ? service.updateStatus!.startedAtMs : world.nowMs;
  const attempts: UpdateProgress['attempts'] = new Map();
  const failed: UpdateProgress['failed'] = new Set();
  for (const { seat, dirty } of seats) {
    if (dirty || !isUnderWay(service)) continue;
    const lastOld = seat.tasks.findLastIndex((task) => task.specVersion !== service.specVersion);
    const attempt = seat.tasks[lastOld + 1];
    if (lastOld < 0 || !attempt || attempt.meta.createdAtMs < startedAtMs) continue;
    // Failures of tasks that were replaced already were tolerated by the leader who replaced them; they count when others
    // follow. How long one ran nobody knows any more: preparation may have taken most of its life.
    const judged = isTerminal(attempt.status.state) && attempt.desiredState === 'shutdown';
    if (judged && endedByItself(attempt)) failed.add(attempt.id);
    const reachedAtMs = isBefore(attempt.status.state, 'running') ? null : endedAtMs(attempt);
    attempts.set(seat.key, {
      taskId: attempt.id,
      reachedAtMs: judged ? startedAtMs : reachedAtMs,
      settledAtMs: reachedAtMs,
      judged,
      hadNoRoom: hasNoRoom(seat.tasks[lastOld]!),
    });
  }
  return {
    specVersion: service.specVersion,
    seats: dirtySeats + attempts.size,
    attempts,
    failed,
  };
}

class UpdateStep {
  readonly #world: ServiceWorld;
  readonly #progress: UpdateProgress;
  readonly #config: UpdateConfig;
  readonly #changes: OrchestratorChange[] = [];
  #wakeAtMs: number | null = null;

  constructor(world: ServiceWorld, progress: UpdateProgress) {
    this.#world = world;
    this.#progress = progress;
    this.#config = updateConfigOf(world.service);
  }

  announce(): void {
    this.#setStatus({
      state: 'updating',
      startedAtMs: this.#world.nowMs,
      completedAtMs: null,
      message: 'update in progress',
    });
  }

  /** `taskId` is the update's own task in this seat. */
  note({ key }: Seat, taskId: TaskId, hadNoRoom: boolean): void {
    const attempt = { taskId, reachedAtMs: null, settledAtMs: null, judged: false, hadNoRoom };
    this.#progress.attempts.set(key, attempt);
  }

  /** Notes how the update's own tasks fare. Returns the task whose failure is one too many. */
  observe(): Task | null {
    const tasks = new Map(this.#world.tasks.map((task) => [task.id, task]));
    let tooMany: Task | null = null;
    for (const attempt of this.#progress.attempts.values()) {
      const task = tasks.get(attempt.taskId);
      if (!task) {
        attempt.settledAtMs ??= this.#world.nowMs;
        continue;
      }
      // One that is told to stop (drained, its node does not fit any more) may wait for ever where it is.
      if (isBefore(task.status.state, 'running') && isWanted(task)) continue;
      attempt.settledAtMs ??= this.#world.nowMs;
      if (task.status.state === 'running') attempt.reachedAtMs ??= endedAtMs(task);
      else if (this.#isFailure(task, attempt)) {
        this.#progress.failed.add(task.id);
        if (this.#tooManyFailures()) tooMany ??= task;
      }
    }
    return tooMany;
  }

  #isFailure(task: Task, attempt: UpdateAttempt): boolean {
    if (attempt.judged) return false;
    // Stopped on request (scaled down, drained) or lost with its node: no fault of the new spec.
    if (!endedByItself(task)) return false;
    const monitorMs = nanosToMs(this.#config.monitorNanos);
    return attempt.reachedAtMs === null || endedAtMs(task) - attempt.reachedAtMs <= monitorMs;
  }

  #tooManyFailures(): boolean {
    if (this.#config.failureAction === 'continue') return false;
    const ratio = this.#progress.failed.size / Math.max(1, this.#progress.seats);
    return ratio > this.#config.maxFailureRatio;
  }

  /** Pause, or back to the previous spec; a rollback that fails only pauses. */
  reactTo(task: Task): OrchestratorChange {
    const { service, nowMs } = this.#world;
    const { id: serviceId, specVersion } = service;
    const reason = `due to failure or early termination of task ${task.id}`;
    const startedAtMs = service.updateStatus?.startedAtMs ?? nowMs;
    if (isRollingBack(service)) {
      const status: UpdateStatus = {
        state: 'rollback_paused',
        startedAtMs,
        completedAtMs: null,
        message: `rollback paused ${reason}`,
      };
      return { kind: 'update-status', serviceId, specVersion, status };
    }
    const message = `update paused ${reason}`;
    const paused: UpdateStatus = { state: 'paused', startedAtMs, completedAtMs: null, message };
    if (this.#config.failureAction === 'rollback' && service.previousSpec) {
      const status: UpdateStatus = {
        state: 'rollback_started',
        startedAtMs: nowMs,
        completedAtMs: null,
        message: `update rolled back ${reason}`,
      };
      return { kind: 'rollback', serviceId, specVersion, status, paused };
    }
    return { kind: 'update-status', serviceId, specVersion, status: paused };
  }

  /** Starts as many seats as there are idle workers. */
  issue(dirty: SeatPlan[]): void {
    const idle = this.#idleWorkers();
    // Seats without a running task have nothing to lose: they come first.
    const order = dirty.sort((a, b) => Number(serves(a)) - Number(serves(b)));
    for (const seat of order.splice(0, idle)) this.#replace(seat);
  }

  #idleWorkers(): number {
    if (this.#config.parallelism === 0) return Number.POSITIVE_INFINITY;
    const delayMs = nanosToMs(this.#config.delayNanos);
    let busy = -this.#waitingAsBefore();
    for (const { settledAtMs } of this.#progress.attempts.values()) {
      if (settledAtMs === null) busy++;
      else if (this.#world.nowMs < settledAtMs + delayMs) {
        busy++;
        this.#wakeAtMs = earliest(this.#wakeAtMs, settledAtMs + delayMs);
      }
    }
    return Math.max(0, this.#config.parallelism - busy);
  }

  /**
   * As many tasks wait for room as did before the update reached their seats: no fewer serve for that. Which of them get the
   * room that becomes free is not asked.
   */
  #waitingAsBefore(): number {
    const attempts = [...this.#progress.attempts.values()];
    const before = attempts.filter(({ hadNoRoom }) => hadNoRoom).length;
    if (before === 0) return 0;
    const waiting = new Set(this.#world.tasks.filter(hasNoRoom).map(({ id }) => id));
    const now = attempts.filter(({ taskId, settledAtMs }) => {
      return settledAtMs === null && waiting.has(taskId);
    });
    return Math.min(before, now.length);
  }

  #replace({ seat, wanted }: SeatPlan): void {
    const startFirst = this.#config.order === 'start-first';
    // What serves goes on until the new task is prepared: see plan-seat.
    const idle = wanted.filter((task) => !isServing(task));
    const stops = startFirst ? [] : idle.map(({ id }) => id);
    const waits =
      this.#world.holdsStarts ||
      (!startFirst &&
        (wanted.length > 0 || !seat.tasks.every((task) => hasStopped(task, this.#world))));
    const taskId: TaskId = this.#world.newTaskId();
    this.note(seat, taskId, wanted.length > 0 && wanted.every(hasNoRoom));
    this.#changes.push({
      kind: 'create',
      taskId,
      service: this.#world.service,
      place: seat.place,
      desiredState: waits ? 'ready' : 'running',
      stops,
    });
  }

  /** @param remaining dirty seats not started yet are among them */
  finish(dirtyAtStart: number): UpdatePlan {
    const settled = [...this.#progress.attempts.values()].map(({ settledAtMs }) => settledAtMs);
    const started = this.#changes.filter(({ kind }) => kind === 'create').length;
    const open = dirtyAtStart - started > 0 || settled.includes(null);
    if (open) {
      return { changes: this.#changes, wakeAtMs: this.#wakeAtMs, progress: this.#progress };
    }
    const lastMs = settled.reduce<number>((last, ms) => Math.max(last, ms ?? 0), 0);
    const overAtMs = settled.length === 0 ? 0 : lastMs + this.#watchMs();
    if (this.#world.nowMs < overAtMs) {
      return { changes: this.#changes, wakeAtMs: overAtMs, progress: this.#progress };
    }
    const rollback = isRollingBack(this.#world.service);
    this.#setStatus({
      state: rollback ? 'rollback_completed' : 'completed',
      startedAtMs: this.#world.service.updateStatus?.startedAtMs ?? this.#world.nowMs,
      completedAtMs: this.#world.nowMs,
      message: rollback ? 'rollback completed' : 'update completed',
    });
    return { changes: this.#changes, wakeAtMs: null, progress: null };
  }

  /** How long after the last task settled failures still count. */
  #watchMs(): number {
    const { delayNanos, monitorNanos } = this.#config;
    const [delayMs, monitorMs] = [nanosToMs(delayNanos), nanosToMs(monitorNanos)];
    return delayMs >= monitorMs ? delayMs + 1000 : monitorMs;
  }

  #setStatus(status: UpdateStatus): void {
    const { id: serviceId, specVersion } = this.#world.service;
    this.#changes.push({ kind: 'update-status', serviceId, specVersion, status });
  }
}

function serves({ wanted }: SeatPlan): boolean {
  return wanted.some(isServing);
}

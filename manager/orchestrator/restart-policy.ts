/**
 * May a task be replaced after its end, and when may the replacement run? Everything is read from the
 * seat's own history, so a new leader goes on where the old one stopped.
 */
import {
  DEFAULT_RESTART_POLICY,
  DEFAULT_STOP_GRACE_PERIOD_NANOS,
} from '../../common/model/service.ts';
import type { Task } from '../../common/model/task.ts';
import { isBefore, isTerminal } from '../../common/model/task-state.ts';
import type { Seat } from './seat.ts';
import { nanosToMs, type ServiceWorld } from './world.ts';

/** Longest wait for an old task to stop before its replacement is let loose, unless that may take longer by its own words. */
export const STOP_WAIT_MS = 60_000;
/** For the end of its connections before its grace period, and for the word of its end. */
const STOP_MARGIN_MS = 10_000;

/** When a task ended, by the manager's clock where that is known. */
export function endedAtMs(task: Task): number {
  return task.status.appliedAtMs || task.status.timestampMs;
}

/** Whether the restart policy gives `task`, which ended or lost its node, a successor in its seat. */
export function mayRestart(task: Task, seat: Seat, nowMs: number): boolean {
  const policy = task.spec.restart ?? DEFAULT_RESTART_POLICY;
  if (policy.condition === 'none') return false;
  if (policy.condition === 'on-failure' && task.status.state === 'complete') return false;
  if (policy.maxAttempts === 0) return true;
  const restarts = restartsOf(task, seat);
  if (policy.windowNanos === 0) return restarts.length < policy.maxAttempts;
  const failedAtMs = isTerminal(task.status.state) ? endedAtMs(task) : nowMs;
  const since = failedAtMs - nanosToMs(policy.windowNanos);
  const recent = restarts.filter(({ meta }) => meta.createdAtMs > since);
  return recent.length < policy.maxAttempts;
}

/**
 * The restarts that led to `task`: its predecessors of the same spec version without a break, and
 * itself, but not the first of them, which an operator's word created. The reaper keeps
 * maxAttempts + 1 tasks of a seat, enough for this count.
 */
function restartsOf(task: Task, seat: Seat): readonly Task[] {
  const run: Task[] = [];
  for (let i = seat.tasks.indexOf(task); i >= 0; i--) {
    const candidate = seat.tasks[i]!;
    if (candidate.specVersion !== task.specVersion || candidate.desiredState === 'remove') break;
    run.push(candidate);
  }
  return run.slice(0, -1);
}

/**
 * When a task that was created `ready` has waited out its restart delay, wall ms (0 = no delay). Only
 * a task that follows shortly on one of the same spec that ended by itself (exit, failure, rejection)
 * waits: after an update, a drain or the loss of a node waiting would help nobody.
 */
export function delayOverAtMs(task: Task, seat: Seat, nowMs: number): number {
  const ends = seat.tasks.filter(
    (other) =>
      other.id !== task.id && other.specVersion === task.specVersion && endedByItself(other),
  );
  if (ends.length === 0) return 0;
  const delayMs = nanosToMs((task.spec.restart ?? DEFAULT_RESTART_POLICY).delayNanos);
  const lastEndMs = Math.max(...ends.map(endedAtMs));
  // Twice: a task that ended within its own delay was replaced only when that delay was over.
  if (lastEndMs + 2 * delayMs < task.meta.createdAtMs) return 0;
  return after(Math.max(lastEndMs, task.meta.createdAtMs), delayMs, nowMs);
}

/** Neither told to stop nor lost with its node. */
export function endedByItself({ status }: Task): boolean {
  return status.state === 'complete' || status.state === 'failed' || status.state === 'rejected';
}

/** `delayMs` after `fromMs`; at once when the wall clock was set back so far that it means nothing. */
function after(fromMs: number, delayMs: number, nowMs: number): number {
  return fromMs - nowMs > delayMs ? nowMs : fromMs + delayMs;
}

/** True when nothing of the task runs any more, as far as anybody can know. */
export function hasStopped(task: Task, world: ServiceWorld): boolean {
  const { state } = task.status;
  if (isTerminal(state) || isBefore(state, 'assigned') || task.nodeId === null) return true;
  const node = world.node(task.nodeId);
  return !node || node.status.state === 'down';
}

/**
 * Of a task that fills an empty seat: it is let run at once, unless something that was told to stop still
 * runs there (scaled down and up again, drained and activated), or its service waits for another; then it waits
 * for that as a replacement does.
 */
export function firstDesire(tasks: readonly Task[], world: ServiceWorld): 'ready' | 'running' {
  if (world.holdsStarts) return 'ready';
  return tasks.every((task) => hasStopped(task, world)) ? 'running' : 'ready';
}

/**
 * When a `ready` task may run: now or earlier = at once. Waits for its delay, and for the tasks of the
 * seat that were told to stop: for a time after that, or after the last word of them. Infinity while its service
 * waits for another: no clock tells when that is over.
 */
export function startableAtMs(task: Task, seat: Seat, world: ServiceWorld): number {
  if (world.holdsStarts) return Number.POSITIVE_INFINITY;
  const delayOver = delayOverAtMs(task, seat, world.nowMs);
  const stopping = seat.tasks.filter(
    (other) =>
      (other.desiredState === 'shutdown' || other.desiredState === 'remove') &&
      !hasStopped(other, world),
  );
  if (stopping.length === 0) return delayOver;
  const waitedFor = stopping.map((other) => {
    // An image may have taken long to come: the order to stop can be much younger than `task`.
    const toldAtMs = Math.max(task.meta.createdAtMs, other.meta.updatedAtMs);
    return after(toldAtMs, stopWaitMs(other), world.nowMs);
  });
  return Math.max(delayOver, ...waitedFor);
}

/** Its successor may need its place on the node: it has the time to end that it was given. */
function stopWaitMs({ spec: { container } }: Task): number {
  const graceNanos = container.stopGracePeriodNanos ?? DEFAULT_STOP_GRACE_PERIOD_NANOS;
  return Math.max(STOP_WAIT_MS, nanosToMs(graceNanos) + STOP_MARGIN_MS);
}

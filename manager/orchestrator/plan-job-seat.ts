/**
 * What one seat of a job needs: a seat (slot, or node) is to be completed once in each iteration.
 * Jobs are neither updated nor kept running, so that this is not `planSeat`.
 */
import type { Task } from '../../common/model/task.ts';
import { isTerminal } from '../../common/model/task-state.ts';
import { ENFORCED_MESSAGE } from './plan-enforcement.ts';
import { delayOverAtMs, hasStopped, mayRestart, startableAtMs } from './restart-policy.ts';
import { isWanted, type Seat } from './seat.ts';
import { isLost, type OrchestratorChange, type ServiceWorld } from './world.ts';

export interface JobSeatPlan {
  readonly seat: Seat;
  readonly changes: readonly OrchestratorChange[];
  /** look again then, wall ms */
  readonly wakeAtMs: number | null;
  /**
   * `done`: completed. `active`: a task is under way or waits for its restart; it holds a place among
   * the concurrent ones. `spent`: failed, and the restart policy gives it no other task. `open`: a task
   * is missing.
   */
  readonly state: 'done' | 'active' | 'spent' | 'open';
}

/** The job's run that is meant now; tasks of others are out of date. */
export function isCurrent({ jobIteration }: Task, { service }: ServiceWorld): boolean {
  return jobIteration === (service.jobStatus?.iteration ?? null);
}

/** @param seat tasks of the present iteration only */
export function planJobSeat(seat: Seat, world: ServiceWorld): JobSeatPlan {
  const plan = (
    state: JobSeatPlan['state'],
    changes: readonly OrchestratorChange[] = [],
    wakeAtMs: number | null = null,
  ): JobSeatPlan => ({ seat, changes, wakeAtMs, state });
  const wanted = seat.tasks.filter((task) => isWanted(task) && !isDone(task));
  if (seat.tasks.some(isDone)) return plan('done', wanted.map(stop));
  const task = wanted.at(-1);
  if (!task) {
    const newest = seat.tasks.at(-1);
    // One that was given up with its node, and of which it is heard later that it had failed, may have another.
    const isSpent = newest && failed(newest) && !mayRestart(newest, seat, world.nowMs);
    return plan(isSpent ? 'spent' : 'open');
  }
  const superfluous = wanted.slice(0, -1).map(stop);
  if (!hasFallen(task, world)) return plan('active', ...goOn(task, seat, world, superfluous));
  if (!failed(task)) return plan('active', [...superfluous, replacement(task, seat, world)]);
  if (!mayRestart(task, seat, world.nowMs)) return plan('spent', [...superfluous, stop(task)]);
  const heldUntilMs = task.desiredState === 'ready' ? delayOverAtMs(task, seat, world.nowMs) : 0;
  // A task that failed within its own start delay waits it out first: no tight loop.
  if (heldUntilMs > world.nowMs) return plan('active', superfluous, heldUntilMs);
  return plan('active', [...superfluous, replacement(task, seat, world)]);
}

/**
 * A seat's first task. It is let run at once, unless something that was told to stop still runs there, or
 * the job waits for another service.
 */
export function firstTask(seat: Seat, world: ServiceWorld): OrchestratorChange {
  const free = !world.holdsStarts && seat.tasks.every((task) => hasStopped(task, world));
  return {
    kind: 'create',
    taskId: world.newTaskId(),
    service: world.service,
    place: seat.place,
    desiredState: free ? 'complete' : 'ready',
    stops: [],
  };
}

export function isDone({ status }: Task): boolean {
  return status.state === 'complete';
}

/** By itself: the restart policy's affair. What was stopped, or lost or outgrew its node, has not. */
function failed({ status: { state, message } }: Task): boolean {
  return state === 'failed' || (state === 'rejected' && message !== ENFORCED_MESSAGE);
}

function hasFallen(task: Task, world: ServiceWorld): boolean {
  if (isTerminal(task.status.state)) return true;
  return task.nodeId !== null && isLost(world.node(task.nodeId));
}

function stop({ id }: Task): OrchestratorChange {
  return { kind: 'desire', taskId: id, desiredState: 'shutdown' };
}

function goOn(
  task: Task,
  seat: Seat,
  world: ServiceWorld,
  changes: readonly OrchestratorChange[],
): [readonly OrchestratorChange[], number | null] {
  if (task.desiredState !== 'ready') return [changes, null];
  const atMs = startableAtMs(task, seat, world);
  if (atMs > world.nowMs) return [changes, atMs];
  return [[...changes, { kind: 'desire', taskId: task.id, desiredState: 'complete' }], null];
}

function replacement(task: Task, seat: Seat, world: ServiceWorld): OrchestratorChange {
  return {
    kind: 'create',
    taskId: world.newTaskId(),
    service: world.service,
    place: seat.place,
    desiredState: 'ready',
    stops: [task.id],
  };
}

/**
 * A replicated job: so many slots are to be completed once in each iteration, a limited number of them at
 * a time. They are numbered from 0 because docker's client counts them so, and would
 * wait for the last one for ever (decision 0048).
 */
import type { ServiceMode } from '../../common/model/service.ts';
import type { Task } from '../../common/model/task.ts';
import { isTerminal } from '../../common/model/task-state.ts';
import { firstTask, isCurrent, type JobSeatPlan, planJobSeat } from './plan-job-seat.ts';
import { hasStopped } from './restart-policy.ts';
import { seatsBySlot } from './seat.ts';
import {
  CREATES_MAX,
  earliest,
  type OrchestratorChange,
  REMOVALS_MAX,
  type ServiceWorld,
} from './world.ts';

export type ReplicatedJob = Extract<ServiceMode, { readonly kind: 'replicated-job' }>;

export interface JobPlan {
  readonly changes: readonly OrchestratorChange[];
  readonly wakeAtMs: number | null;
}

export function planReplicatedJob(world: ServiceWorld, mode: ReplicatedJob): JobPlan {
  const current = world.tasks.filter((task) => isCurrent(task, world));
  const old = world.tasks.filter((task) => !isCurrent(task, world));
  const seats = seatsBySlot(current).map((seat) => planJobSeat(seat, world));
  const changes = [...endedIteration(old), ...seats.flatMap((seat) => seat.changes)];
  const wakeAtMs = seats.reduce<number | null>((at, seat) => earliest(at, seat.wakeAtMs), null);
  // What the last iteration left running holds its place until it has stopped.
  const active = seats.filter(({ state }) => state === 'active').length;
  const leaving = old.filter((task) => !hasStopped(task, world)).length;
  const settled = seats.filter(({ state }) => state !== 'open').length;
  const startable = Math.min(
    mode.maxConcurrent - active - leaving,
    mode.totalCompletions - settled,
    CREATES_MAX,
  );
  return { changes: [...changes, ...started(world, seats, startable)], wakeAtMs };
}

/** Tasks of past iterations stop; those that ended are history. */
function endedIteration(old: readonly Task[]): OrchestratorChange[] {
  return old
    .filter(({ desiredState, status }) => desiredState !== 'remove' && !isTerminal(status.state))
    .slice(0, REMOVALS_MAX)
    .map(({ id }) => ({ kind: 'desire', taskId: id, desiredState: 'remove' }));
}

/** First tasks in the lowest open slots. */
function started(
  world: ServiceWorld,
  seats: readonly JobSeatPlan[],
  count: number,
): OrchestratorChange[] {
  const bySlot = new Map(seats.map((plan) => [plan.seat.place.slot, plan]));
  const changes: OrchestratorChange[] = [];
  for (let slot = 0; changes.length < count; slot++) {
    const known = bySlot.get(slot);
    if (known && known.state !== 'open') continue;
    const place = { slot, nodeId: null };
    changes.push(firstTask(known?.seat ?? { key: String(slot), place, tasks: [] }, world));
  }
  return changes;
}

/**
 * All that one service needs at this moment, as changes. Pure: the same world and memory give the
 * same plan. The caller carries it out and asks again after each change, or at `wakeAtMs`.
 */
import { assertNever } from '../../common/base/assert.ts';
import { DirtyTest } from '../../common/model/dirty-task.ts';
import type { ServiceMode } from '../../common/model/service.ts';
import { isRollingBack, updateConfigOf } from '../../common/model/service-update.ts';
import type { Task } from '../../common/model/task.ts';
import { planGlobalSeats } from './plan-global.ts';
import { planGlobalJob } from './plan-global-job.ts';
import { planMoves } from './plan-moves.ts';
import { planReplicatedSeats } from './plan-replicated.ts';
import { planReplicatedJob } from './plan-replicated-job.ts';
import type { ModePlan, SeatRules } from './plan-seat.ts';
import { planUpdate } from './plan-update.ts';
import { possibleNode } from './possible-nodes.ts';
import type { UpdateProgress } from './update-progress.ts';
import { earliest, type OrchestratorChange, REMOVALS_MAX, type ServiceWorld } from './world.ts';

export interface ServicePlan {
  readonly changes: readonly OrchestratorChange[];
  readonly wakeAtMs: number | null;
  readonly progress: UpdateProgress | null;
}

type KeptRunning = Extract<ServiceMode, { readonly kind: 'replicated' | 'global' }>;

export function planService(world: ServiceWorld, progress: UpdateProgress | null): ServicePlan {
  const plan = planMode(world, progress);
  // What waits for another service waits for no time.
  return plan.wakeAtMs === Number.POSITIVE_INFINITY ? { ...plan, wakeAtMs: null } : plan;
}

function planMode(world: ServiceWorld, progress: UpdateProgress | null): ServicePlan {
  const { mode } = world.service.spec;
  switch (mode.kind) {
    case 'replicated':
    case 'global':
      return planSeatsAndUpdate(world, mode, progress);
    case 'replicated-job':
      return { ...planReplicatedJob(world, mode), progress: null };
    case 'global-job':
      return { ...planGlobalJob(world), progress: null };
    default:
      return assertNever(mode, 'service mode');
  }
}

function planSeatsAndUpdate(
  world: ServiceWorld,
  mode: KeptRunning,
  progress: UpdateProgress | null,
): ServicePlan {
  const { service } = world;
  const rules: SeatRules = {
    dirtyTest: new DirtyTest(service, (id) => world.node(id)),
    startFirst: updateConfigOf(service).order === 'start-first',
    rollingBack: isRollingBack(service),
    hasPossibleNode: possibleNode(world),
  };
  const seats = planKeptRunning(world, mode, rules);
  const update = planUpdate(world, seats.updatable, progress);
  // The spec is about to change: what the seats need is decided against the new one.
  if (update.changes.some(({ kind }) => kind === 'rollback')) return update;
  const moves = update.changes.length > 0 ? [] : planMoves(world, seats.updatable);
  return {
    changes: [...seats.changes, ...update.changes, ...moves],
    wakeAtMs: earliest(seats.wakeAtMs, update.wakeAtMs),
    progress: update.progress,
  };
}

function planKeptRunning(world: ServiceWorld, mode: KeptRunning, rules: SeatRules): ModePlan {
  switch (mode.kind) {
    case 'replicated':
      return planReplicatedSeats(world, mode.replicas, rules);
    case 'global':
      return planGlobalSeats(world, rules);
    default:
      return assertNever(mode, 'service mode');
  }
}

/** Tasks of a service that is gone: stop, then the reaper deletes them. At most `REMOVALS_MAX`: ask again for the rest. */
export function planRemovedService(tasks: readonly Task[]): OrchestratorChange[] {
  return tasks
    .filter(({ desiredState }) => desiredState !== 'remove')
    .slice(0, REMOVALS_MAX)
    .map(({ id }) => ({ kind: 'desire', taskId: id, desiredState: 'remove' }));
}

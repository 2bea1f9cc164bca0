/** A global service: one task on every node that may have it. */
import {
  type Constraint,
  nodeMeetsConstraints,
  storedConstraints,
} from '../../common/model/constraint.ts';
import type { Node } from '../../common/model/node.ts';
import { isTerminal } from '../../common/model/task-state.ts';
import { type ModePlan, planSeat, type SeatPlan, type SeatRules } from './plan-seat.ts';
import { firstDesire, startableAtMs } from './restart-policy.ts';
import { isServing, isWanted, type Seat, seatsByNode } from './seat.ts';
import { earliest, isLost, type OrchestratorChange, type ServiceWorld } from './world.ts';

export function planGlobalSeats(world: ServiceWorld, rules: SeatRules): ModePlan {
  const constraints = storedConstraints(world.service.spec.task.placement.constraints);
  const seats = seatsByNode(world.tasks);
  const changes: OrchestratorChange[] = [];
  const updatable: SeatPlan[] = [];
  let wakeAtMs: number | null = null;
  for (const [nodeId, seat] of seats) {
    if (!world.node(nodeId)) changes.push(...desireAll(seat, 'remove'));
  }
  for (const node of world.nodes) {
    const seat = seats.get(node.id) ?? emptySeat(node);
    if (!isEligible(node, constraints)) {
      changes.push(...desireAll(seat, 'shutdown'));
      continue;
    }
    if (node.spec.availability === 'pause') {
      const plan = leaveBe(seat, world);
      changes.push(...plan.changes);
      wakeAtMs = earliest(wakeAtMs, plan.wakeAtMs);
      continue;
    }
    const plan = planSeat(seat, world, rules);
    changes.push(...plan.changes);
    wakeAtMs = earliest(wakeAtMs, plan.wakeAtMs);
    if (plan.state === 'dead') changes.push(fresh(world, seat));
    else if (plan.dirty && isStraggler(world)) changes.push(replaced(world, plan));
    else updatable.push(plan);
  }
  return { changes, wakeAtMs, updatable };
}

function isEligible(node: Node, constraints: readonly Constraint[]): boolean {
  return !isLost(node) && nodeMeetsConstraints(node, constraints);
}

function emptySeat(node: Node): Seat {
  return { key: node.id, place: { slot: null, nodeId: node.id }, tasks: [] };
}

/**
 * A paused node keeps what it has; what ends there is not replaced. What was to take the place of another
 * when the node was paused does so if that one is being stopped, or ends.
 */
function leaveBe(
  seat: Seat,
  world: ServiceWorld,
): { readonly changes: readonly OrchestratorChange[]; readonly wakeAtMs: number | null } {
  const changes: OrchestratorChange[] = [];
  let wakeAtMs: number | null = null;
  const wanted = seat.tasks.filter(isWanted);
  const isServed = wanted.some(isServing);
  for (const task of wanted) {
    if (isTerminal(task.status.state)) {
      changes.push({ kind: 'desire', taskId: task.id, desiredState: 'shutdown' });
    } else if (task.desiredState === 'ready' && !isServed) {
      const atMs = startableAtMs(task, seat, world);
      if (atMs > world.nowMs) wakeAtMs = earliest(wakeAtMs, atMs);
      else changes.push({ kind: 'desire', taskId: task.id, desiredState: 'running' });
    }
  }
  return { changes, wakeAtMs };
}

function desireAll(seat: Seat, desiredState: 'shutdown' | 'remove'): OrchestratorChange[] {
  return seat.tasks
    .filter((task) => (desiredState === 'remove' ? task.desiredState !== 'remove' : isWanted(task)))
    .map(({ id }) => ({ kind: 'desire', taskId: id, desiredState }));
}

function fresh(world: ServiceWorld, seat: Seat): OrchestratorChange {
  return {
    kind: 'create',
    taskId: world.newTaskId(),
    service: world.service,
    place: seat.place,
    desiredState: firstDesire(seat.tasks, world),
    stops: [],
  };
}

/** The update is over: whoever was away (paused, apart) meanwhile catches up at once. */
function isStraggler({ service }: ServiceWorld): boolean {
  const state = service.updateStatus?.state;
  return state === 'completed' || state === 'rollback_completed';
}

function replaced(world: ServiceWorld, { seat, wanted }: SeatPlan): OrchestratorChange {
  return {
    kind: 'create',
    taskId: world.newTaskId(),
    service: world.service,
    place: seat.place,
    desiredState: 'ready',
    stops: wanted.filter((task) => !isServing(task)).map(({ id }) => id),
  };
}

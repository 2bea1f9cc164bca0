/**
 * A global job: each node that may have it is to complete one task in each iteration, also a node that
 * comes later.
 */
import {
  type Constraint,
  nodeMeetsConstraints,
  storedConstraints,
} from '../../common/model/constraint.ts';
import type { Node } from '../../common/model/node.ts';
import type { Task } from '../../common/model/task.ts';
import { isTerminal } from '../../common/model/task-state.ts';
import { firstTask, isCurrent, planJobSeat } from './plan-job-seat.ts';
import type { JobPlan } from './plan-replicated-job.ts';
import { isWanted, type Seat, seatsByNode } from './seat.ts';
import { earliest, isLost, type OrchestratorChange, type ServiceWorld } from './world.ts';

export function planGlobalJob(world: ServiceWorld): JobPlan {
  const constraints = storedConstraints(world.service.spec.task.placement.constraints);
  const seats = seatsByNode(world.tasks.filter((task) => isCurrent(task, world)));
  const changes = world.tasks.filter((task) => !isCurrent(task, world)).flatMap(removed);
  let wakeAtMs: number | null = null;
  for (const [nodeId, seat] of seats) {
    if (!world.node(nodeId)) changes.push(...seat.tasks.filter(isUnfinished).flatMap(removed));
  }
  for (const node of world.nodes) {
    const seat = seats.get(node.id) ?? emptySeat(node);
    if (!mayStay(node, constraints)) {
      changes.push(...stopped(seat));
      continue;
    }
    // A node that takes no new tasks, or that nobody has heard of since the leader changed.
    if (node.spec.availability !== 'active' || node.status.state !== 'ready') continue;
    const plan = planJobSeat(seat, world);
    changes.push(...plan.changes);
    wakeAtMs = earliest(wakeAtMs, plan.wakeAtMs);
    if (plan.state === 'open') changes.push(firstTask(seat, world));
  }
  return { changes, wakeAtMs };
}

function mayStay(node: Node, constraints: readonly Constraint[]): boolean {
  return !isLost(node) && nodeMeetsConstraints(node, constraints);
}

function emptySeat(node: Node): Seat {
  return { key: node.id, place: { slot: null, nodeId: node.id }, tasks: [] };
}

function isUnfinished({ status }: Task): boolean {
  return !isTerminal(status.state) || status.state === 'orphaned';
}

function removed({ id, desiredState }: Task): OrchestratorChange[] {
  return desiredState === 'remove'
    ? []
    : [{ kind: 'desire', taskId: id, desiredState: 'remove' as const }];
}

/** What has ended there stays as it is. */
function stopped(seat: Seat): OrchestratorChange[] {
  return seat.tasks
    .filter((task) => isWanted(task) && !isTerminal(task.status.state))
    .map(({ id }) => ({ kind: 'desire', taskId: id, desiredState: 'shutdown' }));
}

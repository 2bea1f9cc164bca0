/** A replicated service: as many live slots as replicas, numbered from 1. */
import { append } from '../../common/base/append.ts';
import type { NodeId } from '../../common/model/ids.ts';
import { type ModePlan, planSeat, type SeatPlan, type SeatRules } from './plan-seat.ts';
import { firstDesire } from './restart-policy.ts';
import { seatsBySlot } from './seat.ts';
import {
  CREATES_MAX,
  earliest,
  type OrchestratorChange,
  REMOVALS_MAX,
  type ServiceWorld,
} from './world.ts';

export function planReplicatedSeats(
  world: ServiceWorld,
  replicas: number,
  rules: SeatRules,
): ModePlan {
  const seats = seatsBySlot(world.tasks).map((seat) => planSeat(seat, world, rules));
  const live = seats.filter(({ state }) => state !== 'dead');
  const keep = live.length > replicas ? keptSlots(live, replicas) : live;
  const kept = new Set(keep);
  const changes: OrchestratorChange[] = [];
  let wakeAtMs: number | null = null;
  let removed = 0;
  for (const plan of seats) {
    if (!kept.has(plan)) {
      if (removed >= REMOVALS_MAX) continue; // we are asked again when these are written
      const removals = emptied(plan);
      removed += removals.length;
      append(changes, removals);
      continue;
    }
    changes.push(...plan.changes);
    wakeAtMs = earliest(wakeAtMs, plan.wakeAtMs);
  }
  changes.push(...filled(world, seats, keep, replicas - keep.length));
  return { changes, wakeAtMs, updatable: keep };
}

/**
 * Which slots stay when there are too many: the first copy on each node before the second and so on,
 * so that the most crowded nodes lose tasks first; running before not; lower numbers before higher.
 */
export function keptSlots(live: readonly SeatPlan[], replicas: number): SeatPlan[] {
  const inOrder = [...live].sort(
    (a, b) => Number(isRunning(b)) - Number(isRunning(a)) || slotOf(a) - slotOf(b),
  );
  const copies = new Map<NodeId, number>();
  const ranked = inOrder.map((plan) => {
    const nodeId = onlyNode(plan);
    if (nodeId === null) return { plan, copy: Number.POSITIVE_INFINITY };
    const copy = copies.get(nodeId) ?? 0;
    copies.set(nodeId, copy + 1);
    return { plan, copy };
  });
  ranked.sort((a, b) => (a.copy === b.copy ? 0 : a.copy - b.copy));
  return ranked.slice(0, replicas).map(({ plan }) => plan);
}

function isRunning({ wanted }: SeatPlan): boolean {
  return wanted.some(({ status }) => status.state === 'running');
}

/** Seats of replicated services have a number. */
function slotOf({ seat }: SeatPlan): number {
  return seat.place.slot ?? 0;
}

/** The node of a slot that stands on exactly one. */
function onlyNode({ wanted, seat, state }: SeatPlan): NodeId | null {
  const tasks = state === 'settled' ? seat.tasks.slice(-1) : wanted;
  return tasks.length === 1 ? tasks[0]!.nodeId : null;
}

/** Nothing of this slot stays; the reaper deletes each task once it has stopped. */
function emptied({ seat }: SeatPlan): OrchestratorChange[] {
  return seat.tasks
    .filter(({ desiredState }) => desiredState !== 'remove')
    .map(({ id }) => ({ kind: 'desire', taskId: id, desiredState: 'remove' }));
}

/** New tasks in the lowest numbers without a live slot. */
function filled(
  world: ServiceWorld,
  seats: readonly SeatPlan[],
  live: readonly SeatPlan[],
  missing: number,
): OrchestratorChange[] {
  const taken = new Set(live.map(({ seat }) => seat.place.slot));
  const bySlot = new Map(seats.map(({ seat }) => [seat.place.slot, seat]));
  const count = Math.min(missing, CREATES_MAX);
  const changes: OrchestratorChange[] = [];
  for (let slot = 1; changes.length < count; slot++) {
    if (taken.has(slot)) continue;
    changes.push({
      kind: 'create',
      taskId: world.newTaskId(),
      service: world.service,
      place: { slot, nodeId: null },
      desiredState: firstDesire(bySlot.get(slot)?.tasks ?? [], world),
      stops: [],
    });
  }
  return changes;
}

/**
 * Tasks that are to go elsewhere: as many at a time as the service's updates replace, each as its move's order says. A
 * move is no update: it changes no spec, and what fails of it is the restart policy's affair.
 */
import { hasFixedAddress } from '../../common/model/fixed-address.ts';
import { isUnderWay, updateConfigOf } from '../../common/model/service-update.ts';
import type { Task } from '../../common/model/task.ts';
import type { SeatPlan } from './plan-seat.ts';
import { endedByItself } from './restart-policy.ts';
import { hasNoRoom, type Seat } from './seat.ts';
import type { OrchestratorChange, ServiceWorld } from './world.ts';

/** @param seats as planned in this pass; those that change anyway are left alone */
export function planMoves(world: ServiceWorld, seats: readonly SeatPlan[]): OrchestratorChange[] {
  const { service } = world;
  const leaving = seats.filter(isLeaving);
  if (leaving.length === 0 || world.holdsStarts) return [];
  // The update replaces its tasks, and they go elsewhere by that.
  if (isUnderWay(service)) return [];
  const { parallelism } = updateConfigOf(service);
  const atOnce = parallelism === 0 ? Number.POSITIVE_INFINITY : parallelism;
  const room = Math.max(0, atOnce - seats.filter(isOnItsWay).length);
  // Which of the two gives way when is the seat's affair, as with an update.
  return leaving.slice(0, room).map(({ seat, wanted }) => ({
    kind: 'create',
    taskId: world.newTaskId(),
    service,
    place: seat.place,
    desiredState: startsFirst(wanted[0]!) ? 'running' : 'ready',
    stops: [],
  }));
}

/** No two tasks have one address, whatever the move says. */
function startsFirst({ moving, spec }: Task): boolean {
  return moving === 'start-first' && !hasFixedAddress(spec);
}

/** Its task runs, says what the service says, and is to go. One that others have failed to follow for good stays. */
function isLeaving({ seat, dirty, changes, wanted }: SeatPlan): boolean {
  const [task, ...others] = wanted;
  if (dirty || changes.length > 0 || !task || others.length > 0) return false;
  if (seat.tasks.some((other) => endedByItself(other) && isNewer(other, task))) return false;
  return task.moving !== null && task.status.state === 'running';
}

/** By the store's revisions, for clocks of leaders differ: `task` was written last when it was told to move. */
function isNewer({ meta }: Task, task: Task): boolean {
  return meta.version > task.meta.version;
}

/**
 * Something of the seat is not there yet. One without room is not awaited, for it may wait for ever, unless it is to take
 * the place of one that moves, or ended before it could: else a service would go without room task by task.
 */
function isOnItsWay({ seat, changes, wanted }: SeatPlan): boolean {
  if (changes.length > 0) return true;
  const isMove = wanted.some(({ moving }) => moving !== null);
  return wanted.some((task) => {
    if (task.status.state === 'running') return false;
    return isMove || !hasNoRoom(task) || (follows(task, seat)?.moving ?? null) !== null;
  });
}

/** The one before it in its seat. */
function follows(task: Task, { tasks }: Seat): Task | undefined {
  return tasks[tasks.indexOf(task) - 1];
}

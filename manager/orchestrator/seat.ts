/** The tasks of one seat (slot, or node of a global service), oldest first, and questions about them. */
import type { NodeId } from '../../common/model/ids.ts';
import type { Task } from '../../common/model/task.ts';
import { compareDesiredStates, isBefore } from '../../common/model/task-state.ts';
import type { SeatPlace } from './world.ts';

export interface Seat {
  readonly key: string;
  readonly place: SeatPlace;
  /** by age, oldest first; may be empty for a seat that is to be filled */
  readonly tasks: readonly Task[];
}

/** The same for tasks of one seat only. */
export function seatKey({ serviceId, slot, nodeId }: Task): string {
  return `${serviceId}/${slot ?? nodeId}`;
}

/** Wanted to run, to get ready for it or, of a job, to complete. */
export function isWanted({ desiredState }: Task): boolean {
  return desiredState === 'ready' || desiredState === 'running' || desiredState === 'complete';
}

/** Nobody would miss a task that does not run. */
export function isServing({ status }: Task): boolean {
  return status.state === 'running';
}

/** Its node has all that it takes to start it. */
export function isPrepared({ status }: Task): boolean {
  return !isBefore(status.state, 'ready');
}

/** The allocator has looked, and something of a network is used up. */
export function lacksAddress({ status }: Task): boolean {
  return status.state === 'new' && status.err !== '';
}

/** The scheduler has looked, and no node has room for it; or none had when it was told to stop. */
export function hasNoRoom({ status }: Task): boolean {
  return isBefore(status.state, 'assigned') && status.err !== '';
}

/**
 * Oldest first. Of those created in the same millisecond the one that was told to stop is the older,
 * for a replacement is written together with the end of what it replaces; then the older spec.
 */
function byAge(a: Task, b: Task): number {
  return (
    a.meta.createdAtMs - b.meta.createdAtMs ||
    compareDesiredStates(b.desiredState, a.desiredState) ||
    a.specVersion - b.specVersion ||
    (a.id < b.id ? -1 : 1)
  );
}

/** Seats by slot number, ascending; tasks without a slot cannot belong to a replicated service. */
export function seatsBySlot(tasks: readonly Task[]): Seat[] {
  const bySlot = new Map<number, Task[]>();
  for (const task of tasks) if (task.slot !== null) append(bySlot, task.slot, task);
  return [...bySlot]
    .sort(([a], [b]) => a - b)
    .map(([slot, members]) => ({
      key: String(slot),
      place: { slot, nodeId: null },
      tasks: members.sort(byAge),
    }));
}

/** Seats by node; tasks without a node cannot belong to a global service and are left out. */
export function seatsByNode(tasks: readonly Task[]): Map<NodeId, Seat> {
  const byNode = new Map<NodeId, Task[]>();
  for (const task of tasks) if (task.nodeId !== null) append(byNode, task.nodeId, task);
  const seats = new Map<NodeId, Seat>();
  for (const [nodeId, members] of byNode) {
    seats.set(nodeId, { key: nodeId, place: { slot: null, nodeId }, tasks: members.sort(byAge) });
  }
  return seats;
}

function append<K>(lists: Map<K, Task[]>, key: K, task: Task): void {
  const list = lists.get(key);
  if (list) list.push(task);
  else lists.set(key, [task]);
}

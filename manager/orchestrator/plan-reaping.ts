/** Which tasks may be deleted for good (swarm-behaviour 2.7). */
import type { Service } from '../../common/model/service.ts';
import type { Task } from '../../common/model/task.ts';
import { isBefore, isTerminal } from '../../common/model/task-state.ts';
import { isWanted, type Seat } from './seat.ts';

/**
 * Told to go and gone: deleted at once, whatever the history limit.
 * @param nodeExists whether the task's node is still a member
 */
export function isDoneForGood(task: Task, nodeExists: boolean): boolean {
  const { state } = task.status;
  if (task.desiredState === 'remove') {
    return isBefore(state, 'assigned') || isTerminal(state) || !nodeExists;
  }
  return state === 'orphaned' && task.serviceId === '';
}

/** Tasks kept in each seat, the live one included; null = all. */
export function historyLimit(service: Service | undefined, clusterLimit: number): number | null {
  const kind = service?.spec.mode.kind;
  if (kind === 'replicated-job' || kind === 'global-job') return null;
  // The restart policy counts its attempts from these very tasks.
  const attempts = service?.spec.task.restart?.maxAttempts ?? 0;
  if (attempts > 0) return attempts + 1;
  return clusterLimit < 0 ? null : clusterLimit;
}

/** The oldest tasks of a seat beyond the limit that have ended or never began. */
export function surplusTasks(seat: Seat, limit: number): Task[] {
  const surplus = seat.tasks.length - limit;
  if (surplus <= 0) return [];
  return seat.tasks.filter(isHistory).slice(0, surplus);
}

function isHistory(task: Task): boolean {
  if (isWanted(task)) return false;
  return isTerminal(task.status.state) || isBefore(task.status.state, 'assigned');
}

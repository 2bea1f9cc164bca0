/** Which tasks may be deleted for good. */
import type { Service } from '../../common/model/service.ts';
import { isUnderWay } from '../../common/model/service-update.ts';
import type { Task } from '../../common/model/task.ts';
import { isBefore, isTerminal } from '../../common/model/task-state.ts';
import { hasNoRoom, isWanted, type Seat } from './seat.ts';

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
export function historyLimit(service: Service, clusterLimit: number): number | null {
  // The restart policy counts its attempts from these very tasks.
  const attempts = service.spec.task.restart?.maxAttempts ?? 0;
  if (attempts > 0) return attempts + 1;
  return clusterLimit < 0 ? null : clusterLimit;
}

/**
 * What tells how an update that is under way fares in the seat, beyond any limit: its own task there, which may have failed
 * and been replaced, and the last one before that. A new leader knows the update's failures by these alone.
 */
export function updateWitnesses({ tasks }: Seat, service: Service): readonly Task[] {
  if (!isUnderWay(service)) return [];
  const lastOld = tasks.findLastIndex((task) => task.specVersion !== service.specVersion);
  return lastOld < 0 ? [] : tasks.slice(lastOld, lastOld + 2);
}

/**
 * The oldest tasks of a seat beyond the limit that have ended or never began. Never those that the
 * orchestrator reads: the newest, which says whether the seat is settled; the one before while the
 * newest waits for its restart delay, or for room (then it may have moved); what the present iteration of a job has
 * completed.
 * @param iteration of a job; null for other services
 */
export function surplusTasks(seat: Seat, limit: number, iteration: number | null): Task[] {
  const newest = seat.tasks.at(-1);
  const read = newest && (newest.desiredState === 'ready' || hasNoRoom(newest)) ? 2 : 1;
  const surplus = seat.tasks.length - Math.max(limit, read);
  if (surplus <= 0) return [];
  const older = seat.tasks.slice(0, -read);
  return older.filter((task) => isHistory(task, iteration)).slice(0, surplus);
}

function isHistory(task: Task, iteration: number | null): boolean {
  if (isWanted(task) && task.jobIteration === iteration) return false;
  return isTerminal(task.status.state) || isBefore(task.status.state, 'assigned');
}

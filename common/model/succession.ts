/** Of two tasks of one seat: which has ended before the other runs, so that both can have one place. */
import { hasFixedAddress } from './fixed-address.ts';
import type { Service } from './service.ts';
import { updateConfigOf } from './service-update.ts';
import type { MoveOrder, Task } from './task.ts';
import { isTerminal } from './task-state.ts';

/** Prepared at most until those of its seat that it follows have ended. */
export function waitsForSeat({ desiredState, status }: Task): boolean {
  return desiredState === 'ready' && !isTerminal(status.state);
}

/**
 * Whether `mate`, of the same seat, has ended before `task` runs. What was told to stop has, whatever the order in
 * force: only what serves on may, start-first, run beside its successor.
 * @param service theirs; undefined = it is gone
 */
export function endsBefore(mate: Task, task: Task, service: Service | undefined): boolean {
  if (!waitsForSeat(task) || waitsForSeat(mate)) return false;
  if (mate.desiredState === 'shutdown' || mate.desiredState === 'remove') return true;
  return task.hasForerunnersPlace || orderOf(mate, service) === 'stop-first';
}

function orderOf({ moving, spec }: Task, service: Service | undefined): MoveOrder {
  if (hasFixedAddress(spec)) return 'stop-first';
  return moving ?? (service ? updateConfigOf(service).order : 'stop-first');
}

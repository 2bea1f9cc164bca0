/**
 * Tasks that wait for the others of their seat to end before they run (desired state `ready`): those are as good as gone
 * to the decision where they go. Reads the seats from the store; knows nothing of why they wait.
 */
import type { ServiceId, TaskId } from '../../common/model/ids.ts';
import type { Task } from '../../common/model/task.ts';
import { isTerminal } from '../../common/model/task-state.ts';
import type { ReadView } from '../store/types.ts';
import type { NodeTable } from './node-table.ts';
import { isActive } from './place.ts';

/** What the successors of one service find when they come. */
export interface Succession {
  /**
   * Active tasks of the service that leave before, by node index; nodes without one are not in it. Those that are to go
   * elsewhere are not among them: their successors shall find them there.
   */
  readonly leaving: ReadonlyMap<number, number>;
  /** the tasks whose places a task may have, as it does not run before they have ended */
  before(task: Task): readonly TaskId[];
}

export const NO_SUCCESSION: Succession = { leaving: new Map(), before: () => [] };

export class Successors {
  readonly #byService = new Map<ServiceId, Map<TaskId, Task>>();

  put(task: Task): void {
    const known = this.#byService.get(task.serviceId);
    if (!isSuccessor(task)) {
      if (known) this.remove(task);
    } else if (known) {
      known.set(task.id, task);
    } else {
      this.#byService.set(task.serviceId, new Map([[task.id, task]]));
    }
  }

  remove({ id, serviceId }: Pick<Task, 'id' | 'serviceId'>): void {
    const known = this.#byService.get(serviceId);
    if (known?.delete(id) && known.size === 0) this.#byService.delete(serviceId);
  }

  of(serviceId: ServiceId, view: ReadView, table: NodeTable): Succession {
    const successors = this.#byService.get(serviceId);
    if (!successors) return NO_SUCCESSION;
    const seen = new Set<TaskId>();
    const leaving = new Map<number, number>();
    for (const successor of successors.values()) {
      for (const mate of seatMates(successor, view)) {
        const index = table.placeOf(mate.id);
        if (index === undefined || seen.has(mate.id)) continue;
        if (!isActive(mate) || isSuccessor(mate) || mate.moving !== null) continue;
        seen.add(mate.id);
        leaving.set(index, (leaving.get(index) ?? 0) + 1);
      }
    }
    return { leaving, before: (task) => placesBefore(task, view) };
  }
}

/** Tasks that end before `task` runs, but for those that are to go elsewhere: nobody follows these on their own node. */
export function placesBefore(task: Task, view: ReadView): readonly TaskId[] {
  if (!isSuccessor(task)) return [];
  return seatMates(task, view)
    .filter((mate) => mate.moving === null && !isSuccessor(mate))
    .map(({ id }) => id);
}

function isSuccessor({ desiredState, status }: Task): boolean {
  return desiredState === 'ready' && !isTerminal(status.state);
}

function seatMates({ id, serviceId, slot, nodeId }: Task, view: ReadView): readonly Task[] {
  if (slot !== null) return view.tasksBySlot(serviceId, slot).filter((other) => other.id !== id);
  if (nodeId === null) return [];
  return view
    .tasksByNode(nodeId)
    .filter((other) => other.id !== id && other.serviceId === serviceId);
}

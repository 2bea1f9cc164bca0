/**
 * Tasks that wait for others of their seat to end before they run: those are as good as gone to the decision where they
 * go. Reads the seats from the store; knows nothing of why they wait.
 */
import type { ServiceId, TaskId } from '../../common/model/ids.ts';
import { endsBefore, waitsForSeat } from '../../common/model/succession.ts';
import type { Task } from '../../common/model/task.ts';
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

/** Of tasks that may go to any node: those of global services are judged on their own. */
export class Successors {
  readonly #byService = new Map<ServiceId, SlotsOfService>();

  /** Takes note of a task's present state. */
  put(task: Task): void {
    const { id, serviceId, slot } = task;
    if (slot === null) return;
    if (!waitsForSeat(task)) {
      this.remove(task);
      return;
    }
    let slots = this.#byService.get(serviceId);
    if (!slots) {
      slots = new SlotsOfService(serviceId);
      this.#byService.set(serviceId, slots);
    }
    slots.add(slot, id);
  }

  remove({ id, serviceId, slot }: Pick<Task, 'id' | 'serviceId' | 'slot'>): void {
    const slots = slot === null ? undefined : this.#byService.get(serviceId);
    if (!slots) return;
    slots.remove(slot!, id);
    if (slots.isEmpty) this.#byService.delete(serviceId);
  }

  /** The order in force may be another. */
  noteService(id: ServiceId): void {
    this.#byService.get(id)?.noteAll();
  }

  /** Its index may become another's. */
  noteNodeGone(): void {
    for (const slots of this.#byService.values()) slots.noteAll();
  }

  /** Some task of the service waits for others. */
  has(serviceId: ServiceId): boolean {
    return this.#byService.has(serviceId);
  }

  of(serviceId: ServiceId, view: ReadView, table: NodeTable): Succession {
    const slots = this.#byService.get(serviceId);
    if (!slots) return NO_SUCCESSION;
    return {
      leaving: slots.leaving(view, table),
      before: (task) => placesBefore(task, view),
    };
  }
}

/**
 * The slots of one service in which a task waits.
 * INVARIANT: `#counts` is the sum of `#left`; what is in `#left` of slots that are not stale is so.
 */
class SlotsOfService {
  readonly #serviceId: ServiceId;
  readonly #waiting = new Map<number, Set<TaskId>>();
  /** slots in which something changed since they were counted */
  readonly #stale = new Set<number>();
  /** index of the node of each task that leaves, by slot */
  readonly #left = new Map<number, readonly number[]>();
  readonly #counts = new Map<number, number>();

  constructor(serviceId: ServiceId) {
    this.#serviceId = serviceId;
  }

  get isEmpty(): boolean {
    return this.#waiting.size === 0;
  }

  add(slot: number, taskId: TaskId): void {
    const tasks = this.#waiting.get(slot);
    if (tasks) tasks.add(taskId);
    else this.#waiting.set(slot, new Set([taskId]));
    this.#stale.add(slot);
  }

  /** A task that waits no more, or that others may wait for. */
  remove(slot: number, taskId: TaskId): void {
    const tasks = this.#waiting.get(slot);
    if (!tasks) return;
    tasks.delete(taskId);
    if (tasks.size === 0) this.#waiting.delete(slot);
    this.#stale.add(slot);
  }

  noteAll(): void {
    for (const slot of this.#waiting.keys()) this.#stale.add(slot);
  }

  leaving(view: ReadView, table: NodeTable): ReadonlyMap<number, number> {
    for (const slot of this.#stale) {
      for (const index of this.#left.get(slot) ?? []) this.#count(index, -1);
      const left = this.#waiting.has(slot) ? this.#leavingIn(slot, view, table) : [];
      for (const index of left) this.#count(index, 1);
      if (left.length > 0) this.#left.set(slot, left);
      else this.#left.delete(slot);
    }
    this.#stale.clear();
    return this.#counts;
  }

  #leavingIn(slot: number, view: ReadView, table: NodeTable): number[] {
    const service = view.get('service', this.#serviceId);
    const inSlot = view.tasksBySlot(this.#serviceId, slot);
    const successors = inSlot.filter(waitsForSeat);
    return inSlot.flatMap((mate) => {
      if (!isActive(mate) || mate.moving !== null) return [];
      const leaves = successors.some((successor) => endsBefore(mate, successor, service));
      return (leaves ? table.placeOf(mate.id) : undefined) ?? [];
    });
  }

  #count(index: number, amount: number): void {
    const next = (this.#counts.get(index) ?? 0) + amount;
    if (next === 0) this.#counts.delete(index);
    else this.#counts.set(index, next);
  }
}

/** Tasks that end before `task` runs, but for those that are to go elsewhere: nobody follows these on their own node. */
export function placesBefore(task: Task, view: ReadView): readonly TaskId[] {
  if (!waitsForSeat(task)) return [];
  const service = view.get('service', task.serviceId);
  return seatMates(task, view)
    .filter((mate) => mate.moving === null && endsBefore(mate, task, service))
    .map(({ id }) => id);
}

function seatMates({ id, serviceId, slot, nodeId }: Task, view: ReadView): readonly Task[] {
  if (slot !== null) return view.tasksBySlot(serviceId, slot).filter((other) => other.id !== id);
  if (nodeId === null) return [];
  return view
    .tasksByNode(nodeId)
    .filter((other) => other.id !== id && other.serviceId === serviceId);
}

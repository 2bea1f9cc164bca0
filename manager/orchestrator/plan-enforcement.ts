/** Which tasks of a node it can no longer have: its labels or resources changed. */
import { nodeMeetsConstraints, storedConstraints } from '../../common/model/constraint.ts';
import type { TaskId } from '../../common/model/ids.ts';
import type { Node } from '../../common/model/node.ts';
import type { Resources, Service, TaskSpec } from '../../common/model/service.ts';
import { endsBefore, waitsForSeat } from '../../common/model/succession.ts';
import type { Task } from '../../common/model/task.ts';
import { isBefore, isTerminal } from '../../common/model/task-state.ts';
import { seatKey } from './seat.ts';

/** Docker's words. Tells a rejection of ours from one by the task's agent. */
export const ENFORCED_MESSAGE = 'task rejected by constraint enforcer';

/** @param service looks up a task's service, whose present constraints count beside the task's own copy */
export function noncompliantTasks(
  node: Node,
  tasks: readonly Task[],
  service: (task: Task) => Service | undefined,
): Task[] {
  // Drained nodes are emptied by the orchestrator; paused ones keep what they have.
  if (node.spec.availability !== 'active') return [];
  const budget = new NodeBudget(node);
  const present = tasks.filter(isPresent);
  const sharing = seatSharers(present, service);
  return present.filter((task) => {
    if (!meetsConstraints(node, task, service(task))) return true;
    return !budget.take(task, sharing.has(task.id) ? seatKey(task) : null);
  });
}

/** Those that wait for another of these to end, whose place they have, and those others. */
function seatSharers(
  present: readonly Task[],
  service: (task: Task) => Service | undefined,
): ReadonlySet<TaskId> {
  const waiting = new Map(present.filter(waitsForSeat).map((task) => [seatKey(task), task]));
  if (waiting.size === 0) return NOBODY;
  const sharing = new Set<TaskId>();
  for (const mate of present) {
    const successor = waiting.get(seatKey(mate));
    if (successor && endsBefore(mate, successor, service(mate))) {
      sharing.add(mate.id).add(successor.id);
    }
  }
  return sharing;
}

const NOBODY: ReadonlySet<TaskId> = new Set();

/** True when a task that just came to `node` may not be there: the node changed on its way. */
export function isMisplaced(node: Node, task: Task, service: Service | undefined): boolean {
  if (node.spec.availability !== 'active' || !isPresent(task)) return false;
  return !meetsConstraints(node, task, service);
}

/**
 * By the service's present constraints: a task that met them when they came was not replaced, and still has the former
 * ones. While an update may still replace it, it may stay by its own, too: or whichever leader looks at all nodes first
 * would end at once what the update replaces one by one, and keeps while it is paused or finds no node.
 */
function meetsConstraints(node: Node, task: Task, service: Service | undefined): boolean {
  if (!service) return meets(node, task.spec);
  return (
    meets(node, service.spec.task) || (isLeftToUpdate(task, service) && meets(node, task.spec))
  );
}

function isLeftToUpdate({ specVersion }: Task, { specVersion: present, updateStatus }: Service) {
  const isOver =
    updateStatus?.state === 'completed' || updateStatus?.state === 'rollback_completed';
  return specVersion !== present && !isOver;
}

function meets(node: Node, { placement: { constraints } }: TaskSpec): boolean {
  return constraints.length === 0 || nodeMeetsConstraints(node, storedConstraints(constraints));
}

function isPresent({ desiredState, status }: Task): boolean {
  if (desiredState === 'shutdown' || desiredState === 'remove') return false;
  return !isBefore(status.state, 'assigned') && !isTerminal(status.state);
}

/** What the node says it has, less what the tasks looked at so far reserve. */
class NodeBudget {
  readonly #known: boolean;
  readonly #free: Map<string, number>;
  /** what is taken for shared seats: of the tasks of one the largest, resource by resource */
  readonly #seats = new Map<string, ReadonlyMap<string, number>>();

  constructor({ description }: Node) {
    this.#known = description !== null;
    this.#free = amounts(description ?? { nanoCpus: 0, memoryBytes: 0, generic: [] });
  }

  /**
   * False when the task's reservations no longer fit; nothing is taken then.
   * @param seat that it shares with others, which run one after the other; null = none
   */
  take({ spec }: Task, seat: string | null): boolean {
    if (!this.#known) return true;
    const wanted = amounts(spec.resources.reservations);
    const taken = (seat === null ? undefined : this.#seats.get(seat)) ?? NOTHING;
    const more = new Map(
      [...wanted].map(([kind, amount]) => [kind, Math.max(0, amount - (taken.get(kind) ?? 0))]),
    );
    for (const [kind, amount] of more) if (amount > this.#freeOf(kind)) return false;
    for (const [kind, amount] of more) this.#free.set(kind, this.#freeOf(kind) - amount);
    if (seat !== null) {
      const sum = [...more].map(([kind, amount]): [string, number] => {
        return [kind, (taken.get(kind) ?? 0) + amount];
      });
      this.#seats.set(seat, new Map([...taken, ...sum]));
    }
    return true;
  }

  #freeOf(kind: string): number {
    return this.#free.get(kind) ?? 0;
  }
}

const NOTHING: ReadonlyMap<string, number> = new Map();

/** By resource; names of generic ones begin with `generic/`. */
function amounts({ nanoCpus, memoryBytes, generic }: Resources): Map<string, number> {
  const counts = new Map([
    ['cpu', nanoCpus],
    ['memory', memoryBytes],
  ]);
  for (const { kind, value } of generic) {
    const key = `generic/${kind}`;
    counts.set(key, (counts.get(key) ?? 0) + (typeof value === 'number' ? value : 1));
  }
  return counts;
}

/** Which tasks of a node it can no longer have: its labels or resources changed. */
import { nodeMeetsConstraints, storedConstraints } from '../../common/model/constraint.ts';
import type { Node } from '../../common/model/node.ts';
import type { GenericResource, Service, TaskSpec } from '../../common/model/service.ts';
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
  // One that waits for another of its seat to end has the place of that: together they count once.
  const shared = new Set(present.filter(waits).map(seatKey));
  const counted = new Set<string>();
  return present.filter((task) => {
    if (!meetsConstraints(node, task, service(task))) return true;
    const key = seatKey(task);
    if (counted.has(key) && shared.has(key)) return false;
    if (!budget.take(task)) return true;
    counted.add(key);
    return false;
  });
}

function waits({ desiredState }: Task): boolean {
  return desiredState === 'ready';
}

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
  #nanoCpus: number;
  #memoryBytes: number;
  readonly #generic: Map<string, number>;

  constructor({ description }: Node) {
    this.#known = description !== null;
    this.#nanoCpus = description?.nanoCpus ?? 0;
    this.#memoryBytes = description?.memoryBytes ?? 0;
    this.#generic = countByKind(description?.generic ?? []);
  }

  /** False when the task's reservations no longer fit; nothing is taken then. */
  take({ spec }: Task): boolean {
    if (!this.#known) return true;
    const { nanoCpus, memoryBytes, generic } = spec.resources.reservations;
    const counts = countByKind(generic);
    if (nanoCpus > this.#nanoCpus || memoryBytes > this.#memoryBytes) return false;
    for (const [kind, count] of counts) if (count > (this.#generic.get(kind) ?? 0)) return false;
    this.#nanoCpus -= nanoCpus;
    this.#memoryBytes -= memoryBytes;
    for (const [kind, count] of counts) {
      this.#generic.set(kind, (this.#generic.get(kind) ?? 0) - count);
    }
    return true;
  }
}

function countByKind(resources: readonly GenericResource[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const { kind, value } of resources) {
    counts.set(kind, (counts.get(kind) ?? 0) + (typeof value === 'number' ? value : 1));
  }
  return counts;
}

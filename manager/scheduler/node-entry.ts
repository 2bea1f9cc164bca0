/** One node as the scheduler sees it: what is free there, and which tasks hold the rest. */
import type { ServiceId, TaskId } from '../../common/model/ids.ts';
import type { Node } from '../../common/model/node.ts';
import type { Task } from '../../common/model/task.ts';
import { GenericPool } from './generic-pool.ts';

/** Failures older than this are forgiven (swarm-behaviour 3.3). */
export const FAILURE_WINDOW_MS = 5 * 60_000;
/** So many recent failures make a node second choice. */
export const FAILURES_TOLERATED = 5;
/** Newest kept for each service version; more make no difference. */
const FAILURES_KEPT_MAX = 64;

/** A task holds its place until it has ended; it counts as active only while it is wanted. */
export function isActive({ desiredState }: Task): boolean {
  return desiredState !== 'shutdown' && desiredState !== 'remove';
}

/** Tasks of one service and spec version are alike: they are decided, and judged, together. */
export function groupKey({ serviceId, specVersion }: Task): string {
  return `${serviceId}/${specVersion}`;
}

export function hostPortKeys(task: Task): string[] {
  const ports = task.endpoint?.ports ?? [];
  return ports
    .filter(({ publishMode, publishedPort }) => publishMode === 'host' && publishedPort !== 0)
    .map(({ protocol, publishedPort }) => `${protocol}/${publishedPort}`);
}

export class NodeEntry {
  /** place in the table: breaks ties */
  readonly index: number;
  #node: Node;
  freeNanoCpus = 0;
  freeMemoryBytes = 0;
  generic = new GenericPool([]);
  activeTasks = 0;
  readonly tasks = new Map<TaskId, Task>();
  readonly #activeByService = new Map<ServiceId, number>();
  readonly #hostPorts = new Map<string, number>();
  readonly #failuresMs = new Map<string, number[]>();

  constructor(node: Node, index: number) {
    this.index = index;
    this.#node = node;
    this.node = node;
  }

  get node(): Node {
    return this.#node;
  }

  /** A new description: what is free is counted afresh. */
  set node(node: Node) {
    this.#node = node;
    this.freeNanoCpus = node.description?.nanoCpus ?? 0;
    this.freeMemoryBytes = node.description?.memoryBytes ?? 0;
    this.generic = new GenericPool(node.description?.generic ?? []);
    for (const task of this.tasks.values()) this.#reserve(task, -1);
  }

  activeOf(serviceId: ServiceId): number {
    return this.#activeByService.get(serviceId) ?? 0;
  }

  usesHostPort(key: string): boolean {
    return this.#hostPorts.has(key);
  }

  /** Adds the task, or replaces what is known of it. */
  put(task: Task): void {
    const known = this.tasks.get(task.id);
    if (known) this.#count(known, -1);
    if (known) this.#reserve(known, 1);
    this.tasks.set(task.id, task);
    this.#count(task, 1);
    this.#reserve(task, -1);
  }

  /** False when it was not here. */
  remove(taskId: TaskId): boolean {
    const known = this.tasks.get(taskId);
    if (!known) return false;
    this.tasks.delete(taskId);
    this.#count(known, -1);
    this.#reserve(known, 1);
    return true;
  }

  noteFailure(task: Task, nowMs: number): void {
    const key = groupKey(task);
    const times = this.#failuresMs.get(key) ?? [];
    times.push(nowMs);
    if (times.length > FAILURES_KEPT_MAX) times.shift();
    this.#failuresMs.set(key, times);
  }

  /** Failures of the group within the window, monotonic ms. */
  failuresOf(key: string, nowMs: number): number {
    const times = this.#failuresMs.get(key);
    if (!times) return 0;
    while (times.length > 0 && times[0]! <= nowMs - FAILURE_WINDOW_MS) times.shift();
    if (times.length === 0) this.#failuresMs.delete(key);
    return times.length;
  }

  #count(task: Task, sign: 1 | -1): void {
    if (isActive(task)) {
      this.activeTasks += sign;
      addTo(this.#activeByService, task.serviceId, sign);
    }
    for (const key of hostPortKeys(task)) addTo(this.#hostPorts, key, sign);
  }

  #reserve(task: Task, sign: 1 | -1): void {
    const { nanoCpus, memoryBytes } = task.spec.resources.reservations;
    this.freeNanoCpus += sign * nanoCpus;
    this.freeMemoryBytes += sign * memoryBytes;
    if (sign < 0) this.generic.take(task.assignedGenericResources);
    else this.generic.release(task.assignedGenericResources);
  }
}

function addTo<K>(counts: Map<K, number>, key: K, amount: number): void {
  const next = (counts.get(key) ?? 0) + amount;
  if (next === 0) counts.delete(key);
  else counts.set(key, next);
}

/**
 * All nodes with what is free on them, kept up to date change by change: a cache of the store. Nodes go
 * by a small index into arrays of numbers, for thousands of them are looked at for each group of tasks.
 */
import { assert } from '../../common/base/assert.ts';
import { ShardedMap } from '../../common/base/sharded-map.ts';
import type { NetworkId, NodeId, ServiceId, TaskId } from '../../common/model/ids.ts';
import { concernsPlacement, type Node } from '../../common/model/node.ts';
import type { GenericResource } from '../../common/model/service.ts';
import type { Task } from '../../common/model/task.ts';
import { FailureHistory } from './failure-history.ts';
import { GenericPool } from './generic-pool.ts';
import { NodeSets } from './node-set.ts';
import { holdsPlace, hostPortKeys, type Place, placeOf, samePlace } from './place.ts';

const NO_COUNTS: ReadonlyMap<number, number> = new Map();

/**
 * INVARIANTS
 * - An index belongs to one node until that is removed; then it is given to another.
 * - `free...` is what the node described less what its places hold; below 0 when it shrank.
 */
export class NodeTable {
  readonly #indexes = new Map<NodeId, number>();
  readonly #nodes: (Node | null)[] = [];
  readonly #unused: number[] = [];
  /** of nodes that have or had some, or were asked */
  readonly #generic: (GenericPool | null)[] = [];
  /** tasks by host port, for nodes where there are some */
  readonly #hostPorts: (Map<string, number> | null)[] = [];
  readonly #places = new ShardedMap<TaskId, Place>();
  readonly #activeByService = new Map<ServiceId, Map<number, number>>();
  /** of services that have active tasks, both ways */
  readonly #serviceByName = new Map<string, ServiceId>();
  readonly #nameOfService = new Map<ServiceId, string>();
  /** Names of services that tasks are placed beside: a place for one of these relieves its node. */
  readonly companionNames = new Set<string>();
  activeTasks = new Int32Array(64);
  freeNanoCpus = new Float64Array(64);
  freeMemoryBytes = new Float64Array(64);
  readonly failures = new FailureHistory();
  readonly sets = new NodeSets((index) => this.#nodes[index] !== null);
  /** what networks need, for the plugin filter */
  readonly networkPlugins = new Map<NetworkId, readonly string[]>();
  /** nodes where something became free or that became another since this was last cleared */
  readonly relieved = new Set<number>();
  #awaitsUnknown = false;

  /** Indexes are below this; some may have no node. */
  get slots(): number {
    return this.#nodes.length;
  }

  get size(): number {
    return this.#indexes.size;
  }

  indexOf(nodeId: NodeId): number | undefined {
    return this.#indexes.get(nodeId);
  }

  /** The node with this index, if there is one. */
  nodeAt(index: number): Node | null {
    return this.#nodes[index] ?? null;
  }

  /** The node with this index, which there is. */
  node(index: number): Node {
    const node = this.#nodes[index];
    assert(node, 'the index of a node is asked for, and has one');
    return node;
  }

  /** Indexes of all nodes, in the order in which they came unless some went. */
  *indexes(): Generator<number> {
    for (let i = 0; i < this.#nodes.length; i++) if (this.#nodes[i]) yield i;
  }

  /**
   * Whether nodes of unknown state that were here before are expected to come back: then they pass as
   * ready, so that tasks are not heaped upon those that registered first.
   */
  get awaitsUnknown(): boolean {
    return this.#awaitsUnknown;
  }

  set awaitsUnknown(awaits: boolean) {
    if (awaits === this.#awaitsUnknown) return;
    this.#awaitsUnknown = awaits;
    for (const index of this.indexes()) {
      if (this.node(index).status.state === 'unknown') this.#noteNode(index);
    }
  }

  /** It has not registered with this leader yet, and is still expected to. */
  isAwaited(index: number): boolean {
    const { status, description } = this.node(index);
    return this.#awaitsUnknown && status.state === 'unknown' && description !== null;
  }

  generic(index: number): GenericPool {
    const pool = this.#generic[index] ?? new GenericPool([]);
    this.#generic[index] = pool;
    return pool;
  }

  usesHostPort(index: number, key: string): boolean {
    return this.#hostPorts[index]?.has(key) ?? false;
  }

  /** Active tasks of the service by node index; nodes without one are not in it. */
  activeOf(serviceId: ServiceId): ReadonlyMap<number, number> {
    return this.#activeByService.get(serviceId) ?? NO_COUNTS;
  }

  /** Whether a task of the service with this name is there, and wanted. */
  hasTaskOf(serviceName: string, index: number): boolean {
    const serviceId = this.#serviceByName.get(serviceName);
    return serviceId !== undefined && this.activeOf(serviceId).has(index);
  }

  putNode(node: Node): void {
    const index = this.#indexes.get(node.id) ?? this.#newIndex(node.id);
    const previous = this.#nodes[index] ?? null;
    this.#nodes[index] = node;
    const [now, before] = [node.description, previous?.description];
    this.freeNanoCpus[index]! += (now?.nanoCpus ?? 0) - (before?.nanoCpus ?? 0);
    this.freeMemoryBytes[index]! += (now?.memoryBytes ?? 0) - (before?.memoryBytes ?? 0);
    if (now !== before && (this.#generic[index] || now?.generic.length)) {
      this.generic(index).advertise(now?.generic ?? []);
    }
    if (!previous || concernsPlacement(node, previous)) this.#noteNode(index);
  }

  removeNode(nodeId: NodeId): void {
    const index = this.#indexes.get(nodeId);
    if (index === undefined) return;
    for (const [taskId, place] of this.#places.entries()) {
      if (place.index === index) this.removeTask(taskId);
    }
    this.#indexes.delete(nodeId);
    this.#nodes[index] = null;
    this.#unused.push(index);
    this.failures.forgetNode(index);
    this.#noteNode(index);
  }

  /** Where the task is and what it holds. */
  putTask(task: Task): void {
    const index = holdsPlace(task) ? this.#indexes.get(task.nodeId!) : undefined;
    if (index === undefined) {
      this.removeTask(task.id);
      return;
    }
    this.#put(task, placeOf(task, index));
  }

  /** A place for a task that the store does not show there yet. */
  book(task: Task, index: number, generic: readonly GenericResource[]): void {
    this.#put(task, placeOf(task, index, generic));
  }

  /** Index of the node where the task has a place. */
  placeOf(taskId: TaskId): number | undefined {
    return this.#places.get(taskId)?.index;
  }

  /** What `decide` says, and books, as if these tasks had ended already. */
  without<T>(taskIds: readonly TaskId[], decide: () => T): T {
    const places = taskIds.flatMap((taskId) => this.#places.get(taskId) ?? []);
    for (const place of places) this.#count(place, -1);
    try {
      return decide();
    } finally {
      for (const place of places) this.#count(place, 1);
    }
  }

  removeTask(taskId: TaskId): void {
    const place = this.#places.get(taskId);
    if (!place) return;
    this.#places.delete(taskId);
    this.#count(place, -1);
    this.#forgetNameOf(place.serviceId);
    this.relieved.add(place.index);
  }

  #put({ id: taskId, serviceAnnotations: { name } }: Task, place: Place): void {
    const known = this.#places.get(taskId);
    if (known) {
      if (samePlace(known, place)) return;
      this.#count(known, -1);
      if (known.index !== place.index || known.active !== place.active) {
        this.relieved.add(known.index);
      }
    }
    this.#places.set(taskId, place);
    this.#count(place, 1);
    if (!place.active) {
      this.#forgetNameOf(place.serviceId);
      return;
    }
    if (this.#serviceByName.get(name) !== place.serviceId) {
      this.#serviceByName.set(name, place.serviceId);
      this.#nameOfService.set(place.serviceId, name);
    }
    if (this.companionNames.has(name)) this.relieved.add(place.index);
  }

  #count(place: Place, sign: 1 | -1): void {
    const { index } = place;
    this.freeNanoCpus[index]! -= sign * place.nanoCpus;
    this.freeMemoryBytes[index]! -= sign * place.memoryBytes;
    if (place.generic.length > 0) {
      if (sign > 0) this.generic(index).take(place.generic);
      else this.generic(index).release(place.generic);
    }
    for (const key of hostPortKeys(place.endpoint).taken) this.#countPort(index, key, sign);
    if (!place.active) return;
    this.activeTasks[index]! += sign;
    const counts = this.#activeByService.get(place.serviceId) ?? new Map<number, number>();
    addTo(counts, index, sign);
    if (counts.size === 0) this.#activeByService.delete(place.serviceId);
    else if (counts.size === 1) this.#activeByService.set(place.serviceId, counts);
  }

  /** Not while it is only thought away: see `without`. */
  #forgetNameOf(serviceId: ServiceId): void {
    if (this.#activeByService.has(serviceId)) return;
    const name = this.#nameOfService.get(serviceId);
    this.#nameOfService.delete(serviceId);
    if (name !== undefined && this.#serviceByName.get(name) === serviceId) {
      this.#serviceByName.delete(name);
    }
  }

  #countPort(index: number, key: string, sign: 1 | -1): void {
    const ports = this.#hostPorts[index] ?? new Map<string, number>();
    addTo(ports, key, sign);
    this.#hostPorts[index] = ports.size > 0 ? ports : null;
  }

  #newIndex(nodeId: NodeId): number {
    const index = this.#unused.pop() ?? this.#nodes.length;
    this.#indexes.set(nodeId, index);
    this.#nodes[index] = null;
    this.#generic[index] = null;
    this.#hostPorts[index] = null;
    if (index >= this.activeTasks.length) this.#grow();
    this.activeTasks[index] = 0;
    this.freeNanoCpus[index] = 0;
    this.freeMemoryBytes[index] = 0;
    return index;
  }

  #grow(): void {
    const length = this.activeTasks.length * 2;
    const [tasks, cpus, memory] = [this.activeTasks, this.freeNanoCpus, this.freeMemoryBytes];
    this.activeTasks = new Int32Array(length);
    this.activeTasks.set(tasks);
    this.freeNanoCpus = new Float64Array(length);
    this.freeNanoCpus.set(cpus);
    this.freeMemoryBytes = new Float64Array(length);
    this.freeMemoryBytes.set(memory);
  }

  #noteNode(index: number): void {
    this.sets.noteChange(index, this.slots);
    this.relieved.add(index);
  }
}

function addTo<K>(counts: Map<K, number>, key: K, amount: number): void {
  const next = (counts.get(key) ?? 0) + amount;
  if (next === 0) counts.delete(key);
  else counts.set(key, next);
}

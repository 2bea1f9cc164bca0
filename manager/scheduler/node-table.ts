/** All nodes with the tasks they hold, kept up to date change by change: a cache of the store. */
import type { NetworkId, NodeId, TaskId } from '../../common/model/ids.ts';
import type { Node } from '../../common/model/node.ts';
import type { Task } from '../../common/model/task.ts';
import { isBefore, isTerminal } from '../../common/model/task-state.ts';
import { NodeEntry } from './node-entry.ts';

export class NodeTable {
  readonly #entries = new Map<NodeId, NodeEntry>();
  readonly #homes = new Map<TaskId, NodeEntry>();
  /** drivers of networks, for the plugin filter */
  readonly networkDrivers = new Map<NetworkId, string>();
  #nextIndex = 0;

  get entries(): Iterable<NodeEntry> {
    return this.#entries.values();
  }

  get size(): number {
    return this.#entries.size;
  }

  get(nodeId: NodeId): NodeEntry | undefined {
    return this.#entries.get(nodeId);
  }

  putNode(node: Node): void {
    const entry = this.#entries.get(node.id);
    if (entry) entry.node = node;
    else this.#entries.set(node.id, new NodeEntry(node, this.#nextIndex++));
  }

  removeNode(nodeId: NodeId): void {
    const entry = this.#entries.get(nodeId);
    if (!entry) return;
    for (const taskId of entry.tasks.keys()) this.#homes.delete(taskId);
    this.#entries.delete(nodeId);
  }

  /** Where the task is and what it holds. True when something became free by it. */
  putTask(task: Task): boolean {
    if (!holdsPlace(task)) return this.removeTask(task.id);
    const home = this.#homes.get(task.id);
    const entry = this.#entries.get(task.nodeId!);
    if (home && home !== entry) this.removeTask(task.id);
    if (!entry) return false;
    const wasActive = entry.activeTasks;
    entry.put(task);
    this.#homes.set(task.id, entry);
    return entry.activeTasks < wasActive;
  }

  /** True when it held a place. */
  removeTask(taskId: TaskId): boolean {
    const home = this.#homes.get(taskId);
    if (!home) return false;
    this.#homes.delete(taskId);
    return home.remove(taskId);
  }
}

/** From the scheduler's word until the task's end, wanted or not: its resources are in use. */
function holdsPlace(task: Task): boolean {
  const { state } = task.status;
  return task.nodeId !== null && !isBefore(state, 'assigned') && !isTerminal(state);
}

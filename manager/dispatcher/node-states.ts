/**
 * What the dispatcher writes of nodes: registered and ready, unknown to a new leader, down; and the end of
 * the tasks of one that stayed down. Every write looks again whether the node is connected after all.
 */
import type { Clock } from '../../common/base/clock.ts';
import { SkepError } from '../../common/base/errors.ts';
import type { NodeId, TaskId } from '../../common/model/ids.ts';
import type { NodeDescription, NodeStatus } from '../../common/model/node.ts';
import { isBefore, isTerminal } from '../../common/model/task-state.ts';
import type { Store, WriteTx } from '../store/types.ts';

export interface NodeStatesOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly isConnected: (nodeId: NodeId) => boolean;
}

export class NodeStates {
  readonly #options: NodeStatesOptions;

  constructor(options: NodeStatesOptions) {
    this.#options = options;
  }

  /** Ready, with what it says of itself. Rejects with `not-found` for a node that is not in the cluster. */
  async register(nodeId: NodeId, peerAddress: string, description: NodeDescription): Promise<void> {
    const status: NodeStatus = { state: 'ready', message: '', address: peerAddress };
    await this.#options.store.update((tx) => {
      const node = tx.get('node', nodeId);
      if (!node) throw new SkepError('not-found', `agent session: node ${nodeId} not registered`);
      if (sameJson(node.description, description) && sameJson(node.status, status)) return;
      tx.update('node', { ...node, description, status });
    });
  }

  /** A new leader knows nothing about who is alive: ready nodes are unknown until they register. */
  async forgetLiveness(nodeIds: readonly NodeId[]): Promise<void> {
    const { store, isConnected } = this.#options;
    await store.batch(nodeIds, (tx, nodeId) => {
      const node = tx.get('node', nodeId);
      if (node?.status.state !== 'ready' || isConnected(nodeId)) return;
      const message = 'node moved to unknown: leadership changed';
      tx.update('node', { ...node, status: { ...node.status, state: 'unknown', message } });
    });
  }

  async markDown(nodeIds: readonly NodeId[], signal: AbortSignal): Promise<void> {
    const { store, isConnected } = this.#options;
    await store.batch(
      nodeIds,
      (tx, nodeId) => {
        const node = tx.get('node', nodeId);
        if (!node || node.status.state === 'down' || isConnected(nodeId)) return;
        const message = 'heartbeat failure';
        tx.update('node', { ...node, status: { ...node.status, state: 'down', message } });
      },
      signal,
    );
  }

  async orphanTasks(nodeId: NodeId, signal: AbortSignal): Promise<void> {
    const { store } = this.#options;
    const tasks = store.view((view) => view.tasksByNode(nodeId));
    await store.batch(tasks, (tx, { id }) => this.#orphanTask(tx, nodeId, id), signal);
  }

  #orphanTask(tx: WriteTx, nodeId: NodeId, id: TaskId): void {
    const task = tx.get('task', id);
    if (!task || this.#options.isConnected(nodeId)) return;
    if (isBefore(task.status.state, 'assigned') || isTerminal(task.status.state)) return;
    const status = {
      ...task.status,
      state: 'orphaned' as const,
      timestampMs: this.#options.clock.wallMs(),
      message: 'node was down for 24 hours',
    };
    tx.update('task', { ...task, status });
  }
}

export function sameJson(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}

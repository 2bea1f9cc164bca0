/**
 * What the dispatcher writes of nodes: registered and ready, unknown to a new leader, down; and the end of
 * the tasks of one that stayed down. Every write looks again whether the node is connected after all.
 */
import type { Clock } from '../../common/base/clock.ts';
import { hasCode } from '../../common/base/errors.ts';
import type { NodeId, TaskId } from '../../common/model/ids.ts';
import { isBefore, isTerminal } from '../../common/model/task-state.ts';
import type { Store, StoreChange, WriteTx } from '../store/types.ts';
import { type NodeWords, Registrations } from './registrations.ts';
import { isTransient } from './status-writer.ts';

export interface NodeStatesOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly isConnected: (nodeId: NodeId) => boolean;
}

export class NodeStates {
  readonly #options: NodeStatesOptions;
  readonly #registrations: Registrations;
  /** Nodes that were seen not to be `ready`, and maybe are connected. */
  readonly #doubtful = new Set<NodeId>();

  constructor(options: NodeStatesOptions) {
    this.#options = options;
    this.#registrations = new Registrations(options.store, options.clock);
  }

  /** See `Registrations.write`. */
  register(nodeId: NodeId, words: NodeWords): Promise<void> {
    return this.#registrations.write(nodeId, words);
  }

  /**
   * What was committed of nodes. A write by which one is down or unknown may be under way when it comes, and its
   * registration finds nothing to write: the node is looked at again.
   */
  observe(changes: readonly StoreChange[]): void {
    for (const { kind, action, object } of changes) {
      if (kind === 'node' && action === 'update' && object.status.state !== 'ready') {
        this.#doubtful.add(object.id);
      }
    }
  }

  /** Changes were missed: nobody is sure of these. */
  doubt(nodeIds: Iterable<NodeId>): void {
    for (const nodeId of nodeIds) this.#doubtful.add(nodeId);
  }

  /** Registers again who is connected and not `ready`. @param wordsOf null = it is not connected */
  async reassert(wordsOf: (nodeId: NodeId) => NodeWords | null): Promise<void> {
    const doubtful = [...this.#doubtful];
    this.#doubtful.clear();
    const again = async (nodeId: NodeId): Promise<void> => {
      const words = wordsOf(nodeId);
      if (!words) return;
      try {
        await this.register(nodeId, words);
      } catch (err) {
        if (hasCode(err, 'not-found')) return;
        if (!isTransient(err)) throw err;
        this.#doubtful.add(nodeId);
      }
    };
    await Promise.all(doubtful.map(again)); // they share their writes
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

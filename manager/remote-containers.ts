/**
 * The containers of the cluster's tasks, wherever they are: which node has the one that is meant, and a connection
 * to the Engine API there. Runs on every manager; reads its own copy of the state, writes nothing, and knows
 * nothing of what is said over the connection.
 */
import type { Duplex } from 'node:stream';
import { SkepError } from '../common/base/errors.ts';
import { containerIdOf, TASK_START_CHARS_MIN } from '../common/model/container-id.ts';
import type { NodeId, TaskId } from '../common/model/ids.ts';
import type { Task } from '../common/model/task.ts';
import { containerApi } from '../common/rpc/node-methods.ts';
import type { RpcClients } from '../common/rpc/pool.ts';
import { StreamDuplex } from '../common/rpc/stream-duplex.ts';
import type { ReadView, Store } from './store/types.ts';

export interface RemoteNode {
  readonly nodeId: NodeId;
  /** for people */
  readonly hostname: string;
  /** `IP:port`; '' = not known */
  readonly address: string;
}

export interface RemoteContainer extends RemoteNode {
  /** 64 hexadecimal characters */
  readonly containerId: string;
}

export interface RemoteContainersOptions {
  readonly store: Pick<Store, 'view'>;
  readonly pool: Pick<RpcClients, 'session'>;
  /** this node, whose containers are not remote */
  readonly self: NodeId;
}

export class RemoteContainers {
  readonly #options: RemoteContainersOptions;
  /** Of tasks that were searched; a digest costs some microseconds, and there are thousands. */
  #ids = new Map<TaskId, string>();

  constructor(options: RemoteContainersOptions) {
    this.#options = options;
  }

  /**
   * By id of the container or the task, by name, or by the start of an id (TASK_START_CHARS_MIN or more). Null when it is
   * nobody's, this node's, or that of a task without a node. Throws `invalid-argument` when several could be meant.
   */
  find(reference: string): RemoteContainer | null {
    const name = reference.replace(/^\//, '');
    return this.#options.store.view((view) => {
      const task = this.#taskOf(view, name);
      const node = task ? this.#nodeOf(view, task) : null;
      return task && node ? { containerId: containerIdOf(task.id), ...node } : null;
    });
  }

  /** The other nodes that may have containers whose ids, or whose tasks' ids, begin so. */
  holders(start: string): readonly RemoteNode[] {
    if (!isStartOfId(start)) return [];
    return this.#options.store.view((view) => {
      const found = new Map<NodeId, RemoteNode>();
      for (const task of this.#beginning(view, start)) {
        const node = this.#nodeOf(view, task);
        if (node) found.set(node.nodeId, node);
      }
      return [...found.values()];
    });
  }

  /**
   * Connects to the node's Engine API. The connection lives until one end closes it or `signal` aborts. Throws
   * `unavailable` when the node cannot be reached.
   *
   * @param wanted there, for people
   */
  async connect(node: RemoteNode, wanted: string, signal: AbortSignal): Promise<Duplex> {
    const { nodeId, hostname, address } = node;
    try {
      if (address === '') throw new SkepError('unavailable', 'its address is not known');
      const session = this.#options.pool.session(address, { nodeId });
      return new StreamDuplex(await session.duplex(containerApi, { signal }));
    } catch (cause) {
      signal.throwIfAborted();
      const words = `reach ${wanted} on node ${hostname || nodeId}`;
      throw new SkepError('unavailable', words, { cause });
    }
  }

  #taskOf(view: ReadView, name: string): Task | undefined {
    const exact = view.get('task', name) ?? view.byName('task', name)[0];
    if (exact || !isStartOfId(name)) return exact;
    const matches = this.#beginning(view, name);
    if (matches.length > 1) {
      throw new SkepError(
        'invalid-argument',
        `container ${name} is ambiguous (${matches.length} matches found)`,
      );
    }
    return matches[0];
  }

  /** By the id of either. */
  #beginning(view: ReadView, start: string): Task[] {
    const tasks = view.list('task');
    const matches = tasks.filter(
      ({ id }) => id.startsWith(start) || this.#idOf(id).startsWith(start),
    );
    this.#forget(tasks);
    return matches;
  }

  /** Null when it has none, or this one. */
  #nodeOf(view: ReadView, { nodeId }: Task): RemoteNode | null {
    const node = nodeId && nodeId !== this.#options.self ? view.get('node', nodeId) : undefined;
    if (!node) return null;
    const { hostname = '', address = '' } = node.description ?? {};
    return { nodeId: node.id, hostname, address };
  }

  #idOf(taskId: TaskId): string {
    let id = this.#ids.get(taskId);
    if (id === undefined) {
      id = containerIdOf(taskId);
      this.#ids.set(taskId, id);
    }
    return id;
  }

  /** Of tasks that are gone, once they are as many as the others. */
  #forget(tasks: readonly Task[]): void {
    if (this.#ids.size <= 2 * tasks.length) return;
    this.#ids = new Map(tasks.map(({ id }) => [id, this.#idOf(id)]));
  }
}

function isStartOfId(text: string): boolean {
  return text.length >= TASK_START_CHARS_MIN && /^[0-9a-z]+$/.test(text);
}

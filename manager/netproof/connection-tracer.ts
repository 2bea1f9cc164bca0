/**
 * Which way a connection to a service takes: finds out where it starts, and asks that node. Runs on every
 * manager; reads the store, writes nothing.
 */
import { SkepError } from '../../common/base/errors.ts';
import type { NetworkHop } from '../../common/model/network-trace.ts';
import type { Node } from '../../common/model/node.ts';
import type { Service } from '../../common/model/service.ts';
import { type Task, taskName } from '../../common/model/task.ts';
import { traceNetwork } from '../../common/rpc/node-methods.ts';
import type { RpcClients } from '../../common/rpc/pool.ts';
import type { ReadView, Store } from '../store/types.ts';

const NODE_TIMEOUT_MS = 30_000;

export interface ConnectionTrace {
  readonly service: Service;
  readonly node: Node;
  /** null = from the node itself */
  readonly task: Task | null;
  readonly hops: readonly NetworkHop[];
}

export class ConnectionTracer {
  readonly #store: Store;
  readonly #pool: RpcClients;

  constructor(options: { readonly store: Store; readonly pool: RpcClients }) {
    this.#store = options.store;
    this.#pool = options.pool;
  }

  /**
   * @param service id or name
   * @param from of a node its id or host name; of a task its id, its name, `SERVICE.SLOT`, or of a
   * global service `SERVICE.NODE` with the node's id or host name
   */
  async trace(service: string, from: string, signal: AbortSignal): Promise<ConnectionTrace> {
    const start = this.#store.view((view) => ({
      service: findService(view, service),
      ...findStart(view, from),
    }));
    const { node, task } = start;
    const address = node.description?.address;
    if (node.status.state !== 'ready' || !address) {
      throw new SkepError('unavailable', `trace from ${from}: its node ${nameOf(node)} is not up`);
    }
    const client = this.#pool.client(address, { nodeId: node.id });
    const request = { service: start.service.spec.name, taskId: task?.id ?? '' };
    const options = { signal, timeoutMs: NODE_TIMEOUT_MS };
    return { ...start, hops: await client.unary(traceNetwork, request, options) };
  }
}

const nameOf = ({ id, description }: Node): string => description?.hostname || id;

function findService(view: ReadView, ref: string): Service {
  const found = view.get('service', ref) ?? view.byName('service', ref)[0];
  if (found) return found;
  throw new SkepError('not-found', `service ${ref} not found`);
}

function findStart(
  view: ReadView,
  ref: string,
): { readonly node: Node; readonly task: Task | null } {
  const nodes = view.list('node').filter((node) => node.id === ref || nameOf(node) === ref);
  const tasks = view.list('task').filter((task) => isNamed(view, task, ref));
  const running = tasks.filter(({ status }) => status.state === 'running');
  const task = running[0] ?? newest(tasks);
  if (nodes.length > 1 || running.length > 1) {
    throw new SkepError('invalid-argument', `'${ref}' is ambiguous: name it by its id`);
  }
  const node = nodes[0] ?? (task?.nodeId ? view.get('node', task.nodeId) : undefined);
  if (node) return { node, task: nodes[0] ? null : (task ?? null) };
  throw new SkepError('not-found', `'${ref}' is neither a node nor a task that a node has`);
}

/** By the store's revisions: clocks of leaders differ. */
function newest(tasks: readonly Task[]): Task | undefined {
  const [first, ...others] = tasks;
  return others.reduce((a, b) => (b.meta.version > a!.meta.version ? b : a), first);
}

function isNamed(view: ReadView, task: Task, ref: string): boolean {
  const service = task.serviceAnnotations.name;
  if (ref === task.id || ref === taskName(task)) return true;
  // A service's name holds no dot: most tasks are told apart by it alone.
  if (!ref.startsWith(`${service}.`)) return false;
  return placesOf(view, task).includes(ref.slice(service.length + 1));
}

/** Slot, or of a global service's task the node. */
function placesOf(view: ReadView, { slot, nodeId }: Task): string[] {
  if (slot !== null) return [String(slot)];
  if (nodeId === null) return [];
  const node = view.get('node', nodeId);
  return [nodeId, ...(node ? [nameOf(node)] : [])];
}

/** Writes to nodes: their specs, and their removal. */

import { hasCode, SkepError } from '../../common/base/errors.ts';
import type { Cluster } from '../../common/model/cluster.ts';
import type { NodeId } from '../../common/model/ids.ts';
import type { Node, NodeSpec } from '../../common/model/node.ts';
import { checkSize } from '../../common/model/spec-size.ts';
import type { Task } from '../../common/model/task.ts';
import { isBefore } from '../../common/model/task-state.ts';
import { latestEndMs } from '../../common/pki/certificate.ts';
import type {
  ManagerStatus,
  RemoveRequest,
  UpdateRequest,
} from '../../common/rpc/control-methods.ts';
import type { ReadView, Store, WriteTx } from '../store/types.ts';
import { requireCluster } from './cluster.ts';
import { requireByRef, requireVersion } from './lookup.ts';
import { failed } from './refusal.ts';
import type { WriteEnvironment } from './writes.ts';

const DAY_MS = 24 * 3600 * 1000;
/** A removed node stays blocked this much longer than its certificate is valid. */
const BLOCK_MARGIN_MS = 7 * DAY_MS;
/**
 * Removed nodes that are kept blocked, those longest whose certificates last longest: all of them are in one object. The
 * cluster has none of their ids in its list, either.
 */
const BLOCKED_MAX = 10_000;
/** Live tasks of a removed node that go in the same transaction as the node. */
const TASKS_IN_ONE_TRANSACTION = 100;

export function updateNode(
  tx: WriteTx,
  request: UpdateRequest<NodeSpec>,
  environment: WriteEnvironment,
): Node {
  const node = requireByRef(tx, 'node', request.ref);
  requireVersion(node, request.version);
  const demoted = node.spec.desiredRole === 'manager' && request.spec.desiredRole === 'worker';
  checkSize(`node ${node.description?.hostname ?? node.id}: spec`, request.spec);
  if (demoted) checkDemotion(tx, node, environment.managers());
  return tx.update('node', { ...node, spec: request.spec });
}

/** Two demotions at a time do not each count on the manager that the other takes away. */
function checkDemotion(tx: WriteTx, node: Node, managers: readonly ManagerStatus[]): void {
  const others = tx
    .list('node')
    .filter(({ id, spec }) => id !== node.id && spec.desiredRole === 'manager');
  if (others.length === 0) {
    throw failed('attempting to demote the last manager of the swarm');
  }
  for (const { id } of others) tx.guard('to-manage', 'node', id);
  if (!managers.some((manager) => manager.nodeId === node.id)) {
    throw new SkepError('not-found', "can't find manager in raft memberlist");
  }
  const nameOf = (id: Node['id']): string => tx.get('node', id)?.description?.hostname ?? id;
  const left = managers.filter((manager) => manager.nodeId !== node.id);
  if (left.length === 0) {
    const coming = others.map(({ id }) => nameOf(id));
    throw failed(
      `can't remove member from the raft: this would result in a loss of quorum: no other manager takes part yet; wait until ${coming.join(' or ')} does`,
    );
  }
  const silent = left.filter((manager) => !manager.reachable);
  const reachable = left.length - silent.length;
  const needed = Math.floor(left.length / 2) + 1;
  if (reachable >= needed) return;
  const names = silent.map(({ nodeId }) => nameOf(nodeId));
  throw failed(
    `can't remove member from the raft: this would result in a loss of quorum: of the ${left.length} managers left ${reachable} can be reached and ${needed} must be; start ${names.join(', ')} first, or demote it instead`,
  );
}

/**
 * Removes a node: its certificate is void from then on, and its live tasks are orphaned, so that
 * others take their places. One transaction, unless there are too many tasks for one: then they go
 * first, and a repetition finishes what was cut short.
 */
export async function removeNode(
  store: Store,
  request: RemoveRequest,
  environment: WriteEnvironment,
  signal?: AbortSignal,
): Promise<string> {
  const { nodeId, tasks } = store.view((view) => {
    const { id } = requireRemovable(view, request, environment);
    return { nodeId: id, tasks: liveTasks(view, id) };
  });
  const remove = (): Promise<string> =>
    removeWhole(store, { ...request, ref: nodeId }, environment, signal);
  if (tasks.length <= TASKS_IN_ONE_TRANSACTION) {
    try {
      return await remove();
    } catch (err) {
      if (!hasCode(err, 'resource-exhausted')) throw err; // large ones
    }
  }
  await store.batch(
    tasks,
    (tx, { id }) => {
      const task = tx.get('task', id);
      if (task && isLive(task)) orphan(tx, task, environment.nowMs);
    },
    signal,
  );
  return remove();
}

function removeWhole(
  store: Store,
  request: RemoveRequest,
  environment: WriteEnvironment,
  signal: AbortSignal | undefined,
): Promise<string> {
  return store.update((tx) => {
    const node = requireRemovable(tx, request, environment);
    const nodeId = node.id;
    for (const task of liveTasks(tx, nodeId)) orphan(tx, task, environment.nowMs);
    const cluster = requireCluster(tx);
    tx.update('cluster', {
      ...cluster,
      blockedNodes: blockedWith(cluster, node, environment.nowMs),
    });
    tx.remove('node', nodeId);
    return nodeId;
  }, signal);
}

function requireRemovable(
  view: ReadView,
  { ref, force }: RemoveRequest,
  environment: WriteEnvironment,
): Node {
  const node = requireByRef(view, 'node', ref);
  if (environment.managers().some((manager) => manager.nodeId === node.id)) {
    throw failed(
      `node ${node.id} is a cluster manager and is a member of the raft cluster. It must be demoted to worker before removal`,
    );
  }
  if (node.status.state === 'ready' && !force) {
    throw failed(`node ${node.id} is not down and can't be removed`);
  }
  return node;
}

function liveTasks(view: ReadView, nodeId: NodeId): readonly Task[] {
  return view.tasksByNode(nodeId).filter(isLive);
}

function isLive(task: Task): boolean {
  return isBefore(task.status.state, 'complete');
}

function orphan(tx: WriteTx, task: Task, nowMs: number): void {
  const status = {
    ...task.status,
    state: 'orphaned' as const,
    timestampMs: nowMs,
    message: 'task belonged to a node that has been deleted',
  };
  tx.update('task', { ...task, status });
}

function blockedWith(cluster: Cluster, node: Node, nowMs: number): Cluster['blockedNodes'] {
  const kept = Object.entries(cluster.blockedNodes)
    .filter(([, untilMs]) => untilMs > nowMs)
    .sort(([, a], [, b]) => b - a)
    .slice(0, BLOCKED_MAX - 1);
  return {
    ...Object.fromEntries(kept),
    [node.id]: certificateEndMs(cluster, node, nowMs) + BLOCK_MARGIN_MS,
  };
}

/** Of what lasts longest of the certificates that were issued to it; else of one issued now. */
function certificateEndMs(cluster: Cluster, node: Node, nowMs: number): number {
  const endMs = latestEndMs(node);
  if (endMs > 0) return endMs;
  return nowMs + Math.ceil(cluster.spec.nodeCertExpiryNanos / 1e6);
}

/** Writes one decision of the scheduler, unless the task or the node has moved on in the meantime. */
import type { Task } from '../../common/model/task.ts';
import type { WriteTx } from '../store/types.ts';
import { isActive } from './place.ts';
import type { Placement, Refusal } from './plan-placement.ts';

/** @param nowMs wall clock, for the status */
export function applyDecision(tx: WriteTx, decision: Placement | Refusal, nowMs: number): void {
  const task = tx.get('task', decision.task.id);
  if (!task || !isSchedulable(task)) return;
  if (decision.kind === 'refuse') {
    const status = { ...task.status, err: decision.explanation };
    tx.update('task', { ...task, status });
    return;
  }
  const node = tx.get('node', decision.nodeId);
  if (node?.status.state !== 'ready' || node.spec.availability !== 'active') return;
  const preassigned = task.nodeId !== null;
  if (preassigned && task.nodeId !== decision.nodeId) return;
  const { nodeId, assignedGenericResources } = decision;
  const status = {
    ...task.status,
    state: 'assigned' as const,
    timestampMs: nowMs,
    message: preassigned
      ? 'scheduler confirmed task can run on preassigned node'
      : 'scheduler assigned task to node',
    err: '',
  };
  tx.update('task', { ...task, nodeId, assignedGenericResources, status });
}

/** Allocated, not placed yet, and still wanted. */
export function isSchedulable(task: Task): boolean {
  return task.status.state === 'pending' && isActive(task);
}

/** Writes one decision of the scheduler, unless the task or the node has moved on in the meantime. */
import { waitsForSeat } from '../../common/model/succession.ts';
import { type Task, type TaskStatus, taskWith } from '../../common/model/task.ts';
import type { WriteTx } from '../store/types.ts';
import { isActive } from './place.ts';
import type { Placement, Refusal } from './plan-placement.ts';

/** False when it is not written. @param nowMs wall clock, for the status */
export function applyDecision(tx: WriteTx, decision: Placement | Refusal, nowMs: number): boolean {
  const task = tx.get('task', decision.task.id);
  if (!task || !isSchedulable(task)) return false;
  if (decision.kind === 'refuse') {
    const status = { ...task.status, err: decision.explanation };
    tx.update('task', taskWith(task, { status }));
    return true;
  }
  // It was let run meanwhile, and those whose place it was to have may run still.
  if (decision.inPlace && !waitsForSeat(task)) return false;
  const node = tx.get('node', decision.nodeId);
  if (node?.status.state !== 'ready' || node.spec.availability !== 'active') return false;
  const preassigned = task.nodeId !== null;
  if (preassigned && task.nodeId !== decision.nodeId) return false;
  const { nodeId, assignedGenericResources, inPlace: hasForerunnersPlace } = decision;
  const { container, hostPorts, localAddresses, appliedAtMs } = task.status;
  const status: TaskStatus = {
    state: 'assigned',
    timestampMs: nowMs,
    message: preassigned
      ? 'scheduler confirmed task can run on preassigned node'
      : 'scheduler assigned task to node',
    err: '',
    container,
    hostPorts,
    localAddresses,
    appliedAtMs,
  };
  tx.update(
    'task',
    taskWith(task, { nodeId, assignedGenericResources, hasForerunnersPlace, status }),
  );
  return true;
}

/** Allocated, not placed yet, and still wanted. */
export function isSchedulable(task: Task): boolean {
  return task.status.state === 'pending' && isActive(task);
}

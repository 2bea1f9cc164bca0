/** Writes one decision of the allocator, unless the object has moved on in the meantime. */
import { assertNever } from '../../common/base/assert.ts';
import type { TaskId } from '../../common/model/ids.ts';
import { attachmentKey, type Node } from '../../common/model/node.ts';
import { type TaskStatus, taskWith } from '../../common/model/task.ts';
import { isTerminal } from '../../common/model/task-state.ts';
import type { WriteTx } from '../store/types.ts';
import type { AllocationChange } from './plan.ts';
import type { NodeChanges } from './plan-attachments.ts';

/** @param nowMs wall clock, for the status of tasks */
export function applyAllocation(tx: WriteTx, change: AllocationChange, nowMs: number): void {
  switch (change.kind) {
    case 'network': {
      const network = tx.get('network', change.id);
      if (network?.vxlanId === null) tx.update('network', { ...network, ...change.allocation });
      return;
    }
    case 'service': {
      const service = tx.get('service', change.id);
      if (service) tx.update('service', { ...service, endpoint: change.endpoint });
      return;
    }
    case 'node': {
      const node = tx.get('node', change.id);
      if (node) tx.update('node', { ...node, ...changedNode(node, change) });
      return;
    }
    case 'task': {
      // Also when the task is gone: they have nothing in the book any more.
      for (const id of change.withdrawn) withdraw(tx, id);
      const task = tx.get('task', change.id);
      if (task?.status.state !== 'new') return;
      const { container, hostPorts, localAddresses, appliedAtMs } = task.status;
      const status: TaskStatus = {
        state: 'pending',
        timestampMs: nowMs,
        message: 'pending task scheduling',
        err: '',
        container,
        hostPorts,
        localAddresses,
        appliedAtMs,
      };
      tx.update('task', taskWith(task, { ...change.allocation, status }));
      return;
    }
    case 'task-waits': {
      const task = tx.get('task', change.id);
      if (task?.status.state !== 'new') return;
      tx.update('task', taskWith(task, { status: { ...task.status, err: change.problem } }));
      return;
    }
    default:
      assertNever(change, 'allocation change');
  }
}

function withdraw(tx: WriteTx, id: TaskId): void {
  const task = tx.get('task', id);
  if (task && !isTerminal(task.status.state)) tx.update('task', taskWith(task, { networks: [] }));
}

/** Of places that are not asked for any more nothing is written: the node is looked at again. */
function changedNode(
  node: Node,
  { attachments, places }: NodeChanges,
): Pick<Node, 'attachments' | 'containerAttachments'> {
  return {
    attachments: attachments ?? node.attachments,
    containerAttachments: node.containerAttachments.map((attachment) => ({
      ...attachment,
      ...places.get(attachmentKey(attachment)),
    })),
  };
}

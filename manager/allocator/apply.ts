/** Writes one decision of the allocator, unless the object has moved on in the meantime. */
import { assertNever } from '../../common/base/assert.ts';
import type { WriteTx } from '../store/types.ts';
import type { AllocationChange } from './plan.ts';

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
      if (node) tx.update('node', { ...node, attachments: change.attachments });
      return;
    }
    case 'task': {
      const task = tx.get('task', change.id);
      if (task?.status.state !== 'new') return;
      const status = {
        ...task.status,
        state: 'pending' as const,
        timestampMs: nowMs,
        message: 'pending task scheduling',
        err: '',
      };
      tx.update('task', { ...task, ...change.allocation, status });
      return;
    }
    case 'task-waits': {
      const task = tx.get('task', change.id);
      if (task?.status.state !== 'new') return;
      tx.update('task', { ...task, status: { ...task.status, err: change.problem } });
      return;
    }
    default:
      assertNever(change, 'allocation change');
  }
}

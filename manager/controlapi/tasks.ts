/** Writes to tasks that users ask for: the word that one is to go elsewhere. The orchestrator acts on it. */
import { SkepError } from '../../common/base/errors.ts';
import { type Task, taskWith } from '../../common/model/task.ts';
import { isTerminal } from '../../common/model/task-state.ts';
import type { MoveTaskRequest } from '../../common/rpc/control-methods.ts';
import type { WriteTx } from '../store/types.ts';
import { requireByRef } from './lookup.ts';

/**
 * Said again it changes nothing; `none` calls the move off. Throws `failed-precondition` for a task that has no other place,
 * and for `none` once another has taken its place.
 */
export function moveTask(tx: WriteTx, { ref, order }: MoveTaskRequest): Task {
  const task = requireByRef(tx, 'task', ref);
  const moving = order === 'none' ? null : order;
  if (moving === null && task.moving === null) return task;
  const service = tx.get('service', task.serviceId);
  if (service?.spec.mode.kind !== 'replicated') {
    throw refused(task, 'only tasks of replicated services have another place');
  }
  if (task.desiredState !== 'running' || isTerminal(task.status.state)) {
    throw refused(task, 'it is not wanted any more, or not let run yet');
  }
  if (task.moving === moving) return task;
  const changed = taskWith(task, { moving });
  tx.update('task', changed);
  return changed;
}

const refused = ({ id }: Task, why: string): SkepError =>
  new SkepError('failed-precondition', `move task ${id}: ${why}`);

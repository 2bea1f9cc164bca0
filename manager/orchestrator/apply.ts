/** Writes one decision of the orchestrator, unless what it was decided for has changed. */
import { assertNever } from '../../common/base/assert.ts';
import type { TaskId } from '../../common/model/ids.ts';
import { referenceProblem, referencesOf } from '../../common/model/reference-check.ts';
import type { Service } from '../../common/model/service.ts';
import { compareDesiredStates, type DesiredState } from '../../common/model/task-state.ts';
import type { WriteTx } from '../store/types.ts';
import { newTask } from './task-factory.ts';
import type { OrchestratorChange } from './world.ts';

/** @param nowMs wall clock */
export function applyOrchestration(tx: WriteTx, change: OrchestratorChange, nowMs: number): void {
  switch (change.kind) {
    case 'create': {
      // Another spec since: the commit that brought it asks for a plan of its own.
      const service = tx.get('service', change.service.id);
      if (!service || !saysTheSame(service, change.service)) return;
      for (const taskId of change.stops) desire(tx, taskId, 'shutdown');
      const { taskId, place, desiredState } = change;
      const logDriver = tx.list('cluster')[0]?.spec.taskLogDriver ?? null;
      tx.create('task', newTask(taskId, service, place, desiredState, { nowMs, logDriver }));
      return;
    }
    case 'desire':
      desire(tx, change.taskId, change.desiredState);
      return;
    case 'update-status': {
      const service = tx.get('service', change.serviceId);
      if (service?.specVersion !== change.specVersion) return;
      tx.update('service', { ...service, updateStatus: change.status });
      return;
    }
    case 'rollback':
      rollBack(tx, change);
      return;
    default:
      assertNever(change, 'orchestrator change');
  }
}

/**
 * What the previous spec names may be gone since, and its ports taken: then the update is paused, for its tasks
 * would be rejected, or wait for ever.
 */
function rollBack(tx: WriteTx, change: Extract<OrchestratorChange, { kind: 'rollback' }>): void {
  const service = tx.get('service', change.serviceId);
  if (service?.specVersion !== change.specVersion || !service.previousSpec) return;
  const { previousSpec: spec, previousSpecVersion } = service;
  const problem = referenceProblem(tx, spec, service.id);
  if (problem) {
    const message = `${change.paused.message}, and cannot be rolled back: ${problem.message}`;
    tx.update('service', { ...service, updateStatus: { ...change.paused, message } });
    return;
  }
  for (const { kind, id } of referencesOf(tx, spec)) tx.guard('exists', kind, id);
  tx.update('service', {
    ...service,
    spec,
    specVersion: previousSpecVersion ?? service.meta.version,
    previousSpec: null,
    previousSpecVersion: null,
    updateStatus: change.status,
  });
}

/** Of a job, the same iteration: a rollback brings an older spec version back. */
function saysTheSame(a: Service, b: Service): boolean {
  return a.specVersion === b.specVersion && a.jobStatus?.iteration === b.jobStatus?.iteration;
}

/** Desired state only grows. */
function desire(tx: WriteTx, taskId: TaskId, desiredState: DesiredState): void {
  const task = tx.get('task', taskId);
  if (!task || compareDesiredStates(task.desiredState, desiredState) >= 0) return;
  tx.update('task', { ...task, desiredState });
}

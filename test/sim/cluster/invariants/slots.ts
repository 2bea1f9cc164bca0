/** A slot has one task that is let run; a second one while a start-first update waits for it. */
import type { ServiceId } from '../../../../common/model/ids.ts';
import type { Service } from '../../../../common/model/service.ts';
import type { Task } from '../../../../common/model/task.ts';
import { isTerminal } from '../../../../common/model/task-state.ts';
import type { Commit, ReadView } from '../../../../manager/store/types.ts';
import { expect } from '../../checker.ts';
import type { ClusterChecker } from '../checker.ts';
import type { ClusterWorld } from '../world.ts';

export class OneTaskPerSlot implements ClusterChecker {
  readonly number = 1;
  readonly name = 'one running task per slot outside of updates';
  readonly #world: ClusterWorld;
  /** Services that were ever to be updated so: a second task may be left of that time. */
  readonly #startFirst = new Set<ServiceId>();

  constructor(world: ClusterWorld) {
    this.#world = world;
  }

  committed({ changes }: Commit, view: ReadView): void {
    for (const change of changes) {
      if (change.kind === 'service' && startsFirst(change.object)) {
        this.#startFirst.add(change.object.id);
      }
      if (change.kind !== 'task' || change.action === 'remove') continue;
      const { slot, serviceId } = change.object;
      if (slot !== null) this.#look(view, serviceId, slot);
    }
  }

  #look(view: ReadView, serviceId: ServiceId, slot: number): void {
    const tasks = view.tasksBySlot(serviceId, slot).filter(isLetRun);
    const limit = this.#startFirst.has(serviceId) ? 2 : 1;
    expect(tasks.length <= limit, () => {
      const names = tasks.map(({ id, status }) => `${id} (${status.state})`);
      return `slot ${slot} of ${serviceId} at ${this.#world.truth.revision}: ${names.join(', ')} are let run`;
    });
  }
}

function isLetRun({ desiredState, status }: Task): boolean {
  const isLet = desiredState === 'running' || desiredState === 'complete';
  return isLet && !isTerminal(status.state);
}

function startsFirst({ spec }: Service): boolean {
  return [spec.update, spec.rollback].some((config) => config?.order === 'start-first');
}

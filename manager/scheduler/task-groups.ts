/** Which tasks are alike, so that they are decided, refused and judged together. */

import { companionsOf } from '../../common/model/companions.ts';
import type { TaskSpec } from '../../common/model/service.ts';
import type { Task } from '../../common/model/task.ts';
import { hostPortKeys } from './place.ts';

/** What failures of tasks are counted by: service and spec version. */
export function versionKey({ serviceId, specVersion }: Task): string {
  return `${serviceId}/${specVersion}`;
}

/**
 * Tasks of one service and version that ask the same of a node. Everything that a filter or the spread
 * reads of a task is in the key.
 */
export class TaskGroups {
  /** specs are frozen and shared by the tasks of a version: each is put in words once */
  readonly #demands = new WeakMap<TaskSpec, string>();

  /** the last one, for tasks that are alike come one after the other */
  #last: { readonly task: Task; readonly key: string } | null = null;

  keyOf(task: Task): string {
    if (this.#last && clearlyAlike(this.#last.task, task)) return this.#last.key;
    const key = this.#keyOf(task);
    this.#last = { task, key };
    return key;
  }

  #keyOf(task: Task): string {
    const networks = task.networks.map(({ networkId }) => networkId).join();
    const ports = hostPortKeys(task.endpoint).taken.join();
    const log = task.logDriver?.name ?? '';
    return `${versionKey(task)} ${networks} ${ports} ${log} ${this.#demand(task.spec)}`;
  }

  #demand(spec: TaskSpec): string {
    let demand = this.#demands.get(spec);
    if (demand === undefined) {
      const drivers = spec.container.mounts.map(({ type, volume }) => [type, volume?.driver ?? '']);
      const beside = [...companionsOf(spec).values()];
      demand = JSON.stringify([spec.resources.reservations, spec.placement, drivers, beside]);
      this.#demands.set(spec, demand);
    }
    return demand;
  }
}

/** By what they share; what only looks the same is found by the key. */
function clearlyAlike(a: Task, b: Task): boolean {
  return (
    a.spec === b.spec &&
    a.serviceId === b.serviceId &&
    a.specVersion === b.specVersion &&
    a.endpoint === b.endpoint &&
    a.logDriver === b.logDriver &&
    a.networks.length === b.networks.length &&
    a.networks.every(({ networkId }, at) => networkId === b.networks[at]!.networkId)
  );
}

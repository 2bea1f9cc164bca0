/** Is a task still what its service's words say? An update replaces what is not. */
import { assertNever } from '../base/assert.ts';
import { deepEqual } from '../base/equal.ts';
import { nodeMeetsConstraints, storedConstraints } from './constraint.ts';
import type { NodeId } from './ids.ts';
import type { Node } from './node.ts';
import type { Service, TaskSpec } from './service.ts';
import type { Task } from './task.ts';
import { isAfter, isBefore } from './task-state.ts';

/**
 * Answers for the tasks of one service at one moment. Tasks of one spec version share a spec, so the
 * costly comparison is made once for each version.
 */
export class DirtyTest {
  readonly #service: Service;
  readonly #node: (id: NodeId) => Node | undefined;
  readonly #byVersion = new Map<number, SpecDifference>();

  constructor(service: Service, node: (id: NodeId) => Node | undefined) {
    this.#service = service;
    this.#node = node;
  }

  isDirty(task: Task): boolean {
    const service = this.#service;
    if (task.specVersion === service.specVersion) return false;
    if (task.endpoint && !deepEqual(task.endpoint.spec, service.spec.endpoint)) return true;
    const difference = this.#difference(task);
    switch (difference) {
      case 'none':
        return false;
      case 'pull-options':
        // They served their purpose when the image was pulled.
        return isBefore(task.status.state, 'ready') || isAfter(task.status.state, 'running');
      case 'placement':
        return !this.#standsWhereItMay(task);
      case 'substance':
        return true;
      default:
        return assertNever(difference, 'spec difference');
    }
  }

  #difference(task: Task): SpecDifference {
    let difference = this.#byVersion.get(task.specVersion);
    if (difference === undefined) {
      difference = compareSpecs(task.spec, this.#service.spec.task);
      this.#byVersion.set(task.specVersion, difference);
    }
    return difference;
  }

  #standsWhereItMay(task: Task): boolean {
    const node = task.nodeId === null ? undefined : this.#node(task.nodeId);
    if (!node) return false;
    const { constraints } = this.#service.spec.task.placement;
    return nodeMeetsConstraints(node, storedConstraints(constraints));
  }
}

type SpecDifference = 'none' | 'placement' | 'pull-options' | 'substance';

function compareSpecs(old: TaskSpec, now: TaskSpec): SpecDifference {
  if (deepEqual(old, now)) return 'none';
  if (deepEqual({ ...old, placement: now.placement }, now)) return 'placement';
  const { registryAuth } = now.container;
  const authGranted = { ...old, container: { ...old.container, registryAuth } };
  return deepEqual(authGranted, now) ? 'pull-options' : 'substance';
}

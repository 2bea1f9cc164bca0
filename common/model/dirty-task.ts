/** Is a task still what its service's words say? An update replaces what is not. */
import { assertNever } from '../base/assert.ts';
import { deepEqual } from '../base/equal.ts';
import { nodeMeetsConstraints, storedConstraints } from './constraint.ts';
import type { NodeId } from './ids.ts';
import type { Node } from './node.ts';
import { type Endpoint, type Service, type TaskSpec, taskSpecWithDefaults } from './service.ts';
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
  /** tasks that were allocated together share an endpoint */
  readonly #byEndpoint = new Map<Endpoint, boolean>();

  constructor(service: Service, node: (id: NodeId) => Node | undefined) {
    this.#service = service;
    this.#node = node;
  }

  isDirty(task: Task): boolean {
    // Also of the same version: one that waited for its allocation while the service was rolled back and forth
    // has the endpoint of the spec in between.
    if (task.endpoint && this.#isOther(task.endpoint)) return true;
    if (task.specVersion === this.#service.specVersion) return false;
    const difference = this.#difference(task);
    switch (difference) {
      case 'none':
        return false;
      case 'pull-options':
        return !hasItsImage(task);
      case 'placement':
        return !this.#standsWhereItMay(task);
      case 'placement-and-pull-options':
        return !hasItsImage(task) || !this.#standsWhereItMay(task);
      case 'substance':
        return true;
      default:
        return assertNever(difference, 'spec difference');
    }
  }

  #isOther(endpoint: Endpoint): boolean {
    let isOther = this.#byEndpoint.get(endpoint);
    if (isOther === undefined) {
      isOther = !deepEqual(endpoint.spec, this.#service.spec.endpoint);
      this.#byEndpoint.set(endpoint, isOther);
    }
    return isOther;
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

/** Pull options served their purpose when the image was pulled. */
function hasItsImage({ status: { state } }: Task): boolean {
  return !isBefore(state, 'ready') && !isAfter(state, 'running');
}

/**
 * What a change of task specs asks of tasks. `placement`: those that stand where they may not any more are
 * replaced. `pull-options`: those that have their image already are not. A renewed login makes a change of placement both.
 */
export type SpecDifference =
  | 'none'
  | 'placement'
  | 'pull-options'
  | 'placement-and-pull-options'
  | 'substance';

/** By what they mean: clients that read a spec with its defaults and send it back (docker-py's `scale`) change nothing. */
export function compareSpecs(oldSpec: TaskSpec, newSpec: TaskSpec): SpecDifference {
  const [old, now] = [oldSpec, newSpec].map(taskSpecWithDefaults) as [TaskSpec, TaskSpec];
  if (deepEqual(old, now)) return 'none';
  if (deepEqual({ ...old, placement: now.placement }, now)) return 'placement';
  const { registryAuth } = now.container;
  const authGranted = { ...old, container: { ...old.container, registryAuth } };
  if (deepEqual(authGranted, now)) return 'pull-options';
  const bothGranted = { ...authGranted, placement: now.placement };
  return deepEqual(bothGranted, now) ? 'placement-and-pull-options' : 'substance';
}

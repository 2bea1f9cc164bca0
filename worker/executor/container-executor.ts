/** The executor: hands out controllers, passes network state on, sweeps what belongs to no task. */
import { SkepError } from '../../common/base/errors.ts';
import type { AssignmentChange } from '../../common/model/assignment.ts';
import { isContainerId } from '../../common/model/container-id.ts';
import { asId, type TaskId } from '../../common/model/ids.ts';
import type { NodeDescription } from '../../common/model/node.ts';
import type { Task } from '../../common/model/task.ts';
import { ContainerController, type ControllerParts, releaseTask } from './container-controller.ts';
import type { Controller, Dependencies, Executor } from './executor.ts';
import type { HealthReport } from './health.ts';
import { expandTask } from './templates.ts';

export interface ContainerExecutorOptions extends Omit<ControllerParts, 'tasksOf'> {
  /** reads the whole machine: not for what is done for each task, or each container that is listed */
  readonly describe: () => NodeDescription;
}

export class ContainerExecutor implements Executor {
  readonly #options: ContainerExecutorOptions;
  readonly #parts: ControllerParts;
  /** those that are not closed */
  readonly #controllers = new Map<TaskId, ContainerController>();

  /** the same by the names of their services */
  readonly #byService = new Map<string, Set<ContainerController>>();

  constructor(options: ContainerExecutorOptions) {
    this.#options = options;
    this.#parts = {
      ...options,
      tasksOf: (service) => [...(this.#byService.get(service) ?? [])].map((one) => one.companion),
    };
  }

  describe(): NodeDescription {
    return this.#options.describe();
  }

  controller(task: Task, dependencies: Dependencies): Controller {
    const { name } = task.serviceAnnotations;
    const mates = this.#byService.get(name) ?? new Set<ContainerController>();
    const controller = new ContainerController(task, dependencies, this.#parts, () => {
      if (this.#controllers.get(task.id) === controller) this.#controllers.delete(task.id);
      mates.delete(controller);
      if (mates.size === 0 && this.#byService.get(name) === mates) this.#byService.delete(name);
    });
    this.#controllers.set(task.id, controller);
    this.#byService.set(name, mates.add(controller));
    return controller;
  }

  /** The health of a task's container; null without a health check, or for an unknown task. */
  health(taskId: TaskId): HealthReport | null {
    return this.#controllers.get(taskId)?.health ?? null;
  }

  /** The task as it runs; as assigned while its templates mean nothing (then it was rejected). */
  expanded(task: Task): Task {
    try {
      return expandTask(task, this.#options.node());
    } catch (err) {
      if (err instanceof SkepError) return task;
      throw err;
    }
  }

  applyNetworkState(changes: readonly AssignmentChange[], complete: boolean): Promise<void> {
    return this.#options.networks.apply(changes, complete);
  }

  async sweep(isKnown: (taskId: TaskId) => boolean): Promise<void> {
    const { runtime, images, volumes, files, log } = this.#options;
    const found = new Set([
      ...runtime.list().map(({ id }) => id),
      ...images.pinnedContainers(),
      ...volumes.usingContainers(),
      ...(await files.list()),
    ]);
    for (const id of found) {
      const taskId = asId<TaskId>(id);
      // Asked now: what was found of a task that came meanwhile was there before it.
      if (isKnown(taskId) || isContainerId(id)) continue; // or of a container outside of services
      log.warn({ taskId }, 'what belongs to no task is removed');
      try {
        await releaseTask(this.#parts, taskId);
      } catch (err) {
        // One stubborn leftover must not keep the daemon from serving the tasks it knows.
        log.error({ taskId, err }, 'what belongs to no task could not be removed');
      }
    }
  }
}

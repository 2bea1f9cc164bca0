/** The executor: hands out controllers, passes network state on, sweeps what belongs to no task. */
import type { Clock } from '../../common/base/clock.ts';
import type { Logger } from '../../common/base/log.ts';
import type { AssignmentChange } from '../../common/model/assignment.ts';
import type { TaskId } from '../../common/model/ids.ts';
import type { NodeDescription } from '../../common/model/node.ts';
import type { Task } from '../../common/model/task.ts';
import { ContainerController, type ControllerParts } from './container-controller.ts';
import type { Controller, Dependencies, Executor } from './executor.ts';
import type { HealthReport } from './health.ts';

export interface ContainerExecutorOptions extends ControllerParts {
  readonly describe: () => NodeDescription;
  readonly clock: Clock;
  readonly log: Logger;
}

export class ContainerExecutor implements Executor {
  readonly #options: ContainerExecutorOptions;
  readonly #controllers = new Map<TaskId, ContainerController>();

  constructor(options: ContainerExecutorOptions) {
    this.#options = options;
  }

  describe(): NodeDescription {
    return this.#options.describe();
  }

  controller(task: Task, dependencies: Dependencies): Controller {
    const controller = new ContainerController(task, dependencies, this.#options);
    this.#controllers.set(task.id, controller);
    return controller;
  }

  /** The health of a task's container; null without a health check, or for an unknown task. */
  health(taskId: TaskId): HealthReport | null {
    return this.#controllers.get(taskId)?.health ?? null;
  }

  forget(taskId: TaskId): void {
    this.#controllers.delete(taskId);
  }

  applyNetworkState(changes: readonly AssignmentChange[], complete: boolean): Promise<void> {
    return this.#options.networks.apply(changes, complete);
  }

  async sweep(known: ReadonlySet<TaskId>): Promise<void> {
    const { runtime, networks, images, volumes, files, log } = this.#options;
    for (const { id } of runtime.list()) {
      const taskId = id as TaskId;
      if (known.has(taskId)) continue;
      log.warn({ taskId }, 'container belongs to no task, removed');
      await runtime.remove(taskId);
      await networks.detachTask(taskId);
      await images.releaseRootfs(taskId);
      await volumes.release(taskId);
      await files.remove(taskId);
    }
  }
}

/**
 * An executor that runs nothing: each move of a task succeeds at once, and the task runs until it is told to stop.
 * What the agent does with it is what it does on a real host.
 */
import { CancelledError } from '../../../common/base/lifecycle.ts';
import type { NodeDescription } from '../../../common/model/node.ts';
import type { Task } from '../../../common/model/task.ts';
import type { Controller, Executor, Observed } from '../../../worker/executor/executor.ts';

export class InstantExecutor implements Executor {
  readonly #description: NodeDescription;

  constructor(description: NodeDescription) {
    this.#description = description;
  }

  describe(): NodeDescription {
    return this.#description;
  }

  controller(task: Task): Controller {
    return new InstantController(task);
  }

  async applyNetworkState(): Promise<void> {}
  async sweep(): Promise<void> {}
}

class InstantController implements Controller {
  readonly #task: Task;
  #started = false;

  constructor(task: Task) {
    this.#task = task;
  }

  async prepare(): Promise<void> {}

  async start(): Promise<void> {
    this.#started = true;
  }

  /** It never ends by itself. */
  wait(signal: AbortSignal): Promise<void> {
    return new Promise((_resolve, reject) => {
      if (signal.aborted) reject(new CancelledError());
      else signal.addEventListener('abort', () => reject(new CancelledError()), { once: true });
    });
  }

  async shutdown(): Promise<void> {}
  async remove(): Promise<void> {}

  /** As long as that of a real container, so that statuses have their size. */
  observed(): Observed {
    if (!this.#started) return { container: null, hostPorts: [], localAddresses: [] };
    const containerId = this.#task.id.padEnd(64, '0');
    return {
      container: { containerId, pid: 1, exitCode: 0, oomKilled: false },
      hostPorts: [],
      localAddresses: [],
    };
  }

  close(): void {}
}

/**
 * What the agent asks of whoever runs tasks. One controller per task, one method per move of its
 * state; the agent decides the order, the controller knows how. Knows nothing of sessions or stores.
 */
import type {
  AssignedConfig,
  AssignedSecret,
  AssignmentChange,
} from '../../common/model/assignment.ts';
import type { ConfigId, SecretId, TaskId } from '../../common/model/ids.ts';
import type { NodeDescription } from '../../common/model/node.ts';
import type { PortConfig } from '../../common/model/service.ts';
import type { ContainerStatus, LocalAddress, Task } from '../../common/model/task.ts';

/** Secrets and configs that the manager sent along, held in memory only. */
export interface Dependencies {
  secret(id: SecretId): AssignedSecret | undefined;
  config(id: ConfigId): AssignedConfig | undefined;
}

/** What a task's status says of its container. */
export interface Observed {
  readonly container: ContainerStatus | null;
  readonly hostPorts: readonly PortConfig[];
  readonly localAddresses: readonly LocalAddress[];
}

/**
 * A task ended by itself other than with exit code 0, or was ended because it was unhealthy. The
 * message is the task's `err`: `task: non-zero exit (N)`, with a cause when one is known.
 */
export class TaskExitError extends Error {
  override readonly name = 'TaskExitError';
}

/** Trouble that may pass: the same move is tried again after a second. */
export class TemporaryError extends Error {
  override readonly name = 'TemporaryError';
}

/**
 * Every method is idempotent, may be called again after a restart of the daemon, and obeys its signal. When a
 * method's promise is settled nothing listens to the signal any more: the next call may bring the same one.
 */
export interface Controller {
  /** Image, volumes, secrets, network: all that can be done before the process runs. */
  prepare(signal: AbortSignal): Promise<void>;
  /** Runs the process; resolves when it runs and, with a health check, has been healthy once. */
  start(signal: AbortSignal): Promise<void>;
  /** Resolves when the process ended with exit code 0, rejects with `TaskExitError` otherwise. */
  wait(signal: AbortSignal): Promise<void>;
  /** Stop signal, grace period, SIGKILL. Resolves when nothing of the task runs. */
  shutdown(signal: AbortSignal): Promise<void>;
  /** Everything the task had on this node is gone, whatever its state was. */
  remove(signal: AbortSignal): Promise<void>;
  observed(): Observed;
  /** Lets go of the task, which stays as it is. The last call. */
  close(): void;
}

export interface Executor {
  /** This node, as the scheduler sees it. */
  describe(): NodeDescription;
  controller(task: Task, dependencies: Dependencies): Controller;
  /** Networks, endpoints, services, ports and peers of this node's set. `complete`: nothing else exists. */
  applyNetworkState(changes: readonly AssignmentChange[], complete: boolean): Promise<void>;
  /**
   * Removes what belongs to no task: after start, when the database was read, and now and then. What a task
   * is to have is made after `isKnown` says so of it.
   */
  sweep(isKnown: (taskId: TaskId) => boolean): Promise<void>;
}

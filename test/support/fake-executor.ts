/** An executor whose controllers do as a test tells them, for tests of the agent. */
import type { AssignmentChange } from '../../common/model/assignment.ts';
import type { TaskId } from '../../common/model/ids.ts';
import type { NodeDescription } from '../../common/model/node.ts';
import type { Task } from '../../common/model/task.ts';
import type {
  Controller,
  Dependencies,
  Executor,
  Observed,
} from '../../worker/executor/executor.ts';
import { aNodeDescription } from './builders.ts';

export type ControllerMethod = 'prepare' | 'start' | 'wait' | 'shutdown' | 'remove';

interface Pending {
  readonly resolve: () => void;
  readonly reject: (err: unknown) => void;
}

/** Every move but `wait` succeeds at once; `hold` a move, or give it errors with `failNext`. */
export class FakeController implements Controller {
  readonly task: Task;
  readonly dependencies: Dependencies;
  /** names of moves in the order they were asked for; `!` = aborted */
  readonly calls: string[] = [];
  seen: Observed = { container: null, hostPorts: [], localAddresses: [] };
  closed = false;
  readonly #held = new Set<ControllerMethod>(['wait']);
  readonly #failures = new Map<ControllerMethod, unknown[]>();
  readonly #pending = new Map<ControllerMethod, Pending>();

  constructor(task: Task, dependencies: Dependencies) {
    this.task = task;
    this.dependencies = dependencies;
  }

  /** From now on the move takes until `finish` or `fail`. */
  hold(method: ControllerMethod): void {
    this.#held.add(method);
  }

  /** The next call fails at once, and the one after it with the next error, ... */
  failNext(method: ControllerMethod, ...errors: unknown[]): void {
    this.#failures.set(method, [...(this.#failures.get(method) ?? []), ...errors]);
  }

  finish(method: ControllerMethod): void {
    this.#take(method).resolve();
  }

  fail(method: ControllerMethod, err: unknown): void {
    this.#take(method).reject(err);
  }

  prepare(signal: AbortSignal): Promise<void> {
    return this.#call('prepare', signal);
  }

  start(signal: AbortSignal): Promise<void> {
    return this.#call('start', signal);
  }

  wait(signal: AbortSignal): Promise<void> {
    return this.#call('wait', signal);
  }

  shutdown(signal: AbortSignal): Promise<void> {
    return this.#call('shutdown', signal);
  }

  remove(signal: AbortSignal): Promise<void> {
    return this.#call('remove', signal);
  }

  observed(): Observed {
    return this.seen;
  }

  close(): void {
    this.closed = true;
  }

  #take(method: ControllerMethod): Pending {
    const pending = this.#pending.get(method);
    if (!pending) throw new Error(`${method} is not under way: ${this.calls.join(' ')}`);
    this.#pending.delete(method);
    return pending;
  }

  #call(method: ControllerMethod, signal: AbortSignal): Promise<void> {
    this.calls.push(method);
    const failures = this.#failures.get(method) ?? [];
    if (failures.length > 0) return Promise.reject(failures.shift());
    if (!this.#held.has(method)) return Promise.resolve();
    return new Promise((resolve, reject) => {
      this.#pending.set(method, { resolve, reject });
      const onAbort = (): void => {
        this.#pending.delete(method);
        this.calls.push(`${method}!`);
        reject(signal.reason);
      };
      if (signal.aborted) onAbort();
      else signal.addEventListener('abort', onAbort, { once: true });
    });
  }
}

export class FakeExecutor implements Executor {
  readonly controllers = new Map<TaskId, FakeController>();
  /** what happened, in order: `sweep`, `network`, `controller ID` */
  readonly events: string[] = [];
  readonly networkChanges: (readonly AssignmentChange[])[] = [];
  /** what the last sweep was told to leave alone */
  spared: (taskId: TaskId) => boolean = () => false;
  description: NodeDescription = aNodeDescription();
  networkFailure: unknown = null;
  /** applied to each new controller */
  onController: (controller: FakeController) => void = () => {};

  describe(): NodeDescription {
    return this.description;
  }

  controller(task: Task, dependencies: Dependencies): Controller {
    this.events.push(`controller ${task.id}`);
    const controller = new FakeController(task, dependencies);
    this.controllers.set(task.id, controller);
    this.onController(controller);
    return controller;
  }

  /** The newest controller of a task. */
  require(taskId: TaskId): FakeController {
    const controller = this.controllers.get(taskId);
    if (!controller) throw new Error(`no controller was asked for task ${taskId}`);
    return controller;
  }

  async applyNetworkState(changes: readonly AssignmentChange[]): Promise<void> {
    this.events.push('network');
    if (this.networkFailure) throw this.networkFailure;
    this.networkChanges.push(changes);
  }

  async sweep(isKnown: (taskId: TaskId) => boolean): Promise<void> {
    this.events.push('sweep');
    this.spared = isKnown;
  }
}

/**
 * Drives one task to what is wanted of it: one move at a time through its controller, a status for
 * each move. Knows nothing of sessions; its owner persists and reports what it says.
 */
import type { Clock } from '../../common/base/clock.ts';
import { describeError } from '../../common/base/errors.ts';
import type { Logger } from '../../common/base/log.ts';
import type { Task, TaskStatus } from '../../common/model/task.ts';
import type { TaskState } from '../../common/model/task-state.ts';
import { isAfter, isTerminal } from '../../common/model/task-state.ts';
import type { Controller } from '../executor/executor.ts';
import { TemporaryError } from '../executor/executor.ts';
import {
  isAnnouncement,
  nextStep,
  STATE_AFTER,
  STATE_MESSAGE,
  stateAfterFailure,
  type Work,
} from './task-steps.ts';

/** A temporary error: the same move again after this long. */
const RETRY_DELAY_MS = 1_000;

export interface TaskRunnerOptions {
  readonly task: Task;
  /** where the task stands: from the local database after a restart, else from the assignment */
  readonly status: TaskStatus;
  readonly controller: Controller;
  readonly clock: Clock;
  readonly log: Logger;
  /** Called with each new status, in order. */
  readonly onStatus: (task: Task, status: TaskStatus) => void;
}

export class TaskRunner {
  readonly #options: TaskRunnerOptions;
  readonly #controller: Controller;
  #task: Task;
  #status: TaskStatus;
  #step: { readonly name: Work; readonly abort: AbortController } | null = null;
  /** of a move that was made and not broken off; the next one takes it (see `Controller`), for a new one costs more than a status */
  #spare: AbortController | null = null;
  #wake: (() => void) | null = null;
  #closing = false;
  #running: Promise<void> | null = null;

  constructor(options: TaskRunnerOptions) {
    this.#options = options;
    this.#controller = options.controller;
    this.#task = options.task;
    this.#status = options.status;
  }

  get task(): Task {
    return this.#task;
  }

  get status(): TaskStatus {
    return this.#status;
  }

  start(): void {
    this.#running ??= this.#run();
  }

  /** A new version of the assignment. What is wanted only grows: a lower desired state is ignored. */
  update(task: Task): void {
    if (task.desiredState === this.#task.desiredState) {
      this.#task = task;
      return;
    }
    if (isAfter(this.#task.desiredState, task.desiredState)) return;
    this.#task = task;
    const wanted = nextStep(this.#status.state, task.desiredState);
    if (this.#step && this.#step.name !== wanted) this.#step.abort.abort();
    this.#wake?.();
  }

  /** Leaves the task as it is (the daemon stops). Resolves when no move is under way. */
  async stop(): Promise<void> {
    await this.#halt();
    this.#controller.close();
  }

  /** The assignment is gone: ends the task if it runs and removes all it had. Retries until done. */
  async remove(signal: AbortSignal): Promise<void> {
    await this.#halt();
    const { clock } = this.#options;
    try {
      while (!(await this.#removed(signal))) await clock.sleep(RETRY_DELAY_MS, signal);
    } finally {
      this.#controller.close();
    }
  }

  async #halt(): Promise<void> {
    this.#closing = true;
    this.#step?.abort.abort();
    this.#wake?.();
    await this.#running;
  }

  /** One attempt; false when it failed. */
  async #removed(signal: AbortSignal): Promise<boolean> {
    try {
      if (!isTerminal(this.#status.state)) await this.#controller.shutdown(signal);
      await this.#controller.remove(signal);
      return true;
    } catch (err) {
      if (signal.aborted) throw signal.reason;
      const { log } = this.#options;
      log.warn({ taskId: this.#task.id, err }, 'task removal failed, will be retried');
      return false;
    }
  }

  async #run(): Promise<void> {
    while (!this.#closing) {
      const name = nextStep(this.#status.state, this.#task.desiredState);
      if (name === 'rest') await this.#untilWoken();
      else if (isAnnouncement(name)) this.#advance(STATE_AFTER[name], '');
      else await this.#make(name);
    }
  }

  /** Makes one move and writes down where it led. An aborted move leads nowhere. */
  async #make(name: Work): Promise<void> {
    const abort = this.#spare ?? new AbortController();
    this.#spare = null;
    this.#step = { name, abort };
    try {
      await this.#call(name, abort.signal);
      if (!abort.signal.aborted) this.#spare = abort;
      this.#advance(STATE_AFTER[name], '');
    } catch (err) {
      if (abort.signal.aborted) return;
      if (err instanceof TemporaryError || name === 'shutdown') {
        this.#options.log.warn(
          { taskId: this.#task.id, step: name, err },
          'task step failed, will be retried',
        );
        await this.#options.clock.sleep(RETRY_DELAY_MS, abort.signal).catch(() => {});
      } else {
        this.#advance(stateAfterFailure(this.#status.state), describeError(err));
      }
    } finally {
      this.#step = null;
    }
  }

  async #call(name: Work, signal: AbortSignal): Promise<void> {
    switch (name) {
      case 'prepare':
        return this.#controller.prepare(signal);
      case 'start':
        return this.#controller.start(signal);
      case 'wait':
        return this.#controller.wait(signal);
      case 'shutdown':
        return this.#controller.shutdown(signal);
    }
  }

  #advance(state: TaskState, err: string): void {
    const observed = this.#controller.observed();
    this.#status = {
      state,
      timestampMs: this.#options.clock.wallMs(),
      message: err === '' ? (STATE_MESSAGE[state] ?? state) : `task ${state}`,
      err,
      container: observed.container,
      hostPorts: observed.hostPorts,
      localAddresses: observed.localAddresses,
      appliedAtMs: 0,
    };
    this.#options.log.info({ taskId: this.#task.id, to: state, taskErr: err }, 'task transition');
    this.#options.onStatus(this.#task, this.#status);
  }

  #untilWoken(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = () => {
        this.#wake = null;
        resolve();
      };
    });
  }
}

/**
 * What runs on a machine, and the executor by which an agent makes it run: in place of the runtime,
 * networks and images. Containers outlive the agent and end with the machine. How one behaves is said by
 * the name of its image.
 */
import type { SeededRandom } from '../../../common/base/random.ts';
import type { AssignmentChange } from '../../../common/model/assignment.ts';
import type { TaskId } from '../../../common/model/ids.ts';
import type { NodeDescription } from '../../../common/model/node.ts';
import type { Task } from '../../../common/model/task.ts';
import {
  type Controller,
  type Dependencies,
  type Executor,
  type Observed,
  TaskExitError,
  TemporaryError,
} from '../../../worker/executor/executor.ts';

/** Of what a service's tasks are made: `sim/<behaviour>`. */
export const BEHAVIOURS = ['steady', 'flaky', 'bad-start', 'no-image', 'slow-stop', 'job'] as const;
export type Behaviour = (typeof BEHAVIOURS)[number];

export function behaviourOf({ spec }: Task): Behaviour {
  const name = /sim\/([a-z-]+)/.exec(spec.container.image)?.[1];
  return BEHAVIOURS.find((behaviour) => behaviour === name) ?? 'steady';
}

export interface Container {
  readonly task: Task;
  state: 'created' | 'running' | 'exited';
  exitCode: number;
}

export interface ContainersOptions {
  readonly random: SeededRandom;
  /** In the machine's time, whatever becomes of processes on it. */
  readonly after: (delayMs: number, act: () => void) => void;
  /** False once everything has to go well. */
  readonly isFaulty: () => boolean;
  readonly observer: {
    started(task: Task): void;
    ended(task: Task, exitCode: number): void;
  };
}

/** Of one machine. */
export class Containers {
  readonly all = new Map<TaskId, Container>();
  readonly options: ContainersOptions;
  readonly #waiting = new Map<TaskId, (() => void)[]>();
  #boot = 0;

  constructor(options: ContainersOptions) {
    this.options = options;
  }

  /** Nothing of them is left in the kernel. */
  crash(): void {
    this.#boot++;
    for (const container of this.all.values()) {
      if (container.state === 'running') this.options.observer.ended(container.task, 137);
    }
    this.all.clear();
    this.#waiting.clear();
  }

  run(container: Container): void {
    container.state = 'running';
    const { task } = container;
    this.options.observer.started(task);
    const { random, after, isFaulty } = this.options;
    const boot = this.#boot;
    const end = (exitCode: number): void => {
      if (boot === this.#boot && this.all.get(task.id) === container)
        this.exit(container, exitCode);
    };
    const behaviour = behaviourOf(task);
    if (behaviour === 'job') {
      const fails = isFaulty() && random.below(4) === 0;
      after(200 + random.unit() * 2_000, () => end(fails ? 1 : 0));
    } else if (behaviour === 'flaky' && isFaulty()) {
      after(random.unit() * 12_000, () => {
        if (isFaulty()) end(random.below(4) === 0 ? 0 : 1);
      });
    }
  }

  exit(container: Container, exitCode: number): void {
    if (container.state !== 'running') return;
    container.state = 'exited';
    container.exitCode = exitCode;
    this.options.observer.ended(container.task, exitCode);
    const waiting = this.#waiting.get(container.task.id) ?? [];
    this.#waiting.delete(container.task.id);
    for (const tell of waiting) tell();
  }

  whenEnded(taskId: TaskId, tell: () => void): void {
    const waiting = this.#waiting.get(taskId) ?? [];
    waiting.push(tell);
    this.#waiting.set(taskId, waiting);
  }

  remove(taskId: TaskId): void {
    const container = this.all.get(taskId);
    if (container?.state === 'running') this.exit(container, 137);
    this.all.delete(taskId);
  }
}

export interface SimExecutorOptions {
  readonly containers: Containers;
  readonly random: SeededRandom;
  readonly describe: () => NodeDescription;
  /** In the process's own time. */
  readonly sleep: (delayMs: number, signal?: AbortSignal) => Promise<void>;
  readonly isAlive: () => boolean;
  /** Longest of one move, ms. */
  readonly moveMs: number;
  readonly observer: {
    /** A task is prepared: does it have what it needs? */
    preparing(task: Task, dependencies: Dependencies, tables: NodeTables): void;
  };
}

/** What is programmed into the node's networks, by key. */
export type NodeTables = ReadonlyMap<string, unknown>;

export const NETWORK_KINDS: readonly string[] = [
  'network',
  'endpoint',
  'serviceEntry',
  'port',
  'peer',
];

export class SimExecutor implements Executor {
  readonly #options: SimExecutorOptions;
  #tables = new Map<string, unknown>();
  /** What was to be programmed is not: until a whole set is. */
  #isBroken = false;

  constructor(options: SimExecutorOptions) {
    this.#options = options;
  }

  get tables(): NodeTables {
    return this.#tables;
  }

  describe(): NodeDescription {
    return this.#options.describe();
  }

  controller(task: Task, dependencies: Dependencies): Controller {
    const check = (): void => {
      if (this.#isBroken) throw new Error('prepare: the networks of this node are not in force');
      this.#options.observer.preparing(task, dependencies, this.#tables);
    };
    return new SimController(task, this.#options, check);
  }

  async applyNetworkState(changes: readonly AssignmentChange[], complete: boolean): Promise<void> {
    const { random, sleep, containers } = this.#options;
    await sleep(random.unit() * 5);
    if (containers.options.isFaulty() && random.below(200) === 0) {
      this.#isBroken = true;
      throw new Error('program the network: simulated failure');
    }
    if (complete) {
      this.#tables = new Map();
      this.#isBroken = false;
    }
    for (const change of changes) {
      if (!NETWORK_KINDS.includes(change.kind)) continue;
      const key = `${change.kind} ${change.key}`;
      if (change.action === 'set') this.#tables.set(key, change.item);
      else this.#tables.delete(key);
    }
  }

  async sweep(isKnown: (taskId: TaskId) => boolean): Promise<void> {
    const { containers } = this.#options;
    for (const taskId of [...containers.all.keys()]) {
      if (!isKnown(taskId)) containers.remove(taskId);
    }
  }
}

class SimController implements Controller {
  readonly #task: Task;
  readonly #options: SimExecutorOptions;
  /** Throws when what the task needs cannot be had. */
  readonly #check: () => void;
  #exitCode: number | null = null;

  constructor(task: Task, options: SimExecutorOptions, check: () => void) {
    this.#task = task;
    this.#options = options;
    this.#check = check;
  }

  observed(): Observed {
    const container = this.#container;
    if (!container && this.#exitCode === null)
      return { container: null, hostPorts: [], localAddresses: [] };
    const ended = container?.state !== 'running' && container?.state !== 'created';
    const ports = this.#task.endpoint?.ports ?? [];
    return {
      container: {
        containerId: this.#task.id,
        pid: container?.state === 'running' ? 1 : 0,
        exitCode: this.#exitCode ?? container?.exitCode ?? 0,
        oomKilled: false,
      },
      localAddresses: [],
      hostPorts: ended ? [] : ports.filter(({ publishMode }) => publishMode === 'host'),
    };
  }

  async prepare(signal: AbortSignal): Promise<void> {
    if (this.#container) return;
    const { containers } = this.#options;
    this.#check();
    await this.#takeTime(signal);
    if (this.#fails('no-image', 3)) throw new Error('No such image');
    if (this.#fails('steady', 60)) throw new TemporaryError('simulated trouble that passes');
    if (this.#container) return;
    containers.all.set(this.#task.id, { task: this.#task, state: 'created', exitCode: 0 });
  }

  async start(signal: AbortSignal): Promise<void> {
    const container = this.#container;
    if (!container) throw new Error('the container is gone');
    if (container.state !== 'created') return;
    await this.#takeTime(signal);
    if (this.#fails('bad-start', 2)) throw new Error('simulated failure to start');
    if (container.state === 'created') this.#options.containers.run(container);
  }

  async wait(signal: AbortSignal): Promise<void> {
    const container = this.#container;
    if (!container) throw new TaskExitError('task: its container is gone');
    if (container.state === 'running') await this.#ended(signal);
    this.#exitCode = container.exitCode;
    if (container.exitCode === 0) return;
    throw new TaskExitError(`task: non-zero exit (${container.exitCode})`);
  }

  async shutdown(signal: AbortSignal): Promise<void> {
    const container = this.#container;
    if (container?.state === 'running') {
      const isSlow = behaviourOf(this.#task) === 'slow-stop';
      const graceMs = (this.#task.spec.container.stopGracePeriodNanos ?? 10e9) / 1e6;
      const takesMs = isSlow ? graceMs : this.#options.random.unit() * this.#options.moveMs;
      await this.#options.sleep(takesMs, signal);
      this.#options.containers.exit(container, isSlow ? 137 : 143);
      this.#exitCode = container.exitCode;
    } else if (container?.state === 'created') {
      this.#options.containers.remove(this.#task.id);
    }
  }

  async remove(signal: AbortSignal): Promise<void> {
    await this.#takeTime(signal);
    this.#options.containers.remove(this.#task.id);
  }

  close(): void {}

  get #container(): Container | undefined {
    return this.#options.containers.all.get(this.#task.id);
  }

  #fails(behaviour: Behaviour, oneOf: number): boolean {
    const { random, containers } = this.#options;
    if (behaviourOf(this.#task) !== behaviour || !containers.options.isFaulty()) return false;
    return random.below(oneOf) === 0;
  }

  #takeTime(signal: AbortSignal): Promise<void> {
    const { random, moveMs, sleep } = this.#options;
    return sleep(random.unit() * moveMs, signal);
  }

  #ended(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const onAbort = (): void => reject(signal.reason);
      if (signal.aborted) onAbort();
      signal.addEventListener('abort', onAbort, { once: true });
      this.#options.containers.whenEnded(this.#task.id, () => {
        signal.removeEventListener('abort', onAbort);
        if (this.#options.isAlive()) resolve();
      });
    });
  }
}

/**
 * The containers of this node as the Engine API shows them: tasks of the agent joined with what the
 * runtime sees. Reads only, and the two things a person does to a running one: read its logs, run a
 * command in it.
 */
import { SkepError } from '../common/base/errors.ts';
import { containerIdOf } from '../common/model/container-id.ts';
import type { TaskId } from '../common/model/ids.ts';
import { type Task, type TaskStatus, taskName } from '../common/model/task.ts';
import type { HealthReport } from './executor/health.ts';
import type { ImageRecord } from './images/image-store.ts';
import type {
  ContainerState,
  ExecSession,
  ExecSpec,
  LogQuery,
  LogRecord,
} from './runtime/native-runtime.ts';

export interface ContainerViewOptions {
  readonly tasks: () => readonly { readonly task: Task; readonly status: TaskStatus }[];
  readonly state: (taskId: TaskId) => ContainerState | undefined;
  readonly image: (reference: string) => ImageRecord | undefined;
  readonly health: (taskId: TaskId) => HealthReport | null;
  /** the task as it runs: with its templates expanded */
  readonly expanded: (task: Task) => Task;
  readonly exec: (taskId: TaskId, spec: ExecSpec) => Promise<ExecSession>;
  readonly logs: (
    taskId: TaskId,
    query: LogQuery,
    signal?: AbortSignal,
  ) => AsyncIterable<LogRecord>;
}

export interface ContainerInfo {
  /** 64 hexadecimal characters */
  readonly id: string;
  /** `service.slot.taskId` */
  readonly name: string;
  readonly task: Task;
  readonly status: TaskStatus;
  readonly state: ContainerState;
  readonly image: ImageRecord | null;
  readonly health: HealthReport | null;
}

export class ContainerView {
  readonly #options: ContainerViewOptions;

  constructor(options: ContainerViewOptions) {
    this.#options = options;
  }

  /** Newest first. */
  list(): ContainerInfo[] {
    const out: ContainerInfo[] = [];
    for (const { task, status } of this.#options.tasks()) {
      const state = this.#options.state(task.id);
      if (state) out.push(this.#info(task, status, state));
    }
    return out.sort((a, b) => b.state.createdAtMs - a.state.createdAtMs);
  }

  /** By id, name, task id, or a unique start of an id. Throws `not-found`, `invalid-argument`. */
  require(reference: string): ContainerInfo {
    const name = reference.replace(/^\//, '');
    const all = this.list();
    const exact = all.find((it) => it.id === name || it.name === name || it.task.id === name);
    if (exact) return exact;
    const starts = all.filter((it) => name.length > 0 && it.id.startsWith(name));
    if (starts.length > 1) {
      throw new SkepError(
        'invalid-argument',
        `container ${reference} is ambiguous (${starts.length} matches found)`,
      );
    }
    if (starts[0]) return starts[0];
    throw new SkepError('not-found', `No such container: ${reference}`);
  }

  logs(taskId: TaskId, query: LogQuery, signal?: AbortSignal): AsyncIterable<LogRecord> {
    return this.#options.logs(taskId, query, signal);
  }

  /** Throws `conflict` when it does not run. */
  exec(info: ContainerInfo, spec: ExecSpec): Promise<ExecSession> {
    if (info.state.status !== 'running') {
      throw new SkepError('conflict', `container ${info.id} is not running`);
    }
    return this.#options.exec(info.task.id, spec);
  }

  #info(task: Task, status: TaskStatus, state: ContainerState): ContainerInfo {
    return {
      id: containerIdOf(task.id),
      name: taskName(task),
      task: this.#options.expanded(task),
      status,
      state,
      image: this.#options.image(task.spec.container.image) ?? null,
      health: this.#options.health(task.id),
    };
  }
}

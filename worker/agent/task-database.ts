/**
 * What this node was told and where its tasks stand, on local disk: the first thing a restarted
 * agent trusts. One file per task, replaced by rename. Never holds a secret.
 */
import { join } from 'node:path';
import { SkepError } from '../../common/base/errors.ts';
import type { Logger } from '../../common/base/log.ts';
import { NodeSmallFiles, type SmallFiles } from '../../common/base/small-files.ts';
import type { TaskId } from '../../common/model/ids.ts';
import type { Task, TaskStatus } from '../../common/model/task.ts';
import { TASK_STATES } from '../../common/model/task-state.ts';

export interface TaskRecord {
  readonly task: Task;
  readonly status: TaskStatus;
}

/** What the agent needs of its records: those of an earlier life, and the newest of each task kept. */
export interface TaskRecords {
  load(): Promise<TaskRecord[]>;
  /** Resolves when this record or a newer one of the task is kept; the same promise for all that are kept together. */
  put(record: TaskRecord): Promise<void>;
  remove(taskId: TaskId): Promise<void>;
  /** Resolves when everything given so far is kept. */
  flushed(): Promise<void>;
}

const SUFFIX = '.json';
/** of a record that is being written: after a crash it is of no use */
const UNFINISHED_SUFFIX = '.json.new';

export class TaskDatabase implements TaskRecords {
  readonly #dir: string;
  readonly #log: Logger;
  readonly #files: SmallFiles;
  /** newest record not yet written, per task; null = to be deleted */
  readonly #pending = new Map<TaskId, TaskRecord | null>();
  #writing: Promise<void> | null = null;

  constructor(dir: string, log: Logger, files: SmallFiles = new NodeSmallFiles()) {
    this.#dir = dir;
    this.#log = log;
    this.#files = files;
  }

  /** Every readable record. A damaged file is reported and left out: the manager knows the task too. */
  async load(): Promise<TaskRecord[]> {
    const records: TaskRecord[] = [];
    for (const name of await this.#files.list(this.#dir)) {
      const path = join(this.#dir, name);
      if (name.endsWith(UNFINISHED_SUFFIX)) await this.#files.remove(path);
      if (!name.endsWith(SUFFIX)) continue;
      try {
        records.push(parseRecord((await this.#files.read(path)) ?? ''));
      } catch (err) {
        this.#log.warn({ file: path, err }, 'task record unreadable, left out');
      }
    }
    return records;
  }

  put(record: TaskRecord): Promise<void> {
    this.#pending.set(record.task.id, withoutSecrets(record));
    return this.#flush();
  }

  remove(taskId: TaskId): Promise<void> {
    this.#pending.set(taskId, null);
    return this.#flush();
  }

  async flushed(): Promise<void> {
    while (this.#writing) await this.#writing;
  }

  #flush(): Promise<void> {
    this.#writing ??= this.#writeAll();
    return this.#writing;
  }

  async #writeAll(): Promise<void> {
    // Yield first, so that changes of one turn are one write per task.
    await Promise.resolve();
    try {
      while (this.#pending.size > 0) {
        for (const taskId of [...this.#pending.keys()]) await this.#writeNewest(taskId);
      }
    } finally {
      // In the turn of the last look at what is pending: a later `put` must begin a new round.
      this.#writing = null;
    }
  }

  async #writeNewest(taskId: TaskId): Promise<void> {
    // Taken only now: while the tasks before it were written, a newer record may have come.
    const record = this.#pending.get(taskId) ?? null;
    this.#pending.delete(taskId);
    const path = join(this.#dir, taskId + SUFFIX);
    if (record === null) await this.#files.remove(path);
    else await this.#files.replace(path, JSON.stringify(record));
  }
}

/** Checks what the agent's start relies on; the rest of a record is as this program wrote it. */
function parseRecord(text: string): TaskRecord {
  const record = JSON.parse(text) as {
    readonly task?: { readonly id?: unknown };
    readonly status?: { readonly state?: unknown };
  } | null;
  const state = record?.status?.state;
  if (typeof record?.task?.id !== 'string' || !TASK_STATES.some((known) => known === state)) {
    throw new SkepError('data-loss', 'read task record: it names no task or no state');
  }
  return record as TaskRecord;
}

function withoutSecrets(record: TaskRecord): TaskRecord {
  const { task } = record;
  if (task.spec.container.registryAuth === null) return record;
  const container = { ...task.spec.container, registryAuth: null };
  return { ...record, task: { ...task, spec: { ...task.spec, container } } };
}

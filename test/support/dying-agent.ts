/**
 * A process with the agent's tasks and their real database, which kills itself at a given operation of its files. Started by
 * `agent-crash-points.test.ts`, bundled into one file. Speaks lines of JSON on its standard output.
 *
 * In each life it is given new tasks and no others, so that those of the life before go; tells some of them to stop, and some
 * to go.
 */
import { writeSync } from 'node:fs';
import { InstantExecutor } from '../../cli/dev/agents/instant-executor.ts';
import { SystemClock } from '../../common/base/clock.ts';
import { type Logger, silentLogger } from '../../common/base/log.ts';
import type { TaskId } from '../../common/model/ids.ts';
import type { Task } from '../../common/model/task.ts';
import { StatusReporter } from '../../worker/agent/status-reporter.ts';
import {
  TaskDatabase,
  type TaskRecord,
  type TaskRecords,
} from '../../worker/agent/task-database.ts';
import { TaskManager } from '../../worker/agent/task-manager.ts';
import type { Controller } from '../../worker/executor/executor.ts';
import { set } from './assignments.ts';
import { aNodeDescription, aTask, aTaskStatus, idOf } from './builders.ts';
import { type FatalMoment, setFatal } from './fatal-files.ts';

export interface DyingAgentRequest extends FatalMoment {
  readonly dir: string;
  /** tells its tasks from those of other lives */
  readonly life: number;
}

export type DyingAgentReport =
  /** What the database gave at the start: whole records alone. */
  | { readonly kind: 'found'; readonly states: Readonly<Record<string, string>> }
  /** Of a record that could not be read. */
  | { readonly kind: 'torn'; readonly words: string }
  /** From here on the record may be there, or be gone. */
  | { readonly kind: 'putting'; readonly taskId: TaskId; readonly state: string }
  | { readonly kind: 'removing'; readonly taskId: TaskId }
  /** The database said so. */
  | { readonly kind: 'kept'; readonly taskId: TaskId; readonly state: string }
  | { readonly kind: 'removed'; readonly taskId: TaskId }
  | { readonly kind: 'dying'; readonly what: string }
  | { readonly kind: 'stopped' };

const TASKS = 3;
const MOVE_MS = 8;
const clock = new SystemClock();
const request = JSON.parse(process.argv[2]!) as DyingAgentRequest;

function report(line: DyingAgentReport): void {
  writeSync(1, `${JSON.stringify(line)}\n`);
}

function fail(err: unknown): void {
  writeSync(2, `${err instanceof Error ? (err.stack ?? err.message) : String(err)}\n`);
  process.exit(1);
}

/** So that the moves of tasks are turns of their own, and most statuses are written, however slow the disk is. */
class UnhurriedExecutor extends InstantExecutor {
  readonly #records: Pick<TaskRecords, 'flushed'>;

  constructor(records: Pick<TaskRecords, 'flushed'>) {
    super(aNodeDescription());
    this.#records = records;
  }

  override controller(task: Task): Controller {
    const controller = super.controller(task);
    const [prepare, start] = [
      controller.prepare.bind(controller),
      controller.start.bind(controller),
    ];
    const slowly = (move: typeof prepare) => async (signal: AbortSignal) => {
      await clock.sleep(MOVE_MS);
      await this.#records.flushed();
      await move(signal);
    };
    return Object.assign(controller, { prepare: slowly(prepare), start: slowly(start) });
  }
}

/** Tells what it is asked for and what it promises. */
class ToldRecords implements TaskRecords {
  readonly #records: TaskRecords;

  constructor(records: TaskRecords) {
    this.#records = records;
  }

  async load(): Promise<TaskRecord[]> {
    const records = await this.#records.load();
    const states = records.map(({ task, status }) => [task.id, status.state]);
    report({ kind: 'found', states: Object.fromEntries(states) });
    return records;
  }

  put(record: TaskRecord): Promise<void> {
    const { task, status } = record;
    report({ kind: 'putting', taskId: task.id, state: status.state });
    const kept = this.#records.put(record);
    void kept.then(() => report({ kind: 'kept', taskId: task.id, state: status.state }), fail);
    return kept;
  }

  async remove(taskId: TaskId): Promise<void> {
    report({ kind: 'removing', taskId });
    await this.#records.remove(taskId);
    report({ kind: 'removed', taskId });
  }

  flushed(): Promise<void> {
    return this.#records.flushed();
  }
}

async function main(): Promise<void> {
  setFatal(request);
  const log: Logger = { ...silentLogger, warn: tellTorn } as Logger;
  const reporter = new StatusReporter();
  const database = new ToldRecords(new TaskDatabase(request.dir, log));
  const tasks = new TaskManager({
    ...{ database, reporter, clock, log: silentLogger, onFailure: fail },
    executor: new UnhurriedExecutor(database),
  });
  await tasks.start();
  const given = Array.from({ length: TASKS }, (_, i) =>
    aTask({ id: idOf(`t${i}x${request.life}x`), status: aTaskStatus({ state: 'assigned' }) }),
  );
  await tasks.apply(given.map(set), true);
  await isQuiet({ tasks, database }, given.length, 'running');
  const stopping: Task[] = given.slice(1).map((task) => ({ ...task, desiredState: 'shutdown' }));
  await tasks.apply(stopping.map(set), false);
  await isQuiet({ tasks, database }, given.length, 'shutdown');
  const last = given[TASKS - 1]!.id;
  await tasks.apply([{ action: 'remove', kind: 'task', key: last }], false);
  await isQuiet({ tasks, database }, given.length - 1, 'shutdown');
  await tasks.stop();
  report({ kind: 'stopped' });
  process.exit(0);
}

function tellTorn(...args: readonly unknown[]): void {
  report({ kind: 'torn', words: JSON.stringify(args) });
}

/** Its tasks are `count`, the last of them `state`, and all that was put is kept. */
async function isQuiet(
  { tasks, database }: { readonly tasks: TaskManager; readonly database: TaskRecords },
  count: number,
  state: string,
): Promise<void> {
  for (;;) {
    const all = tasks.list();
    if (all.length === count && all.at(-1)?.status.state === state) break;
    await clock.sleep(1);
  }
  await database.flushed();
}

main().catch(fail);

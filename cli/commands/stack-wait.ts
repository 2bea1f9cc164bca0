/**
 * Waits until all services of a stack are up, in one picture of all of them: a tree that is drawn over on a
 * terminal, a line for each change elsewhere. The exit status says how it ended.
 */
import { Option } from 'commander';
import type { ServiceJson } from '../../common/model/engine-json/service.ts';
import type { TaskJson } from '../../common/model/engine-json/task.ts';
import { framesOf } from '../client/frames.ts';
import { parseDurationNanos } from '../compose/values.ts';
import { type Paint, paintFor, type Tone } from '../output/palette.ts';
import { ellipsis } from '../output/table.ts';
import { Changes } from './changes.ts';
import { type CommandContext, flag, printLine, warnLine } from './context.ts';
import { ofStack } from './stack.ts';
import {
  type ServiceProgress,
  type StackMoment,
  serviceProgress,
  stackEnd,
} from './stack-progress.ts';
import { hasFailed } from './task-life.ts';

/** How long the nodes may all refuse a task before that counts as the answer. */
export const PLACEMENT_WAIT_MS = 10_000;
const TIMEOUT_DEFAULT_MS = 600_000;
/** As the services' own default: so long a task must run before it counts. */
const MONITOR_DEFAULT_NANOS = 5e9;
const LOG_LINES = 10;
const FAILED_TASKS_SHOWN = 2;

/** How a wait ends, and the exit status that says so. */
export const END_STATUS = {
  converged: 0,
  failed: 1,
  'rolled-back': 2,
  'timed-out': 3,
  unplaced: 4,
} as const;
export type WaitEnd = keyof typeof END_STATUS;

export function timeoutFlag(): Option {
  return new Option('--timeout <duration>', 'give up waiting then')
    .argParser(flag((text) => parseDurationNanos(text) / 1e6))
    .default(TIMEOUT_DEFAULT_MS, '10m');
}

export interface StackWait {
  /** of the services that are waited for */
  readonly names: ReadonlySet<string>;
  /** of those that this command changed */
  readonly changed: ReadonlySet<string>;
  readonly quiet?: boolean;
  /** ms */
  readonly timeout: number;
}

/** Says what went wrong on standard error. null = interrupted, and it goes on without us. */
export async function waitForStack(
  context: CommandContext,
  stack: string,
  wait: StackWait,
): Promise<WaitEnd | null> {
  const picture = wait.quiet ? null : new Picture(context, stack);
  try {
    const { end, progress, known } = await follow(context, stack, wait, picture);
    picture?.end();
    if (end === 'converged') return end;
    if (end === 'timed-out') warnLine(context, `Stack ${stack}: timed out`);
    const wanting = progress.filter(({ state, isStable }) => state !== 'up' || !isStable);
    for (const { name, text, state } of wanting) {
      warnLine(context, `${name}: ${text}`);
      if (state === 'unplaced') {
        warnLine(context, `  what each node says to that: skep service explain ${name}`);
      }
    }
    await showFailures(context, stack, new Set(wanting.map(({ name }) => name)), known);
    return end;
  } catch (err) {
    if (!context.signal.aborted) throw err;
    picture?.end();
    printLine(context, `Operation continuing in background: see skep stack ps ${stack}`);
    return null;
  }
}

type Watched = ServiceProgress & { readonly isStable: boolean };

interface Outcome {
  readonly end: WaitEnd;
  readonly progress: readonly Watched[];
  /** tasks that had ended before: their failures are none of ours */
  readonly known: ReadonlySet<string>;
}

async function follow(
  context: CommandContext,
  stack: string,
  wait: StackWait,
  picture: Picture | null,
): Promise<Outcome> {
  const changes = new Changes(context);
  try {
    return await followChanges(context, stack, wait, { picture, changes });
  } finally {
    changes.close();
  }
}

async function followChanges(
  context: CommandContext,
  stack: string,
  { names, changed, timeout }: StackWait,
  { picture, changes }: { readonly picture: Picture | null; readonly changes: Changes },
): Promise<Outcome> {
  const { clock } = context;
  const startMs = clock.monotonicMs();
  const upSinceMs = new Map<string, number>();
  const known = await endedTasks(context, stack);
  let unplacedSinceMs: number | null = null;
  for (;;) {
    const moment = await momentOf(context, stack);
    const nowMs = clock.monotonicMs();
    const progress = [...names].map((name): Watched => {
      const one = serviceProgress(name, moment, changed.has(name));
      if (one.state !== 'up') upSinceMs.delete(name);
      else if (!upSinceMs.has(name)) upSinceMs.set(name, nowMs);
      const service = moment.services.find(({ Spec }) => Spec.Name === name);
      const watchedMs = changed.has(name) && !one.isSettled ? monitorMs(service) : 0;
      const upMs = nowMs - (upSinceMs.get(name) ?? nowMs);
      const isStable = !one.isUpdating && upMs >= watchedMs;
      return { ...one, isStable };
    });
    picture?.show(progress);
    const end = stackEnd(progress);
    unplacedSinceMs = end === 'unplaced' ? (unplacedSinceMs ?? nowMs) : null;
    const isUnplaced = unplacedSinceMs !== null && nowMs - unplacedSinceMs >= PLACEMENT_WAIT_MS;
    if (end !== null && (end !== 'unplaced' || isUnplaced)) return { end, progress, known };
    if (nowMs - startMs >= timeout) return { end: end ?? 'timed-out', progress, known };
    await changes.next();
  }
}

async function momentOf({ client }: CommandContext, stack: string): Promise<StackMoment> {
  const [services, tasks, nodes] = await Promise.all([
    client.services(ofStack(stack), true),
    client.tasks({ ...ofStack(stack), '_up-to-date': ['true'] }),
    client.nodes(),
  ]);
  return { services, tasks, nodes };
}

function monitorMs(service: ServiceJson | undefined): number {
  return (service?.Spec.UpdateConfig?.Monitor ?? MONITOR_DEFAULT_NANOS) / 1e6;
}

/** Failed tasks of earlier specs: they are not what this deployment did. */
async function endedTasks(context: CommandContext, stack: string): Promise<ReadonlySet<string>> {
  const [all, current] = await Promise.all([
    context.client.tasks(ofStack(stack)),
    context.client.tasks({ ...ofStack(stack), '_up-to-date': ['true'] }),
  ]);
  const ours = new Set(current.map(({ ID }) => ID));
  return new Set(all.filter((task) => hasFailed(task) && !ours.has(task.ID)).map(({ ID }) => ID));
}

/** The newest failed tasks of these services, and the last lines that they said. */
async function showFailures(
  context: CommandContext,
  stack: string,
  names: ReadonlySet<string>,
  known: ReadonlySet<string>,
): Promise<void> {
  const [services, tasks] = await Promise.all([
    context.client.services(ofStack(stack)),
    context.client.tasks(ofStack(stack)),
  ]);
  for (const { ID, Spec } of services.filter((service) => names.has(service.Spec.Name))) {
    const failed = tasks
      .filter((task) => task.ServiceID === ID && hasFailed(task) && !known.has(task.ID))
      .sort((a, b) => (a.CreatedAt < b.CreatedAt ? 1 : -1));
    for (const task of failed.slice(0, FAILED_TASKS_SHOWN)) {
      const name = `${Spec.Name}.${task.Slot ?? task.NodeID}`;
      warnLine(context, `${name} (${task.ID}) ${task.Status.State}: ${task.Status.Err ?? ''}`);
      for (const line of await lastLines(context, task)) warnLine(context, `  | ${line}`);
    }
  }
}

async function lastLines(context: CommandContext, task: TaskJson): Promise<readonly string[]> {
  // Its node never began it: there is no log, and what the managers say of that helps nobody.
  if (task.Status.State === 'rejected') return [];
  try {
    const query = { tail: String(LOG_LINES) };
    const body = await context.client.logs('tasks', task.ID, query, context.signal);
    const chunks: Buffer[] = [];
    if (task.Spec.ContainerSpec?.TTY) for await (const chunk of body) chunks.push(chunk as Buffer);
    else for await (const { data } of framesOf(body)) chunks.push(data);
    const text = Buffer.concat(chunks).toString('utf8').trimEnd();
    return text === '' ? [] : text.split('\n').slice(-LOG_LINES);
  } catch (err) {
    if (context.signal.aborted) throw err;
    return [`(its log cannot be read: ${(err as Error).message})`];
  }
}

const TEXT_CHARS_MAX = 120;

class Picture {
  readonly #context: CommandContext;
  readonly #stack: string;
  readonly #isTerminal: boolean;
  readonly #paint: Paint;
  readonly #said = new Map<string, string>();
  #drawn = 0;

  constructor(context: CommandContext, stack: string) {
    this.#context = context;
    this.#stack = stack;
    this.#isTerminal = context.stdout.isTTY ?? false;
    this.#paint = paintFor(context.stdout, context.env);
  }

  show(progress: readonly Watched[]): void {
    if (this.#isTerminal) this.#draw(treeLines(this.#stack, progress));
    else for (const one of progress) this.#say(one.name, lineOf(one));
  }

  /** What was drawn stays. */
  end(): void {
    this.#drawn = 0;
  }

  #say(name: string, line: string): void {
    if (this.#said.get(name) === line) return;
    this.#said.set(name, line);
    printLine(this.#context, `${name}: ${line}`);
  }

  #draw(lines: readonly TreeLine[]): void {
    const { stdout } = this.#context;
    const width = stdout.columns ?? 80;
    // What does not fit cannot be drawn over: the last lines are the ones that are left out.
    const height = Math.max(2, (stdout.rows ?? 24) - 1);
    const shown =
      lines.length <= height
        ? lines
        : [...lines.slice(0, height - 1), plainLine(`   and ${lines.length - height + 1} more`)];
    const up = this.#drawn > 0 ? `\x1b[${this.#drawn}A` : '';
    const body = shown
      .map(({ text, tone }) => `\x1b[2K${this.#paint(text.slice(0, width - 1), tone)}\n`)
      .join('');
    stdout.write(`${up}\x1b[J${body}`);
    this.#drawn = shown.length;
  }
}

function lineOf({ state, ready, wanted, text, isStable }: Watched): string {
  const words = state === 'up' ? (isStable ? `${text}, converged` : `${text}, watched`) : text;
  return `${ready}/${wanted} ${ellipsis(words.replaceAll('\n', ' '), TEXT_CHARS_MAX)}`;
}

interface TreeLine {
  readonly text: string;
  readonly tone: Tone;
}

const plainLine = (text: string): TreeLine => ({ text, tone: 'plain' });

function toneOf({ state, isStable }: Watched): Tone {
  switch (state) {
    case 'up':
      return isStable ? 'good' : 'plain';
    case 'failed':
      return 'bad';
    case 'unplaced':
    case 'rolled-back':
      return 'caution';
    case 'moving':
    case 'held':
      return 'plain';
  }
}

/** Those that still want something first, so that a small terminal shows them. */
function treeLines(stack: string, progress: readonly Watched[]): TreeLine[] {
  const up = progress.filter(({ state, isStable }) => state === 'up' && isStable);
  const order = [...progress.filter((one) => !up.includes(one)), ...up];
  const width = Math.max(0, ...order.map(({ name }) => name.length));
  const branches = order.map((one, at) => {
    const branch = at === order.length - 1 ? '└─' : '├─';
    const text = `${branch} ${one.name.padEnd(width)}  ${lineOf(one)}`;
    return { text, tone: toneOf(one) };
  });
  const heading = `Stack ${stack}: ${up.length} of ${progress.length} services are up`;
  return [plainLine(heading), ...branches];
}

/** Logs of a container as they are, and of a service or a stack with the task that each line comes from. */
import type { Command } from 'commander';
import { type Frame, framesOf } from '../client/frames.ts';
import { hasStatus } from '../client/transport.ts';
import { parseDurationNanos } from '../compose/values.ts';
import { writeOut } from './binary-output.ts';
import { type CommandContext, type Configure, UsageError, warnLine } from './context.ts';
import { PacedOutput } from './paced-output.ts';
import { inParallel } from './parallel.ts';
import { ofStack } from './stack.ts';
import { SHORT_ID_CHARS } from './tasks.ts';

interface LogFlags {
  readonly details?: boolean;
  readonly follow?: boolean;
  readonly since?: string;
  readonly until?: string;
  readonly tail: string;
  readonly timestamps?: boolean;
}

interface ServiceLogFlags extends LogFlags {
  readonly raw?: boolean;
  readonly resolve?: boolean;
  readonly taskIds?: boolean;
  readonly trunc?: boolean;
}

function commonFlags(command: Command): Command {
  return command
    .option('--details', 'show extra attributes')
    .option('-f, --follow', 'go on as lines come')
    .option('--since <time>', 'e.g. 2026-01-02T13:23:37Z or 42m')
    .option('-n, --tail <n>', 'lines from the end', 'all')
    .option('-t, --timestamps', 'show times');
}

/** Unix seconds of an absolute time, or of a duration before now. Throws `UsageError`. */
export function parseInstant(text: string, nowMs: number): string {
  if (/^\d+(\.\d+)?$/.test(text)) return text;
  if (/^\d{4}-\d{2}-\d{2}/.test(text)) {
    const ms = Date.parse(text);
    if (Number.isNaN(ms)) throw new UsageError(`invalid time "${text}"`);
    return (ms / 1000).toFixed(9);
  }
  return ((nowMs - parseDurationNanos(text) / 1e6) / 1000).toFixed(9);
}

function queryOf(context: CommandContext, flags: LogFlags) {
  const now = context.clock.wallMs();
  return {
    tail: flags.tail,
    ...(flags.follow && { follow: true }),
    ...(flags.timestamps && { timestamps: true }),
    ...(flags.since !== undefined && { since: parseInstant(flags.since, now) }),
    ...(flags.until !== undefined && { until: parseInstant(flags.until, now) }),
  };
}

export const containerLogs: Configure = (command, context) => {
  commonFlags(command)
    .option('--until <time>', 'e.g. 2026-01-02T13:23:37Z or 42m')
    .argument('<container>', 'id or name')
    .action(async (ref: string, flags: LogFlags) => {
      const container = await context.client.container(ref);
      const query = { ...queryOf(context, flags), ...(flags.details && { details: true }) };
      const body = await context.client.logs('containers', container.Id, query, context.signal);
      if (container.Config?.Tty) {
        await writeOut(context, body);
        return;
      }
      const output = new PacedOutput(context);
      for await (const { stream, data } of framesOf(body)) {
        await output.write(stream === 'stderr' ? 'stderr' : 'stdout', data);
      }
    });
};

function serviceFlags(command: Command): Command {
  return commonFlags(command)
    .option('--no-resolve', 'ids instead of names')
    .option('--no-task-ids', 'names without ids of tasks')
    .option('--no-trunc', 'full ids')
    .option('--raw', 'lines alone');
}

export const serviceLogs: Configure = (command, context) => {
  serviceFlags(command)
    .argument('<service|task>', 'id or name')
    .action(async (ref: string, flags: ServiceLogFlags) => {
      const { kind, id, tty } = await findTarget(context, ref);
      if (tty && !flags.raw) {
        throw new UsageError('tty service logs only supported with --raw');
      }
      if (tty) {
        const body = await context.client.logs(kind, id, queryOf(context, flags), context.signal);
        await writeOut(context, body);
      } else await copyLines(context, { kind, id }, flags, new LineWriter(context, flags));
    });
};

interface Source {
  readonly kind: 'services' | 'tasks';
  readonly id: string;
}

async function copyLines(
  context: CommandContext,
  { kind, id }: Source,
  flags: ServiceLogFlags,
  writer: LineWriter,
): Promise<void> {
  const query = { ...queryOf(context, flags), ...(!flags.raw && { details: true }) };
  const body = await context.client.logs(kind, id, query, context.signal);
  for await (const frame of framesOf(body)) await writer.write(frame);
}

/** Each holds a connection. */
const SERVICES_MAX = 100;

/** All services of a stack at once, as lines come. */
export const stackLogs: Configure = (command, context) => {
  serviceFlags(command)
    .argument('<stack>', 'name of the stack')
    .argument('[service...]', 'these alone; with or without the name of the stack before them')
    .action(async (stack: string, refs: readonly string[], flags: ServiceLogFlags) => {
      const all = await context.client.services(ofStack(stack));
      if (all.length === 0) throw new UsageError(`nothing found in stack: ${stack}`);
      const named = (ref: string) =>
        all.find(({ Spec }) => Spec.Name === ref || Spec.Name === `${stack}_${ref}`);
      const missing = refs.filter((ref) => !named(ref));
      if (missing.length > 0) {
        throw new UsageError(`no such service in stack ${stack}: ${missing.join(', ')}`);
      }
      const wanted = refs.length === 0 ? all : [...new Set(refs.map((ref) => named(ref)!))];
      const readable = wanted.filter(({ Spec }) => !Spec.TaskTemplate.ContainerSpec?.TTY);
      for (const { Spec } of wanted.filter((one) => !readable.includes(one))) {
        warnLine(context, `${Spec.Name} has a terminal: see skep service logs --raw ${Spec.Name}`);
      }
      if (flags.follow && readable.length > SERVICES_MAX) {
        throw new UsageError(`--follow takes ${SERVICES_MAX} services at most: name some of them`);
      }
      const writer = new LineWriter(context, flags);
      await inParallel(readable, flags.follow ? SERVICES_MAX : 1, ({ ID }) =>
        copyLines(context, { kind: 'services', id: ID }, flags, writer),
      );
    });
};

async function findTarget(
  context: CommandContext,
  ref: string,
): Promise<{ kind: 'services' | 'tasks'; id: string; tty: boolean }> {
  try {
    const service = await context.client.service(ref);
    const tty = service.Spec.TaskTemplate.ContainerSpec?.TTY ?? false;
    return { kind: 'services', id: service.ID, tty };
  } catch (err) {
    if (!hasStatus(err, 404)) throw err;
  }
  try {
    const task = await context.client.task(ref);
    return { kind: 'tasks', id: task.ID, tty: task.Spec.ContainerSpec?.TTY ?? false };
  } catch (err) {
    if (hasStatus(err, 404)) throw new UsageError(`no such task or service: ${ref}`);
    throw err;
  }
}

const SWARM = 'com.docker.swarm.';

/** Puts `service.slot.task@node    |` before each line unless they are to be raw; asks for each name once. */
class LineWriter {
  readonly #context: CommandContext;
  readonly #flags: ServiceLogFlags;
  readonly #output: PacedOutput;
  readonly #labels = new Map<string, Promise<string>>();
  #width = 0;

  constructor(context: CommandContext, flags: ServiceLogFlags) {
    this.#context = context;
    this.#flags = flags;
    this.#output = new PacedOutput(context);
  }

  async write({ stream, data }: Frame): Promise<void> {
    const line = this.#flags.raw ? data : await this.#labelled(data.toString('utf8'));
    await this.#output.write(stream === 'stderr' ? 'stderr' : 'stdout', line);
  }

  /** @param line `[time ]details text`, as the daemon sends it with details */
  async #labelled(line: string): Promise<string> {
    let rest = line;
    let time = '';
    if (this.#flags.timestamps) {
      const blank = rest.indexOf(' ');
      time = rest.slice(0, blank + 1);
      rest = rest.slice(blank + 1);
    }
    const blank = rest.indexOf(' ');
    if (blank < 0) throw new Error(`invalid context in log message: ${line}`);
    const details = detailsOf(rest.slice(0, blank));
    const label = await this.#label(details);
    this.#width = Math.max(this.#width, label.length);
    const extra = this.#flags.details ? extraDetails(details) : '';
    return `${time}${label.padEnd(this.#width)}    | ${extra}${rest.slice(blank + 1)}`;
  }

  #label(details: ReadonlyMap<string, string>): Promise<string> {
    const taskId = details.get(`${SWARM}task.id`) ?? '';
    let label = this.#labels.get(taskId);
    if (!label) {
      label = this.#makeLabel(details, taskId);
      this.#labels.set(taskId, label);
    }
    return label;
  }

  async #makeLabel(details: ReadonlyMap<string, string>, taskId: string): Promise<string> {
    const { client } = this.#context;
    const nodeId = details.get(`${SWARM}node.id`) ?? '';
    const serviceId = details.get(`${SWARM}service.id`) ?? '';
    const resolve = this.#flags.resolve ?? true;
    const named = async (id: string, ask: () => Promise<string>): Promise<string> => {
      if (!resolve) return id;
      return ask().catch((err: unknown) => {
        if (hasStatus(err, 404)) return id;
        throw err;
      });
    };
    const service = await named(serviceId, async () => (await client.service(serviceId)).Spec.Name);
    const node = await named(nodeId, async () => {
      const found = await client.node(nodeId);
      return found.Spec.Name || found.Description?.Hostname || nodeId;
    });
    const slot = await named(nodeId, async () =>
      String((await client.task(taskId)).Slot ?? nodeId),
    );
    const shortTask = this.#flags.trunc === false ? taskId : taskId.slice(0, SHORT_ID_CHARS);
    const task = this.#flags.taskIds === false ? '' : `.${shortTask}`;
    return `${service}.${slot}${task}@${node}`;
  }
}

function detailsOf(text: string): Map<string, string> {
  return new Map(
    text.split(',').map((pair) => {
      const [key = '', value = ''] = pair.split('=');
      return [decodeURIComponent(key), decodeURIComponent(value)];
    }),
  );
}

function extraDetails(details: ReadonlyMap<string, string>): string {
  const own = [...details].filter(([key]) => !key.startsWith(SWARM));
  return own.length === 0 ? '' : `${own.map(([key, value]) => `${key}=${value}`).join(',')} `;
}

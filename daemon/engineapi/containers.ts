/** Containers and exec: reading, logs, running commands. What tasks are is the orchestrator's business. */

import type { Duplex } from 'node:stream';
import { finished } from 'node:stream/promises';
import type { Clock } from '../../common/base/clock.ts';
import { SkepError } from '../../common/base/errors.ts';
import type { Random } from '../../common/base/random.ts';
import { containerAttributes } from '../../common/model/container-labels.ts';
import type { StringMap } from '../../common/model/objects.ts';
import type { ContainerInfo, ContainerView } from '../../worker/container-view.ts';
import type { ExecSession, ExecSpec, LogRecord } from '../../worker/runtime/native-runtime.ts';
import type { EventJournal } from './event-journal.ts';
import { Filters } from './filters.ts';
import { frame, streamType } from './frames.ts';
import type { RequestContext } from './http-context.ts';
import { containerRowToJson, containerToJson, labelsOf } from './json/container.ts';
import { JsonReader } from './json/reader.ts';
import { type LogLine, logSelection, writeLogLines } from './log-lines.ts';
import type { Routes } from './server.ts';

export interface ContainerRoutesOptions {
  readonly containers: ContainerView;
  readonly clock: Clock;
  readonly execs: Execs;
  readonly events: Pick<EventJournal, 'tell'>;
}

/** An exec that was created; kept for a while after it ended, so that its exit code can be read. */
interface ExecRecord {
  readonly id: string;
  readonly container: ContainerInfo;
  readonly spec: ExecSpec;
  session: ExecSession | null;
  exitCode: number | null;
}

const EXECS_KEPT = 1000;
const CONTAINER_FILTERS = [
  'id',
  'name',
  'label',
  'status',
  'ancestor',
  'network',
  'volume',
  'health',
  'exited',
  'is-task',
  'since',
  'before',
  'publish',
  'expose',
];
const FILTERS_DONE = ['id', 'name', 'label', 'status', 'is-task', 'health'];

export function addContainerRoutes(routes: Routes, options: ContainerRoutesOptions): void {
  const { containers, clock, execs, events } = options;
  const tell = (record: ExecRecord, action: string, more: StringMap = {}): void =>
    events.tell({
      type: 'container',
      action,
      id: record.container.id,
      attributes: containerAttributes(record.container.task, { execID: record.id, ...more }),
    });

  routes.add('GET', '/containers/json', (context) => {
    const filters = Filters.parse(context.text('filters'), CONTAINER_FILTERS);
    for (const name of CONTAINER_FILTERS) {
      if (filters.has(name) && !FILTERS_DONE.includes(name)) {
        throw new SkepError('unimplemented', `filter '${name}' is not supported yet`);
      }
    }
    const all = context.flag('all') || filters.has('status');
    const limit = Number(context.text('limit') ?? 0);
    const rows = containers
      .list()
      .filter((info) => all || info.state.status === 'running')
      .filter((info) => matches(info, filters));
    const shown = limit > 0 ? rows.slice(0, limit) : rows;
    context.send(
      200,
      shown.map((info) => containerRowToJson(info, clock.wallMs())),
    );
  });

  routes.add('GET', '/containers/:id/json', (context) =>
    context.send(200, containerToJson(containers.require(context.param('id')))),
  );

  routes.add('GET', '/containers/:id/logs', async (context) => {
    const info = containers.require(context.param('id'));
    const selection = logSelection(context);
    const { tty } = info.task.spec.container;
    const records = containers.logs(info.task.id, selection, context.signal);
    const out = context.stream(streamType(tty, context.apiMinor));
    await writeLogLines(out, linesOf(records), selection, tty, context.signal);
  });

  routes.add('POST', '/containers/:id/exec', async (context) => {
    const info = containers.require(context.param('id'));
    if (info.state.status !== 'running') {
      throw new SkepError('conflict', `container ${info.id} is not running`);
    }
    const record = execs.create(info, execSpecOf(new JsonReader(await context.json())));
    tell(record, `exec_create: ${record.spec.args.join(' ')}`);
    context.send(201, { Id: record.id });
  });

  routes.add('POST', '/exec/:id/start', async (context) => {
    const record = execs.require(context.param('id'));
    const detach = new JsonReader(await context.json()).boolean('Detach');
    await startExec(context, containers, record, detach, (action, more) =>
      tell(record, action, more),
    );
  });

  routes.add('POST', '/exec/:id/resize', async (context) => {
    const { session } = execs.require(context.param('id'));
    if (!session) throw new SkepError('conflict', 'resize exec: it is not running');
    await session.resize(context.integer('h'), context.integer('w'));
    context.empty(201);
  });

  routes.add('GET', '/exec/:id/json', (context) => {
    const record = execs.require(context.param('id'));
    context.send(200, {
      ID: record.id,
      Running: record.session !== null && record.exitCode === null,
      ExitCode: record.exitCode,
      ProcessConfig: {
        entrypoint: record.spec.args[0] ?? '',
        arguments: record.spec.args.slice(1),
        tty: record.spec.tty,
      },
      OpenStdin: record.spec.stdin,
      ContainerID: record.container.id,
      Pid: record.session?.pid ?? 0,
    });
  });
}

/** The execs of this engine: the same ones over each of its sockets. */
export class Execs {
  readonly #random: Random;
  readonly #records = new Map<string, ExecRecord>();

  constructor(random: Random) {
    this.#random = random;
  }

  create(container: ContainerInfo, spec: ExecSpec): ExecRecord {
    const id = Buffer.from(this.#random.bytes(32)).toString('hex');
    const record: ExecRecord = { id, container, spec, session: null, exitCode: null };
    this.#records.set(id, record);
    const oldest = this.#records.keys().next().value;
    if (this.#records.size > EXECS_KEPT && oldest !== undefined) this.#records.delete(oldest);
    return record;
  }

  require(id: string): ExecRecord {
    const record = this.#records.get(id);
    if (!record) throw new SkepError('not-found', `No such exec instance: ${id}`);
    return record;
  }
}

async function startExec(
  context: RequestContext,
  containers: ContainerView,
  record: ExecRecord,
  detach: boolean,
  tell: (action: string, more?: StringMap) => void,
): Promise<void> {
  if (record.session) throw new SkepError('conflict', `exec ${record.id} was started already`);
  const session = await containers.exec(record.container, record.spec);
  record.session = session;
  tell(`exec_start: ${record.spec.args.join(' ')}`);
  const ended = session.wait().then(({ exitCode }) => {
    record.exitCode = exitCode;
    tell('exec_die', { exitCode: String(exitCode) });
  });
  if (detach) {
    session.stdout.resume();
    session.stderr.resume();
    context.empty(200);
    await ended;
    return;
  }
  const socket = context.hijack(streamType(record.spec.tty, context.apiMinor));
  await relay(socket, session, record.spec, ended);
}

/** Bytes both ways until the process ended and all its output is sent; its exit code is known by then. */
async function relay(
  socket: Duplex,
  session: ExecSession,
  spec: ExecSpec,
  ended: Promise<void>,
): Promise<void> {
  socket.on('error', () => socket.destroy());
  // A client that is gone takes its process along: nobody reads what it writes.
  socket.once('close', () => session.close());
  if (spec.stdin) socket.pipe(session.stdin);
  else socket.resume();
  const forward = (stream: 'stdout' | 'stderr'): Promise<void> => {
    const source = session[stream];
    source.on('data', (chunk: Buffer) => {
      if (socket.destroyed) return;
      if (socket.write(spec.tty ? chunk : frame(stream, chunk))) return;
      source.pause();
      socket.once('drain', () => source.resume());
    });
    return finished(source, { writable: false });
  };
  await Promise.all([ended, forward('stdout'), forward('stderr')]);
  socket.end();
}

function execSpecOf(json: JsonReader): ExecSpec {
  const args = json.strings('Cmd');
  if (args.length === 0) throw new SkepError('invalid-argument', 'No exec command specified');
  if (json.string('User') !== '') {
    throw new SkepError('unimplemented', 'exec: User is not supported yet');
  }
  return {
    args: [...args],
    env: [...json.strings('Env')],
    cwd: json.string('WorkingDir'),
    user: null,
    tty: json.boolean('Tty'),
    stdin: json.boolean('AttachStdin'),
    privileged: json.boolean('Privileged'),
  };
}

function matches(info: ContainerInfo, filters: Filters): boolean {
  return (
    filters.any('id', (id) => info.id.startsWith(id)) &&
    filters.any('name', (name) => info.name.includes(name.replace(/^\//, ''))) &&
    filters.labels('label', labelsOf(info)) &&
    filters.any('status', (status) => status === info.state.status) &&
    filters.any('is-task', (value) => value === 'true' || value === '1') &&
    filters.any('health', (value) => value === (info.health?.status ?? 'none'))
  );
}

async function* linesOf(records: AsyncIterable<LogRecord>): AsyncIterable<LogLine> {
  for await (const { timeNanos, stream, data } of records) {
    yield { timeNanos, stream, data, attributes: {} };
  }
}

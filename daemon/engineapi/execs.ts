/** Commands that are run in containers: made, started, resized, looked at. */
import type { Duplex } from 'node:stream';
import { finished } from 'node:stream/promises';
import { describeError, hasCode, SkepError } from '../../common/base/errors.ts';
import type { Random } from '../../common/base/random.ts';
import type { StringMap } from '../../common/model/objects.ts';
import type { ContainerInfo, ContainerView } from '../../worker/container-view.ts';
import { requireAnswering } from '../../worker/containers/lifecycle.ts';
import { CommandError } from '../../worker/runtime/exec-session.ts';
import type { ExecSession, ExecSpec } from '../../worker/runtime/native-runtime.ts';
import type { EventJournal } from './event-journal.ts';
import { mintExecId } from './exec-id.ts';
import { frame, streamType } from './frames.ts';
import type { RequestContext } from './http-context.ts';
import { JsonReader } from './json/reader.ts';
import type { Routes } from './server.ts';

export interface ExecRoutesOptions {
  readonly containers: ContainerView;
  readonly execs: Execs;
  readonly events: Pick<EventJournal, 'tell'>;
}

/** An exec that was created; kept for a while after it ended, so that its exit code can be read. */
interface ExecRecord {
  readonly id: string;
  readonly containerId: string;
  /** of its events: the container's, as it was when the exec was made */
  readonly attributes: StringMap;
  readonly spec: ExecSpec;
  /** Set before its process is: what two ask for at once is started once. */
  hasBegun: boolean;
  session: ExecSession | null;
  /** null = it has not ended */
  exitCode: number | null;
}

/** Beside those that run: as many as processes and their limits allow. */
export const EXECS_KEPT = 1000;

export function addExecRoutes(routes: Routes, options: ExecRoutesOptions): void {
  const { containers, execs, events } = options;
  const tell = (record: ExecRecord, action: string, more: StringMap = {}): void =>
    events.tell({
      type: 'container',
      action,
      id: record.containerId,
      attributes: { ...record.attributes, execID: record.id, ...more },
    });

  routes.add('POST', '/containers/:id/exec', async (context) => {
    const info = containers.require(context.param('id'));
    requireAnswering(info, 'exec');
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
      ContainerID: record.containerId,
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

  create({ id: containerId, attributes }: ContainerInfo, spec: ExecSpec): ExecRecord {
    if (this.#records.size >= EXECS_KEPT) this.#dropOldest();
    const id = mintExecId(containerId, this.#random);
    const state = { hasBegun: false, session: null, exitCode: null };
    const record: ExecRecord = { id, containerId, attributes, spec, ...state };
    this.#records.set(id, record);
    return record;
  }

  require(id: string): ExecRecord {
    const record = this.#records.get(id);
    if (!record) throw new SkepError('not-found', `No such exec instance: ${id}`);
    return record;
  }

  /** None that runs: its client would lose its exit code and its terminal's size. */
  #dropOldest(): void {
    for (const [id, { hasBegun, exitCode }] of this.#records) {
      if (hasBegun && exitCode === null) continue;
      this.#records.delete(id);
      return;
    }
  }
}

async function startExec(
  context: RequestContext,
  containers: ContainerView,
  record: ExecRecord,
  detach: boolean,
  tell: (action: string, more?: StringMap) => void,
): Promise<void> {
  if (record.hasBegun) throw new SkepError('conflict', `exec ${record.id} was started already`);
  // As it is now: it may have been paused or removed since the exec was made.
  const info = containers.require(record.containerId);
  record.hasBegun = true;
  const session = await containers.exec(info, record.spec).catch((err: unknown) => {
    const isTold = tellFailedStart(context, record, detach, err);
    record.hasBegun = record.exitCode !== null;
    if (!isTold) throw err;
    return null;
  });
  if (session === null) return;
  record.session = session;
  tell(`exec_start: ${record.spec.args.join(' ')}`);
  const ended = endOf(session).then((exitCode) => {
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
  if (context.signal.aborted) {
    // It left while the process was made: its connection tells of its end no more.
    session.close();
    await ended;
    throw context.signal.reason;
  }
  const socket = context.hijack(streamType(record.spec.tty, context.apiMinor));
  await relay(socket, session, record.spec, ended);
}

/** What ends with its container, or with its client, is killed. */
const EXIT_KILLED = 137;

/** Its exit code. */
async function endOf(session: ExecSession): Promise<number> {
  try {
    return (await session.wait()).exitCode;
  } catch (err) {
    if (hasCode(err, 'unavailable')) return EXIT_KILLED;
    throw err;
  }
}

/** What a shell ends with when it may not run a program. */
const EXIT_NOT_RUN = 126;

/**
 * A command that cannot be run ends as one that ran, as in Docker: with words on its error output and a shell's exit
 * code. False when `err` is about something else, or nobody listens.
 */
function tellFailedStart(
  context: RequestContext,
  record: ExecRecord,
  detach: boolean,
  err: unknown,
): boolean {
  if (!hasCode(err, 'invalid-argument')) return false;
  record.exitCode = err instanceof CommandError ? err.exitCode : EXIT_NOT_RUN;
  if (detach) return false;
  const { tty } = record.spec;
  const words = Buffer.from(`${describeError(err)}\r\n`);
  const socket = context.hijack(streamType(tty, context.apiMinor));
  socket.on('error', () => socket.destroy());
  socket.resume();
  socket.end(tty ? words : frame('stderr', words));
  return true;
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
  return {
    args: [...args],
    env: [...json.strings('Env')],
    cwd: json.string('WorkingDir'),
    user: json.string('User') || null,
    tty: json.boolean('Tty'),
    stdin: json.boolean('AttachStdin'),
    privileged: json.boolean('Privileged'),
  };
}

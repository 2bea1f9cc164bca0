/** Commands that are run in containers: made, started, resized, looked at. */
import type { Duplex } from 'node:stream';
import { hasCode, SkepError } from '../../common/base/errors.ts';
import type { Random } from '../../common/base/random.ts';
import { detachKeysOf } from '../../common/model/detach-keys.ts';
import type { StringMap } from '../../common/model/objects.ts';
import type { ContainerInfo, ContainerView } from '../../worker/container-view.ts';
import { requireAnswering } from '../../worker/containers/lifecycle.ts';
import { CommandError } from '../../worker/runtime/exec-session.ts';
import type { ExecSession, ExecSpec } from '../../worker/runtime/native-runtime.ts';
import type { EventJournal } from './event-journal.ts';
import { mintExecId } from './exec-id.ts';
import { streamType } from './frames.ts';
import type { RequestContext } from './http-context.ts';
import { consoleSizeFromJson, consoleSizeOf } from './json/console-size.ts';
import { JsonReader } from './json/reader.ts';
import { endWithWords, type RelayRules, relay, whenGone } from './process-streams.ts';
import { containerEvent } from './route-events.ts';
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
  /** which of its output its client wants */
  readonly output: Pick<RelayRules, 'stdout' | 'stderr'>;
  readonly detachKeys: Buffer;
  /** Set before its process is: what two ask for at once is started once. */
  hasBegun: boolean;
  /** while it runs: it holds its client's connection, and what was not read of it */
  session: ExecSession | null;
  /** in this node's namespace, also after its end; 0 = it was not started */
  pid: number;
  /** null = it has not ended */
  exitCode: number | null;
}

/** Beside those that run: as many as processes and their limits allow. */
export const EXECS_KEPT = 1000;

export function addExecRoutes(routes: Routes, options: ExecRoutesOptions): void {
  const { containers, execs, events } = options;
  const tell = (record: ExecRecord, action: string, more: StringMap = {}): void =>
    events.tell(
      containerEvent({ id: record.containerId, attributes: record.attributes }, action, {
        execID: record.id,
        ...more,
      }),
    );

  routes.add('POST', '/containers/:id/exec', async (context) => {
    const info = containers.require(context.param('id'));
    requireAnswering(info, 'exec');
    const json = new JsonReader(await context.json());
    const record = execs.create(info, {
      spec: execSpecOf(json),
      output: { stdout: json.boolean('AttachStdout'), stderr: json.boolean('AttachStderr') },
      detachKeys: detachKeysOf(json.string('DetachKeys')),
    });
    tell(record, `exec_create: ${record.spec.args.join(' ')}`);
    context.send(201, { Id: record.id });
  });

  routes.add('POST', '/exec/:id/start', async (context) => {
    const record = execs.require(context.param('id'));
    const json = new JsonReader(await context.json());
    const detach = json.boolean('Detach');
    // What is said now is newer than what was said when it was made.
    const consoleSize = wantedSize(json, record.spec.tty) ?? record.spec.consoleSize;
    await startExec(context, containers, { record, detach, consoleSize }, (action, more) =>
      tell(record, action, more),
    );
  });

  routes.add('POST', '/exec/:id/resize', async (context) => {
    const { session } = execs.require(context.param('id'));
    if (!session) throw new SkepError('conflict', 'resize exec: it is not running');
    await session.resize(...consoleSizeOf(context));
    context.empty(200);
  });

  routes.add('GET', '/exec/:id/json', (context) => {
    const record = execs.require(context.param('id'));
    context.send(200, {
      ID: record.id,
      Running: record.session !== null,
      ExitCode: record.exitCode,
      ProcessConfig: {
        entrypoint: record.spec.args[0] ?? '',
        arguments: record.spec.args.slice(1),
        tty: record.spec.tty,
      },
      OpenStdin: record.spec.stdin,
      OpenStdout: record.output.stdout,
      OpenStderr: record.output.stderr,
      ContainerID: record.containerId,
      Pid: record.pid,
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

  create(
    { id: containerId, attributes }: ContainerInfo,
    wish: Pick<ExecRecord, 'spec' | 'output' | 'detachKeys'>,
  ): ExecRecord {
    if (this.#records.size >= EXECS_KEPT) this.#dropOldest();
    const id = mintExecId(containerId, this.#random);
    const state = { hasBegun: false, session: null, pid: 0, exitCode: null };
    const record: ExecRecord = { id, containerId, attributes, ...wish, ...state };
    this.#records.set(id, record);
    return record;
  }

  require(id: string): ExecRecord {
    const record = this.#records.get(id);
    if (!record) throw new SkepError('not-found', `No such exec instance: ${id}`);
    return record;
  }

  /** Ids of those that run in a container, the oldest first. */
  runningIn(containerId: string): string[] {
    return [...this.#records.values()]
      .filter((record) => record.containerId === containerId && record.session !== null)
      .map(({ id }) => id);
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

interface ExecStart {
  readonly consoleSize: ExecSpec['consoleSize'];
  readonly record: ExecRecord;
  readonly detach: boolean;
}

async function startExec(
  context: RequestContext,
  containers: ContainerView,
  { record, detach, consoleSize }: ExecStart,
  tell: (action: string, more?: StringMap) => void,
): Promise<void> {
  if (record.hasBegun) throw new SkepError('conflict', `exec ${record.id} was started already`);
  // As it is now: it may have been paused or removed since the exec was made.
  const info = containers.require(record.containerId);
  requireAnswering(info, 'exec');
  // Before the command is started: its client has read the head, mostly, when there is output.
  const socket = detach ? null : context.hijack(streamType(record.spec.tty, context.apiMinor));
  record.hasBegun = true;
  const gone = socket && whenGone(socket);
  let session: ExecSession;
  try {
    session = await containers.exec(info, { ...record.spec, consoleSize });
  } catch (err) {
    await context.headWasRead();
    failStart(record, socket, err);
    return;
  }
  record.session = session;
  record.pid = session.pid;
  tell(`exec_start: ${record.spec.args.join(' ')}`);
  const ended = endOf(session).then((exitCode) => {
    record.exitCode = exitCode;
    record.session = null;
    tell('exec_die', { exitCode: String(exitCode) });
  });
  if (socket === null || gone === null) {
    session.stdout.resume();
    session.stderr.resume();
    context.empty(200);
    await ended;
    return;
  }
  // A client that is gone takes its process along, for nobody reads what it writes; not one that left it by the keys.
  const leave = (): void => session.close();
  if (gone.aborted) leave();
  else gone.addEventListener('abort', leave, { once: true });
  const { tty, stdin } = record.spec;
  const input = stdin ? 'ends' : 'none';
  const rules: RelayRules = { tty, ...record.output, input, detachKeys: record.detachKeys };
  const relayed = context.headWasRead().then(() => relay(socket, session, rules));
  // As `relayed` tells; a failure to learn of the process's end is one of this request as well, and heard at once.
  const how = await Promise.race([relayed, ended.then(() => relayed)]);
  // Its exit code is known when the client hears of its end.
  if (how === 'ended') await ended;
  else {
    gone.removeEventListener('abort', leave);
    tell('exec_detach');
  }
  socket.end();
  await ended;
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
 * code. Throws `err` when nobody listens, or it is none of those that are told to users.
 */
function failStart(record: ExecRecord, socket: Duplex | null, err: unknown): void {
  const isRefused = hasCode(err, 'invalid-argument');
  if (isRefused) record.exitCode = err instanceof CommandError ? err.exitCode : EXIT_NOT_RUN;
  else if (socket !== null) record.exitCode = EXIT_KILLED; // its container ended or was removed meanwhile
  record.hasBegun = record.exitCode !== null;
  if (socket === null) throw err;
  endWithWords(socket, err, record.spec.tty);
}

/** Without a terminal nothing has a size, as in Docker. */
function wantedSize(json: JsonReader, tty: boolean): ExecSpec['consoleSize'] {
  const size = consoleSizeFromJson(json);
  return tty ? size : null;
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
    consoleSize: wantedSize(json, json.boolean('Tty')),
    stdin: json.boolean('AttachStdin'),
    privileged: json.boolean('Privileged'),
  };
}

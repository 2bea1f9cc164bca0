/** The streams of a container's own process: attach, and the size of its terminal. */
import type { Duplex } from 'node:stream';
import { detachKeysOf } from '../../common/model/detach-keys.ts';
import type { ContainerInfo, ContainerView } from '../../worker/container-view.ts';
import { requireAnswering } from '../../worker/containers/lifecycle.ts';
import type { AttachSession } from '../../worker/runtime/native-runtime.ts';
import type { EventJournal } from './event-journal.ts';
import { frame, streamType } from './frames.ts';
import type { RequestContext } from './http-context.ts';
import { consoleSizeOf } from './json/console-size.ts';
import { drained } from './patient-writer.ts';
import { endWithWords, type RelayRules, relay, whenGone } from './process-streams.ts';
import { containerEvent } from './route-events.ts';
import type { Routes } from './server.ts';

export interface ContainerStreamOptions {
  readonly containers: ContainerView;
  readonly events: Pick<EventJournal, 'tell'>;
}

export function addContainerStreamRoutes(
  routes: Routes,
  { containers, events }: ContainerStreamOptions,
): void {
  routes.add('POST', '/containers/:id/attach', async (context) => {
    const info = containers.require(context.param('id'));
    const wanted = wantedOf(context, info);
    if (info.condition === 'paused' || !info.plain) requireAnswering(info, 'attach');
    const socket = context.hijack(streamType(wanted.tty, context.apiMinor));
    const gone = whenGone(socket);
    await context.headWasRead();
    try {
      if (context.flag('logs')) await replay(socket, containers, info, wanted, gone);
      if (!context.flag('stream')) {
        socket.end();
        return;
      }
      // The client may be here before the container starts.
      const session = await containers.attach(info, gone);
      if (!info.plain) events.tell(containerEvent(info, 'attach')); // others tell it themselves
      const how = await attachTo(socket, session, wanted, gone);
      if (how !== 'detached') return;
      if (info.plain) info.plain.detached();
      else events.tell(containerEvent(info, 'detach'));
    } catch (err) {
      if (!gone.aborted) endWithWords(socket, err, wanted.tty);
    }
  });

  routes.add('POST', '/containers/:id/resize', async (context) => {
    const info = containers.require(context.param('id'));
    const [rows, columns] = consoleSizeOf(context);
    await containers.resize(info, rows, columns);
    const size = { height: String(rows), width: String(columns) };
    events.tell(containerEvent(info, 'resize', size));
    context.empty(200);
  });
}

function wantedOf(context: RequestContext, { spec, plain }: ContainerInfo): RelayRules {
  const { tty, openStdin } = spec.container;
  const isForOne = !tty && (plain?.record.definition.stdinOnce ?? false);
  return {
    stdout: context.flag('stdout'),
    stderr: context.flag('stderr'),
    tty,
    detachKeys: detachKeysOf(context.text('detachKeys') ?? ''),
    input: !context.flag('stdin') || !openStdin ? 'none' : isForOne ? 'ends' : 'open',
  };
}

async function replay(
  socket: Duplex,
  containers: ContainerView,
  info: ContainerInfo,
  { stdout, stderr, tty }: RelayRules,
  gone: AbortSignal,
): Promise<void> {
  const all = { follow: false, tail: 'all', sinceNanos: null, untilNanos: null } as const;
  const records = containers.logs(info.runtimeId, { ...all, stdout, stderr }, gone);
  for await (const { stream, data } of records) {
    if (!socket.write(tty ? data : frame(stream, data))) await drained(socket, gone);
  }
}

/** Until the container ended or the client left, by its keys or without a word; the container runs on then. */
async function attachTo(
  socket: Duplex,
  session: AttachSession,
  wanted: RelayRules,
  gone: AbortSignal,
): Promise<'ended' | 'detached'> {
  const leave = (): void => {
    if (wanted.input === 'ends') session.stdin.end();
    session.close();
  };
  // It may have left while the container was waited for.
  if (gone.aborted) leave();
  else gone.addEventListener('abort', leave, { once: true });
  const how = await relay(socket, session, wanted);
  if (how === 'detached') session.close();
  socket.end();
  return how;
}

/** The streams of a container's own process: attach, and the size of its terminal. */
import type { Duplex } from 'node:stream';
import { finished } from 'node:stream/promises';
import { SkepError } from '../../common/base/errors.ts';
import type { ContainerInfo, ContainerView } from '../../worker/container-view.ts';
import { requireAnswering } from '../../worker/containers/lifecycle.ts';
import type { AttachSession } from '../../worker/runtime/native-runtime.ts';
import { frame, streamType } from './frames.ts';
import type { RequestContext } from './http-context.ts';
import type { Routes } from './server.ts';

interface Wanted {
  readonly stdin: boolean;
  readonly stdout: boolean;
  readonly stderr: boolean;
  readonly tty: boolean;
  /** the end of the client's input is that of the container's */
  readonly endsInput: boolean;
}

export function addContainerStreamRoutes(
  routes: Routes,
  { containers }: { readonly containers: ContainerView },
): void {
  routes.add('POST', '/containers/:id/attach', async (context) => {
    const info = containers.require(context.param('id'));
    const wanted = wantedOf(context, info);
    if (info.condition === 'paused' || !info.plain) requireAnswering(info, 'attach');
    const socket = context.hijack(streamType(wanted.tty, context.apiMinor));
    const gone = whenGone(socket);
    if (context.flag('logs')) await replay(socket, containers, info, wanted, gone);
    if (!context.flag('stream')) {
      socket.end();
      return;
    }
    try {
      // The client may be here before the container starts.
      await relay(socket, await containers.attach(info, gone), wanted, gone);
    } catch (err) {
      socket.destroy();
      if (!gone.aborted) throw err;
    }
  });

  routes.add('POST', '/containers/:id/resize', async (context) => {
    const info = containers.require(context.param('id'));
    await containers.resize(info, context.integer('h'), context.integer('w'));
    context.empty(200);
  });
}

function wantedOf(context: RequestContext, { spec, plain }: ContainerInfo): Wanted {
  const { tty, openStdin } = spec.container;
  return {
    stdin: context.flag('stdin') && openStdin,
    stdout: context.flag('stdout'),
    stderr: context.flag('stderr'),
    tty,
    endsInput: !tty && (plain?.record.definition.stdinOnce ?? false),
  };
}

/** Aborted when the client's connection is closed. The HTTP layer no longer knows of it. */
function whenGone(socket: Duplex): AbortSignal {
  const gone = new AbortController();
  socket.on('error', () => socket.destroy());
  socket.once('close', () => gone.abort(new SkepError('cancelled', 'client went away')));
  return gone.signal;
}

async function replay(
  socket: Duplex,
  containers: ContainerView,
  info: ContainerInfo,
  { stdout, stderr, tty }: Wanted,
  gone: AbortSignal,
): Promise<void> {
  const all = { follow: false, tail: 'all', sinceNanos: null, untilNanos: null } as const;
  const records = containers.logs(info.runtimeId, { ...all, stdout, stderr }, gone);
  for await (const { stream, data } of records) socket.write(tty ? data : frame(stream, data));
}

/** Bytes both ways until the container ended or the client left; the container runs on then. */
async function relay(
  socket: Duplex,
  session: AttachSession,
  wanted: Wanted,
  gone: AbortSignal,
): Promise<void> {
  const leave = (): void => {
    if (wanted.stdin && wanted.endsInput) session.stdin.end();
    session.close();
  };
  // It may have left while the container was waited for.
  if (gone.aborted) leave();
  else gone.addEventListener('abort', leave, { once: true });
  if (wanted.stdin) {
    socket.on('data', (chunk: Buffer) => {
      if (session.stdin.destroyed || session.stdin.write(chunk)) return;
      socket.pause();
      session.stdin.once('drain', () => socket.resume());
    });
    socket.once('end', () => {
      if (wanted.endsInput && !session.stdin.destroyed) session.stdin.end();
    });
  } else {
    socket.resume();
  }
  const forward = (stream: 'stdout' | 'stderr', isWanted: boolean): Promise<void> => {
    const source = session[stream];
    source.on('data', (chunk: Buffer) => {
      if (!isWanted || socket.destroyed) return;
      if (socket.write(wanted.tty ? chunk : frame(stream, chunk))) return;
      source.pause();
      socket.once('drain', () => source.resume());
    });
    return finished(source, { writable: false });
  };
  await Promise.all([forward('stdout', wanted.stdout), forward('stderr', wanted.stderr)]);
  socket.end();
}

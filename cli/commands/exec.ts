/** `skep exec`: a command in a container, on any host of the cluster. Its exit status becomes ours. */
import { type Duplex, Transform, type Writable } from 'node:stream';
import type { ReadStream } from 'node:tty';
import type { Command } from 'commander';
import { SkepError } from '../../common/base/errors.ts';
import { DETACH_KEYS_DEFAULT, DetachKeys, detachKeysOf } from '../../common/model/detach-keys.ts';
import { FrameDecoder } from '../client/frames.ts';
import type { HijackedConnection } from '../client/transport.ts';
import { type CommandContext, type Configure, collect, ExitError, UsageError } from './context.ts';
import { environmentOf } from './service-create.ts';
import { defaultDetachKeys } from './user-defaults.ts';

export interface ExecFlags {
  readonly detach?: boolean;
  readonly detachKeys?: string;
  readonly env?: readonly string[];
  readonly envFile?: readonly string[];
  readonly interactive?: boolean;
  readonly privileged?: boolean;
  readonly tty?: boolean;
  readonly user?: string;
  readonly workdir?: string;
}

export const exec: Configure = (command, context) => {
  execFlags(command, context)
    .passThroughOptions()
    .argument('<container>', 'id or name')
    .argument('<command...>', 'and its arguments')
    .action(async (ref: string, words: readonly string[], flags: ExecFlags) => {
      requireTerminal(context, flags);
      const env = await environmentOf(context, flags);
      const { Id } = await context.client.container(ref);
      const status = await runExec(context, { containerId: Id, words, env, flags });
      if (status !== 0) throw new ExitError(status);
    });
};

/** The flags of every command that runs one in a container. */
export function execFlags(command: Command, context: CommandContext): Command {
  return detachKeysFlag(command, context)
    .option('-d, --detach', 'do not wait')
    .option('-e, --env <key=value>', 'environment variable', collect)
    .option('--env-file <file>', 'file of environment variables', collect)
    .option('-i, --interactive', 'pass standard input on')
    .option('--privileged', 'with every capability')
    .option('-t, --tty', 'allocate a terminal')
    .option('-u, --user <user>', 'name or id, with :group')
    .option('-w, --workdir <dir>', 'working directory');
}

/** Of every command that passes a terminal on. */
export function detachKeysFlag(command: Command, context: CommandContext): Command {
  defaultDetachKeys(command, context);
  return command.option('--detach-keys <keys>', `default: ${DETACH_KEYS_DEFAULT}`);
}

/** Throws `UsageError` when a terminal is to be passed on and there is none. */
export function requireTerminal(context: CommandContext, flags: ExecFlags): void {
  if (flags.tty && flags.interactive && !flags.detach && !context.stdin.isTTY) {
    throw new UsageError('the input device is not a TTY');
  }
}

export interface ExecRequest {
  readonly containerId: string;
  readonly words: readonly string[];
  readonly env: readonly string[];
  readonly flags: ExecFlags;
  /** where the output goes; default: ours */
  readonly output?: { readonly stdout: Writable; readonly stderr: Writable };
}

/** The command's exit status; 0 for one that is not waited for. */
export async function runExec(context: CommandContext, request: ExecRequest): Promise<number> {
  const { client } = context;
  const { containerId, words, env, flags, output = context } = request;
  const tty = flags.tty ?? false;
  const size = tty ? terminalSize(context) : null;
  const detachKeys = detachKeysOf(flags.detachKeys ?? '');
  const { Id } = await client.execCreate(containerId, {
    AttachStdin: (flags.interactive ?? false) && !flags.detach,
    AttachStdout: !flags.detach,
    AttachStderr: !flags.detach,
    Tty: tty,
    ...(size && { ConsoleSize: size }),
    Cmd: words,
    ...(flags.detachKeys && { DetachKeys: flags.detachKeys }),
    ...(env.length > 0 && { Env: env }),
    ...(flags.workdir && { WorkingDir: flags.workdir }),
    ...(flags.user && { User: flags.user }),
    ...(flags.privileged && { Privileged: true }),
  });
  if (flags.detach) {
    await client.execDetached(Id, tty);
    return 0;
  }
  const connection = await client.execAttach(Id, tty);
  const how = await relay(context, connection, {
    ...{ tty, output, detachKeys },
    stdin: flags.interactive ?? false,
    resize: (rows, columns) => client.execResize(Id, rows, columns),
  });
  if (how === 'detached') return 0;
  const { ExitCode } = await client.execInspect(Id);
  if (ExitCode === null || ExitCode === undefined) {
    throw new SkepError('unavailable', `exec ${words[0]}: the connection broke before it ended`);
  }
  return ExitCode;
}

export interface RelayOptions {
  /** leave it, where there is a terminal and input is passed on */
  readonly detachKeys: Buffer;
  readonly tty: boolean;
  readonly stdin: boolean;
  readonly output: { readonly stdout: Writable; readonly stderr: Writable };
  /** of the terminal, if there is one; rejects while nothing runs in it */
  readonly resize: (rows: number, columns: number) => Promise<void>;
}

/**
 * Bytes both ways until the daemon ends the stream, or the detach keys are typed. The end of our input is passed on.
 * Rejects when the command is interrupted: what runs over there goes on without us.
 */
export async function relay(
  context: CommandContext,
  connection: HijackedConnection,
  options: RelayOptions,
): Promise<'ended' | 'detached'> {
  const { socket, head } = connection;
  const { signal } = context;
  const left = new AbortController();
  const leave = (): void => {
    socket.destroy(signal.reason as Error);
  };
  const restore = options.tty && options.stdin ? rawTerminal(context, options.resize) : () => {};
  const release = options.stdin
    ? passInput(context, socket, options, () => {
        left.abort();
        socket.destroy();
      })
    : () => {};
  const decoder = new FrameDecoder();
  const show = (chunk: Buffer): void => {
    if (options.tty) {
      options.output.stdout.write(chunk);
      return;
    }
    for (const { stream, data } of decoder.push(chunk)) {
      (stream === 'stderr' ? options.output.stderr : options.output.stdout).write(data);
    }
  };
  signal.addEventListener('abort', leave);
  try {
    signal.throwIfAborted();
    if (head.length > 0) show(head);
    for await (const chunk of socket as AsyncIterable<Buffer>) show(chunk);
  } catch (err) {
    // Our own end of it was closed.
    if (!left.signal.aborted) throw err;
  } finally {
    signal.removeEventListener('abort', leave);
    restore();
    release();
    socket.destroy();
  }
  return left.signal.aborted ? 'detached' : 'ended';
}

/** Input to the container, through a look for the detach keys where a terminal is passed on. Returns the end of it. */
function passInput(
  { stdin }: CommandContext,
  socket: Duplex,
  { tty, detachKeys }: RelayOptions,
  onDetach: () => void,
): () => void {
  const keys = tty ? new DetachKeys(detachKeys) : null;
  const scan = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      if (keys === null) return done(null, chunk);
      const { passed, isDetached } = keys.push(chunk);
      done(null, passed);
      if (isDetached) onDetach();
    },
  });
  scan.pipe(socket);
  stdin.pipe(scan);
  return () => {
    stdin.unpipe(scan);
    scan.unpipe(socket);
    stdin.pause();
  };
}

/** Keys go to the process as they are typed, and it learns the size of the window. */
function rawTerminal(context: CommandContext, tell: RelayOptions['resize']): () => void {
  const input = context.stdin as Partial<ReadStream>;
  const resize = (): void => {
    void sendSize(context, tell); // it never rejects
  };
  input.setRawMode?.(true);
  context.stdout.on('resize', resize);
  resize();
  return () => {
    input.setRawMode?.(false);
    context.stdout.off('resize', resize);
  };
}

const RESIZE_ATTEMPTS = 5;
const RESIZE_PAUSE_MS = 20;

/** Rows and columns of ours; null = it is none, or has no size. */
function terminalSize({
  stdout: { rows, columns },
}: CommandContext): readonly [number, number] | null {
  return rows && columns ? [rows, columns] : null;
}

/** Tells the size of the window; the first time the process may not have begun yet. */
async function sendSize(context: CommandContext, tell: RelayOptions['resize']): Promise<void> {
  const size = terminalSize(context);
  if (size === null) return;
  for (let attempt = 0; attempt < RESIZE_ATTEMPTS; attempt++) {
    try {
      await tell(...size);
      return;
    } catch {
      // Not begun, or ended: a window has no more use then.
      await context.clock.sleep(RESIZE_PAUSE_MS * (attempt + 1)).catch(() => {});
    }
  }
}

/** `skep attach` and `skep start`: the streams of containers that are there already. */
import type { Command } from 'commander';
import { detachKeysOf } from '../../common/model/detach-keys.ts';
import { hasStatus } from '../client/transport.ts';
import {
  type CommandContext,
  type Configure,
  ExitError,
  eachOf,
  printLine,
  refuseFlags,
  UsageError,
} from './context.ts';
import { detachKeysFlag, relay, requireTerminal } from './exec.ts';
import { passSignalsTo } from './run.ts';

interface AttachFlags {
  readonly detachKeys?: string;
  readonly sigProxy?: boolean;
}

export const attach: Configure = (command, context) => {
  attachFlags(command, context)
    .option('--no-stdin', 'do not pass standard input on')
    .argument('<container>', 'id or name')
    .action(async (ref: string, flags: AttachFlags & { readonly stdin: boolean }) => {
      const detachKeys = detachKeysOf(flags.detachKeys ?? '');
      const container = await context.client.container(ref);
      const { State, Config } = container;
      if (!State?.Running) {
        throw new UsageError('You cannot attach to a stopped container, start it first');
      }
      if (State.Paused) {
        throw new UsageError('You cannot attach to a paused container, unpause it first');
      }
      const stdin = flags.stdin && (Config?.OpenStdin ?? false);
      const tty = Config?.Tty ?? false;
      requireTerminal(context, { tty, interactive: stdin });
      const ended = await endOf(context, container.Id);
      const how = await stay(context, container.Id, { tty, stdin, flags, detachKeys });
      if (how === 'detached') return;
      const status = await ended();
      if (status !== 0) throw new ExitError(status);
    });
};

/** Of every command that stays with a container. */
function attachFlags(command: Command, context: CommandContext): Command {
  return detachKeysFlag(command, context).option(
    '--sig-proxy',
    'pass signals on to it, unless it has a terminal',
    true,
  );
}

interface Stay {
  readonly tty: boolean;
  readonly stdin: boolean;
  readonly flags: AttachFlags;
  readonly detachKeys: Buffer;
  /** called once its streams are there */
  readonly begin?: () => Promise<void>;
}

async function stay(
  context: CommandContext,
  id: string,
  { tty, stdin, flags, detachKeys, begin }: Stay,
): Promise<'ended' | 'detached'> {
  const { client } = context;
  const release = flags.sigProxy && !tty ? passSignalsTo(context, id) : () => {};
  try {
    const connection = await client.containerAttach(id, stdin, flags.detachKeys);
    try {
      await begin?.();
    } catch (err) {
      connection.socket.destroy();
      throw err;
    }
    return await relay(context, connection, {
      ...{ tty, stdin, detachKeys, output: context },
      resize: (rows, columns) => client.containerResize(id, rows, columns),
    });
  } finally {
    release();
  }
}

/** Tells its exit status, once it has ended: asked for before the end, for one that is removed then can tell nothing. */
async function endOf({ client }: CommandContext, id: string): Promise<() => Promise<number>> {
  try {
    return await client.containerWait(id, 'not-running');
  } catch (err) {
    // A task's container belongs to its service: it is looked at when its streams have ended.
    if (!hasStatus(err, 409)) throw err;
    return async () => {
      const { State } = await client.container(id).catch((gone: unknown) => {
        if (!hasStatus(gone, 404)) throw gone;
        return { State: undefined };
      });
      return (!State?.Running && State?.ExitCode) || 0;
    };
  }
}

interface StartFlags extends AttachFlags {
  readonly attach?: boolean;
  readonly interactive?: boolean;
}

export const start: Configure = (command, context) => {
  refuseFlags(command, {
    '--checkpoint': 'checkpoints are not supported',
    '--checkpoint-dir': 'checkpoints are not supported',
  });
  attachFlags(command, context)
    .option('-a, --attach', 'stay with it: its output, its signals, its exit status')
    .option('-i, --interactive', 'pass standard input on, and stay with it')
    .argument('<container...>', 'ids or names')
    .action(async (refs: readonly string[], flags: StartFlags) => {
      if (flags.attach || flags.interactive) await startOne(context, refs, flags);
      else {
        await eachOf(context, refs, async (ref) => {
          await context.client.containerDo(ref, 'start', {});
          printLine(context, ref);
        });
      }
    });
};

async function startOne(
  context: CommandContext,
  [ref = '', ...others]: readonly string[],
  flags: StartFlags,
): Promise<void> {
  const { client } = context;
  if (others.length > 0) {
    throw new UsageError('you cannot start and attach multiple containers at once');
  }
  const detachKeys = detachKeysOf(flags.detachKeys ?? '');
  const { Id, Config } = await client.container(ref);
  const tty = Config?.Tty ?? false;
  const stdin = (flags.interactive ?? false) && (Config?.OpenStdin ?? false);
  requireTerminal(context, { tty, interactive: stdin });
  const ended = await client.containerWait(Id, 'next-exit');
  const begin = () => client.containerDo(Id, 'start');
  const how = await stay(context, Id, { tty, stdin, flags, detachKeys, begin });
  if (how === 'detached') return;
  const status = await ended();
  if (status !== 0) throw new ExitError(status);
}

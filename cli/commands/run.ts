/** `skep run` and `skep container create`: a container of the host whose daemon answers. */
import { detachKeysOf } from '../../common/model/detach-keys.ts';
import {
  familiarRepository,
  parseImageReference,
  withDefaultTag,
} from '../../common/model/image-reference.ts';
import { ApiError, hasStatus } from '../client/transport.ts';
import { type ContainerFlags, containerFlags, containerRequest } from './container-request.ts';
import {
  type CommandContext,
  type Configure,
  ExitError,
  errorLine,
  printLine,
  warnLine,
} from './context.ts';
import { registryAuthFor } from './credentials.ts';
import { detachKeysFlag, relay, requireTerminal } from './exec.ts';
import { showProgress } from './image.ts';

interface RunFlags extends ContainerFlags {
  readonly detach?: boolean;
  readonly detachKeys?: string;
  readonly sigProxy: boolean;
}

/** Docker's: the daemon refused, the command cannot be executed, there is no such command. */
const REFUSED = 125;
const NOT_EXECUTABLE = 126;
const NOT_FOUND = 127;

export const create: Configure = (command, context) => {
  containerFlags(command);
  command
    .passThroughOptions()
    .argument('<image>', 'name, with a tag or digest')
    .argument('[command...]', 'and its arguments')
    .action(async (image: string, words: readonly string[], flags: ContainerFlags) => {
      printLine(context, await made(context, image, words, flags));
    });
};

export const run: Configure = (command, context) => {
  containerFlags(command);
  detachKeysFlag(command, context)
    .option('-d, --detach', 'print its id and do not wait')
    .option('--sig-proxy', 'pass signals on to it, unless it has a terminal', true)
    .passThroughOptions()
    .argument('<image>', 'name, with a tag or digest')
    .argument('[command...]', 'and its arguments')
    .action(async (image: string, words: readonly string[], flags: RunFlags) => {
      requireTerminal(context, flags);
      const detachKeys = detachKeysOf(flags.detachKeys ?? '');
      const status = await statusOf(context, () =>
        runContainer(context, { image, words, flags, detachKeys }),
      );
      if (status !== 0) throw new ExitError(status);
    });
};

/** The container's exit status, or Docker's for what the daemon refused. */
async function statusOf(context: CommandContext, work: () => Promise<number>): Promise<number> {
  try {
    return await work();
  } catch (err) {
    if (!(err instanceof ApiError)) throw err;
    warnLine(context, errorLine(err));
    if (/executable file not found|no such file or directory/.test(err.message)) return NOT_FOUND;
    return /permission denied|exec format error/.test(err.message) ? NOT_EXECUTABLE : REFUSED;
  }
}

interface Asked {
  readonly image: string;
  readonly words: readonly string[];
  readonly flags: RunFlags;
  readonly detachKeys: Buffer;
}

async function runContainer(
  context: CommandContext,
  { image, words, flags, detachKeys }: Asked,
): Promise<number> {
  const { client } = context;
  const id = await made(context, image, words, flags);
  if (flags.detach) {
    await client.containerDo(id, 'start');
    printLine(context, id);
    return 0;
  }
  const release = flags.sigProxy && !flags.tty ? passSignalsTo(context, id) : () => {};
  try {
    return await attached(context, id, flags, detachKeys);
  } finally {
    release();
  }
}

/** Docker's way: one that comes while the container does not run is lost. Returns the end of it. */
export function passSignalsTo({ client, takeSignals }: CommandContext, id: string): () => void {
  return takeSignals((name) => {
    client.containerDo(id, 'kill', { signal: name.replace(/^SIG/, '') }).catch(() => {});
  });
}

/** Starts the container and stays with it. Its exit status. */
async function attached(
  context: CommandContext,
  id: string,
  flags: RunFlags,
  detachKeys: Buffer,
): Promise<number> {
  const { client } = context;
  const stdin = flags.interactive ?? false;
  const connection = await client.containerAttach(id, stdin, flags.detachKeys);
  const ended = await client.containerWait(id, flags.rm ? 'removed' : 'next-exit');
  try {
    await client.containerDo(id, 'start');
  } catch (err) {
    connection.socket.destroy();
    throw err;
  }
  const how = await relay(context, connection, {
    detachKeys,
    tty: flags.tty ?? false,
    stdin,
    output: context,
    resize: (rows, columns) => client.containerResize(id, rows, columns),
  });
  return how === 'detached' ? 0 : ended();
}

/** Its id. An image that is not there is pulled. */
async function made(
  context: CommandContext,
  image: string,
  words: readonly string[],
  flags: ContainerFlags,
): Promise<string> {
  const { client } = context;
  const request = await containerRequest(context, image, words, flags);
  const attempt = () => client.containerCreate(flags.name, request);
  const { Id, Warnings } = await attempt().catch(async (err: unknown) => {
    if (!hasStatus(err, 404) || !err.message.startsWith('No such image')) throw err;
    const reference = withDefaultTag(parseImageReference(image));
    const tag = reference.digest ?? reference.tag ?? 'latest';
    const auth = await registryAuthFor(context, image);
    warnLine(context, `Unable to find image '${image}' locally`);
    const progress = { ...context, stdout: context.stderr };
    await showProgress(
      progress,
      client.imagePull(familiarRepository(reference), tag, auth),
      flags.quiet ?? false,
    );
    return attempt();
  });
  for (const warning of Warnings ?? []) warnLine(context, `WARNING: ${warning}`);
  return Id;
}

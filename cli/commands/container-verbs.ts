/** What is done to containers outside of services once they are made. */
import type { Command } from 'commander';
import {
  type CommandContext,
  type Configure,
  collect,
  decimal,
  eachOf,
  filterMap,
  printLine,
  refuseFlags,
} from './context.ts';

type Query = Readonly<Record<string, string | number | boolean | undefined>>;

/** `verb` on each container, whose name is printed then. Flags are its query, unless `queryOf` says otherwise. */
function verb(
  name: string,
  flagsOf: (command: Command) => void = () => {},
  queryOf: (flags: Query) => Query = (flags) => flags,
): Configure {
  return (command, context) => {
    flagsOf(command);
    command
      .argument('<container...>', 'ids or names')
      .action((refs: readonly string[], flags: Query) =>
        eachOf(context, refs, async (ref) => {
          await context.client.containerDo(ref, name, queryOf(flags));
          printLine(context, ref);
        }),
      );
  };
}

const stopFlags = (command: Command): void => {
  command
    .option('-t, --timeout <seconds>', 'until SIGKILL; -1 = no end', decimal)
    .option('--time <seconds>', 'the same, as it was called before', decimal)
    .option('-s, --signal <signal>', 'instead of its stop signal');
};

function stopQuery({ timeout, time, ...others }: Query): Query {
  const t = timeout ?? time;
  return { ...(t !== undefined && { t }), ...others };
}

export const stop = verb('stop', stopFlags, stopQuery);
export const restart = verb('restart', stopFlags, stopQuery);
export const pause = verb('pause');
export const unpause = verb('unpause');
export const kill = verb('kill', (command) => {
  command.option('-s, --signal <signal>', 'default: KILL');
});

export const wait: Configure = (command, context) => {
  command.argument('<container...>', 'ids or names').action((refs: readonly string[]) =>
    eachOf(context, refs, async (ref) => {
      const ended = await context.client.containerWait(ref, 'not-running');
      printLine(context, String(await ended()));
    }),
  );
};

export const rename: Configure = (command, context) => {
  command
    .argument('<container>', 'id or name')
    .argument('<name>', 'the new one')
    .action((ref: string, name: string) => context.client.containerDo(ref, 'rename', { name }));
};

interface RemoveFlags {
  readonly force?: boolean;
  readonly volumes?: boolean;
}

export const rm: Configure = (command, context) => {
  refuseFlags(command, { '-l, --link': 'links are not supported' });
  command
    .argument('<container...>', 'ids or names')
    .option('-f, --force', 'also when it runs')
    .option('-v, --volumes', 'with its anonymous volumes')
    .action((refs: readonly string[], { force, volumes }: RemoveFlags) =>
      eachOf(context, refs, async (ref) => {
        await context.client.containerRemove(ref, {
          ...(force && { force }),
          ...(volumes && { v: volumes }),
        });
        printLine(context, ref);
      }),
    );
};

interface PruneFlags {
  readonly filter?: readonly string[];
}

export const prune: Configure = (command, context) => {
  command
    .option('-f, --force', 'there is no question to answer')
    .option('--filter <name=value>', 'label, label!, until', collect)
    .action((flags: PruneFlags) => pruneContainers(context, flags));
};

async function pruneContainers(context: CommandContext, { filter }: PruneFlags): Promise<void> {
  const { ContainersDeleted } = await context.client.containersPrune(filterMap(filter));
  const removed = ContainersDeleted ?? [];
  if (removed.length === 0) return;
  printLine(context, 'Deleted Containers:');
  for (const id of removed) printLine(context, id);
}

/** `skep service|stack stats|top`: what tasks use and which processes they have, wherever they run. */
import type { TaskJson } from '../../common/model/engine-json/task.ts';
import type { ProcessTableJson } from '../client/container-calls.ts';
import { type Listing, renderListing } from '../output/listing.ts';
import { renderTable } from '../output/table.ts';
import {
  type CommandContext,
  type Configure,
  ExitError,
  errorLine,
  UsageError,
  warnLine,
} from './context.ts';
import { inParallel } from './parallel.ts';
import { orHowOnWorkers, runningSeats, type Seat, seatsOf } from './service-seats.ts';
import { ofStack } from './stack.ts';
import { follow, type Measured, type StatsFlags, statsFlags } from './usage.ts';

/** Containers that are asked at once. */
const AT_ONCE_MAX = 16;

const COLUMNS: Omit<Listing, 'rows'> = {
  columns: [
    ['NAME', 'Name'],
    ['NODE', 'Node'],
    ['CPU %', 'CPUPerc'],
    ['MEM USAGE / LIMIT', 'MemUsage'],
    ['MEM %', 'MemPerc'],
    ['NET I/O', 'NetIO'],
    ['BLOCK I/O', 'BlockIO'],
    ['PIDS', 'PIDs'],
  ],
  headings: { ID: 'CONTAINER ID' },
  quietField: 'ID',
};

const measured = (seats: readonly Seat[]): readonly Measured[] =>
  seats.map(({ name, node, containerId }) => ({
    id: containerId,
    fields: { Name: name, Node: node, ID: containerId },
  }));

export const serviceStats: Configure = (command, context) => {
  statsFlags(command)
    .argument('<service...>', 'names or ids, with .SLOT (or .NODE) for one task')
    .action(async (refs: readonly string[], flags: StatsFlags) => {
      const list = async (): Promise<readonly Measured[]> =>
        measured((await Promise.all(refs.map((ref) => runningSeats(context, ref)))).flat());
      if ((await list()).length === 0) throw new UsageError(`${refs.join(', ')}: no running task`);
      await follow(context, flags, list, (rows) => renderListing({ ...COLUMNS, rows }, flags));
    });
};

export const stackStats: Configure = (command, context) => {
  statsFlags(command)
    .argument('<stack>', 'name of the stack')
    .action(async (stack: string, flags: StatsFlags) => {
      const list = async (): Promise<readonly Measured[]> =>
        measured(await stackSeats(context, stack));
      if ((await list()).length === 0) throw new UsageError(`nothing runs in stack: ${stack}`);
      await follow(context, flags, list, (rows) => renderListing({ ...COLUMNS, rows }, flags));
    });
};

async function stackSeats(context: CommandContext, stack: string): Promise<readonly Seat[]> {
  const { client } = context;
  const filter = ofStack(stack);
  const [services, tasks, nodes] = await orHowOnWorkers(context, () =>
    Promise.all([
      client.services(filter),
      client.tasks({ ...filter, 'desired-state': ['running'] }),
      client.nodes(),
    ]),
  );
  const byService = new Map<string, TaskJson[]>();
  for (const task of tasks) {
    byService.set(task.ServiceID, [...(byService.get(task.ServiceID) ?? []), task]);
  }
  return [...services]
    .sort((a, b) => (a.Spec.Name < b.Spec.Name ? -1 : 1))
    .flatMap((service) => seatsOf(service, byService.get(service.ID) ?? [], nodes));
}

const PS_OPTIONS = 'as those of ps, e.g. -eo pid,comm';

export const serviceTop: Configure = (command, context) => {
  command
    .passThroughOptions()
    .argument('<service>', 'name or id, with .SLOT (or .NODE of a global service) for one task')
    .argument('[ps-options...]', PS_OPTIONS)
    .action(async (ref: string, words: readonly string[]) => {
      const seats = await runningSeats(context, ref);
      if (seats.length === 0) throw new UsageError(`${ref} has no running task`);
      await printProcesses(context, seats, words);
    });
};

export const stackTop: Configure = (command, context) => {
  command
    .passThroughOptions()
    .argument('<stack>', 'name of the stack')
    .argument('[ps-options...]', PS_OPTIONS)
    .action(async (stack: string, words: readonly string[]) => {
      const seats = await stackSeats(context, stack);
      if (seats.length === 0) throw new UsageError(`nothing runs in stack: ${stack}`);
      await printProcesses(context, seats, words);
    });
};

/** What a node does not say is told on standard error. Throws `ExitError` then. */
async function printProcesses(
  context: CommandContext,
  seats: readonly Seat[],
  words: readonly string[],
): Promise<void> {
  const tables = new Map<Seat, ProcessTableJson>();
  let failed = false;
  await inParallel(seats, AT_ONCE_MAX, async (seat) => {
    try {
      tables.set(seat, await context.client.containerTop(seat.containerId, words.join(' ')));
    } catch (err) {
      if (context.signal.aborted) throw err;
      failed = true;
      warnLine(context, `${seat.name}: ${errorLine(err)}`);
    }
  });
  const [first] = tables.values();
  if (first) {
    const rows = seats.flatMap((seat) => {
      const processes = tables.get(seat)?.Processes ?? [];
      return processes.map((row) => [seat.name, seat.node, ...row]);
    });
    context.stdout.write(renderTable([['TASK', 'NODE', ...first.Titles], ...rows]));
  }
  if (failed) throw new ExitError(1);
}

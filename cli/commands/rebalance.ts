/** `skep swarm rebalance`: tasks that would better be on other nodes are told, or moved, so many at most. */
import { InvalidArgumentError, Option } from 'commander';
import type { TaskMoveJson } from '../../common/model/engine-json/task.ts';
import { renderTable } from '../output/table.ts';
import { Changes } from './changes.ts';
import {
  type CommandContext,
  type Configure,
  ExitError,
  printLine,
  UsageError,
  warnLine,
} from './context.ts';
import { END_STATUS, timeoutFlag } from './stack-wait.ts';
import { hasEnded } from './task-life.ts';
import { callOffMoves, type MoveOrder, moveTask } from './task-moves.ts';

const MOVES_DEFAULT = 10;

interface RebalanceFlags {
  readonly plan?: boolean;
  readonly apply?: boolean;
  readonly budget: number;
  readonly order: MoveOrder;
  readonly json?: boolean;
  readonly detach?: boolean;
  readonly timeout: number;
}

export const rebalance: Configure = (command, context) => {
  command
    .option('--plan', 'say what would move, and move nothing')
    .option('--apply', 'move it, and wait')
    .option('--budget <n>', `moves at most (default: ${MOVES_DEFAULT})`, budget, MOVES_DEFAULT)
    .addOption(
      new Option('--order <order>', 'of a task and the one that takes its place')
        .choices(['start-first', 'stop-first'])
        .default('start-first'),
    )
    .option('--json', 'print for programs: what would move, or is moved')
    .option('-d, --detach', 'with --apply: do not wait')
    .addOption(timeoutFlag())
    .action(async (flags: RebalanceFlags) => {
      if ((flags.plan ?? false) === (flags.apply ?? false)) {
        throw new UsageError('rebalance: say --plan, or --apply');
      }
      const moves = await context.client.rebalance(flags.budget);
      if (flags.json) {
        context.stdout.write(`${JSON.stringify(moves, null, 2)}\n`);
        if (!flags.apply) return;
      } else if (moves.length === 0) {
        printLine(context, 'Nothing to move: tasks are spread as the scheduler would place them');
      } else context.stdout.write(table(moves));
      if (!flags.apply || moves.length === 0) return;
      const taken: TaskMoveJson[] = [];
      for (const move of moves) {
        const refusal = await moveTask(context, move.TaskID, flags.order);
        if (refusal === null) taken.push(move);
        else warnLine(context, refusal);
      }
      if (!flags.detach && taken.length > 0) await untilGone(context, taken, flags);
    });
};

function budget(text: string): number {
  const count = Number(text);
  if (!Number.isInteger(count) || count < 1 || count > 1_000) {
    throw new InvalidArgumentError('expected 1 to 1000.');
  }
  return count;
}

function table(moves: readonly TaskMoveJson[]): string {
  return renderTable([
    ['TASK', 'FROM', 'TO'],
    ...moves.map(({ Service, Slot, From, To }) => [
      `${Service}.${Slot}`,
      From.Hostname || From.NodeID,
      To.Hostname || To.NodeID,
    ]),
  ]);
}

/** Until the tasks have ended: each does when another runs in its place. Throws `ExitError`. */
async function untilGone(
  context: CommandContext,
  moves: readonly TaskMoveJson[],
  { timeout, json = false }: RebalanceFlags,
): Promise<void> {
  const { client, clock } = context;
  const overMs = clock.monotonicMs() + timeout;
  const ids = new Set(moves.map(({ TaskID }) => TaskID));
  const changes = new Changes(context, ['task']);
  let said = -1;
  try {
    for (;;) {
      const tasks = await client.tasks({ id: [...ids] });
      const left = tasks.filter((task) => !hasEnded(task));
      const moved = moves.length - left.length;
      if (moved !== said && !json) printLine(context, `${moved} of ${moves.length} tasks moved`);
      said = moved;
      if (left.length === 0) return;
      if (clock.monotonicMs() >= overMs) {
        await callOffMoves(
          context,
          left.map(({ ID }) => ID),
        );
        warnLine(context, 'timed out: what is not moved yet stays where it is');
        throw new ExitError(END_STATUS['timed-out']);
      }
      await changes.next();
    }
  } finally {
    changes.close();
  }
}

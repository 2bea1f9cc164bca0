/** Tasks that are sent to other nodes, and called back: what `node drain` and `swarm rebalance` share. */
import { type ApiError, hasStatus } from '../client/transport.ts';
import { type CommandContext, errorLine, warnLine } from './context.ts';

export type MoveOrder = 'start-first' | 'stop-first';

/** null = it is on its way; else why the daemon sends it nowhere: it ended meanwhile, or has no other place. */
export async function moveTask(
  { client }: CommandContext,
  id: string,
  order: MoveOrder,
): Promise<string | null> {
  try {
    await client.taskMove(id, order);
    return null;
  } catch (err) {
    if (isRefusal(err)) return err.message;
    throw err;
  }
}

/** They stay where they are; those that have a successor by now do not. A failure is told and ends it. */
export async function callOffMoves(context: CommandContext, ids: Iterable<string>): Promise<void> {
  for (const id of ids) {
    try {
      await context.client.taskMove(id, 'none');
    } catch (err) {
      if (isRefusal(err)) continue;
      warnLine(context, `moves are not called off: ${errorLine(err)}`);
      return;
    }
  }
}

const isRefusal = (err: unknown): err is ApiError => hasStatus(err, 404) || hasStatus(err, 400);

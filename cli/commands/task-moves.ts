/** Tasks that are sent to other nodes: what `node drain` and `swarm rebalance` share. */
import { type ApiError, hasStatus } from '../client/transport.ts';
import type { CommandContext } from './context.ts';

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

const isRefusal = (err: unknown): err is ApiError => hasStatus(err, 404) || hasStatus(err, 400);

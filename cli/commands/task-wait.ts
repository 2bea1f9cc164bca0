/** Waiting until tasks are over that can be: those of nodes that are down say nothing more, and hold nothing up. */
import type { TaskJson } from '../../common/model/engine-json/task.ts';
import { Changes } from './changes.ts';
import type { CommandContext } from './context.ts';

export interface TaskWait {
  /** of the API */
  readonly filter: Readonly<Record<string, readonly string[]>>;
  /** whether these, of nodes that are up or of none yet, need no more waiting */
  readonly isOver: (tasks: readonly TaskJson[]) => boolean | Promise<boolean>;
  /** ms; endless if not given */
  readonly timeout?: number;
}

/** False when time was over first. */
export async function waitForTasks(
  context: CommandContext,
  { filter, isOver, timeout = Number.POSITIVE_INFINITY }: TaskWait,
): Promise<boolean> {
  const { client, clock } = context;
  const endMs = clock.monotonicMs() + timeout;
  const changes = new Changes(context, ['task', 'node']);
  try {
    for (;;) {
      const [tasks, nodes] = await Promise.all([client.tasks(filter), client.nodes()]);
      const up = new Set(
        nodes.filter(({ Status }) => Status?.State === 'ready').map(({ ID }) => ID),
      );
      const reachable = tasks.filter(({ NodeID }) => !NodeID || up.has(NodeID));
      if (await isOver(reachable)) return true;
      if (clock.monotonicMs() >= endMs) return false;
      await changes.next();
    }
  } finally {
    changes.close();
  }
}

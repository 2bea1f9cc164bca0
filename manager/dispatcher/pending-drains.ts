/**
 * Tasks that are to stop, and the nodes that have not confirmed yet that they send nothing new to
 * them. Pure: who is to be told what is the result of each call.
 */
import type { QueueState } from '../../common/base/queue.ts';
import type { NodeId, TaskId } from '../../common/model/ids.ts';
import { DRAIN_LIMIT_MS } from '../../common/model/session.ts';

/** node -> its tasks that nobody sends anything new to */
export type Drained = ReadonlyMap<NodeId, readonly TaskId[]>;

interface Group {
  readonly revision: number;
  readonly sinceMs: number;
  readonly tasks: Drained;
  /** nodes without this revision in force */
  readonly waitingFor: Set<NodeId>;
}

/** Steps come every 10 ms at most and are forgotten after `2 * DRAIN_LIMIT_MS`: some 400 at a time. */
const GROUPS_MAX = 1_000;

const NONE: Drained = new Map();

/** INVARIANT: groups in the order of their revisions; each waits for somebody. */
export class PendingDrains {
  #groups: Group[] = [];

  /**
   * @param tasks whose endpoints end with `revision`, by node
   * @param told nodes that were, or will be, sent something at that revision: they confirm it
   */
  begin(revision: number, tasks: Drained, told: Iterable<NodeId>, nowMs: number): Drained {
    this.#forgetOld(nowMs);
    if (tasks.size === 0) return NONE;
    const waitingFor = new Set(told);
    // Too many wait already: these stop at once, as with nodes that do not confirm.
    if (waitingFor.size === 0 || this.#groups.length >= GROUPS_MAX) return tasks;
    this.#groups.push({ revision, sinceMs: nowMs, tasks, waitingFor });
    return NONE;
  }

  queues(): QueueState[] {
    return [{ name: 'revisions to be confirmed', length: this.#groups.length, limit: GROUPS_MAX }];
  }

  /** A node has `revision`, and with it all before it, in force. */
  applied(nodeId: NodeId, revision: number): Drained {
    let drained = NONE;
    for (const group of this.#groups) {
      if (group.revision > revision) break;
      group.waitingFor.delete(nodeId);
      if (group.waitingFor.size === 0) drained = merged(drained, group.tasks);
    }
    if (drained.size > 0) this.#groups = this.#groups.filter((it) => it.waitingFor.size > 0);
    return drained;
  }

  /**
   * A node's session ended without a word that it comes back: it confirms nothing more, and most likely
   * sends nothing more to anybody.
   */
  gone(nodeId: NodeId): Drained {
    return this.applied(nodeId, Number.POSITIVE_INFINITY);
  }

  /** Their nodes have waited long enough, and said stop. */
  #forgetOld(nowMs: number): void {
    this.#groups = this.#groups.filter(({ sinceMs }) => nowMs - sinceMs <= 2 * DRAIN_LIMIT_MS);
  }
}

function merged(a: Drained, b: Drained): Drained {
  if (a.size === 0) return b;
  const all = new Map(a);
  for (const [nodeId, taskIds] of b) all.set(nodeId, [...(all.get(nodeId) ?? []), ...taskIds]);
  return all;
}
